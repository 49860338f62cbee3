//! Everything that a run changes, as plain data that one lock guards.

use std::collections::BTreeMap;
use std::time::Duration;

use vestibule::clock::Timestamp;

use crate::fault::{Effect, Faults};
use crate::id::{self, Purpose, Seed};
use crate::ledger::Ledger;
use crate::limits::{Limits, Quota};
use crate::outbox::Outbox;
use crate::page::Page;
use crate::status::waiting::Waiting;
use crate::webhook::log::Log;
use crate::webhook::{Job, Queue};
use crate::window::Windows;
use crate::world::World;

/// The state of a run.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) windows: Windows,
    pub(crate) ledger: Ledger,
    pub(crate) limits: Limits,
    pub(crate) faults: Faults,
    pub(crate) outbox: Outbox<Job>,
    /// Messages to users who are offline.
    pub(crate) waiting: Waiting,
    pub(crate) delivered: u64,
    /// Updates and webhooks between their event and their post.
    pub(crate) queue: Queue,
    pub(crate) log: Log,
    pub(crate) page: Page,
    pub(crate) seed: Seed,
    pub(crate) inbound: u64,
    pub(crate) calls: u64,
    /// How often each code was answered.
    pub(crate) refusals: BTreeMap<u32, u64>,
    answers: u64,
}

// === impl State ===

impl State {
    /// Nothing has happened yet.
    pub(crate) fn new(world: World, seed: Seed) -> Self {
        Self {
            world,
            windows: Windows::default(),
            ledger: Ledger::default(),
            limits: Limits::default(),
            faults: Faults::new(seed),
            outbox: Outbox::default(),
            waiting: Waiting::default(),
            delivered: 0,
            queue: Queue::default(),
            log: Log::default(),
            page: Page::default(),
            seed,
            inbound: 0,
            calls: 0,
            refusals: BTreeMap::new(),
            answers: 0,
        }
    }

    /// Forgets what happened; the world stays as it is.
    pub(crate) fn reset(&mut self) {
        let world = std::mem::take(&mut self.world);
        let page = std::mem::take(&mut self.page).emptied();
        *self = Self::new(world, self.seed.next_epoch());
        self.page = page;
    }

    /// The trace id of the next answer.
    pub(crate) fn trace(&mut self) -> String {
        self.answers += 1;
        id::fbtrace_id(&mut self.seed.generator(Purpose::Trace, self.answers))
    }

    /// Counts an answer that was a refusal.
    pub(crate) fn note_refusal(&mut self, code: u32) {
        *self.refusals.entry(code).or_default() += 1;
    }

    /// What a number may do now; nothing where no limit is kept.
    pub(crate) fn quota(&self, pnid: &str, now: Timestamp) -> Option<Quota> {
        let number = self.world.number(pnid)?;
        let is_rate = |effect: &Effect| matches!(effect, Effect::Rate { .. });
        let is_pair = |effect: &Effect| matches!(effect, Effect::Pair { .. });
        let (rate, pair) = (
            self.faults.standing(pnid, now, is_rate),
            self.faults.standing(pnid, now, is_pair),
        );
        let mut quota = match (self.world.settings.limits, rate, pair) {
            (true, ..) => Quota::of(number.mps),
            (false, None, None) => return None,
            (false, ..) => Quota::UNLIMITED,
        };
        if let Some(Effect::Rate { mps, .. }) = rate {
            quota.mps = *mps;
        }
        if let Some(Effect::Pair {
            interval_ms, burst, ..
        }) = pair
        {
            quota.pair_interval = Duration::from_millis(*interval_ms);
            quota.pair_burst = *burst;
        }
        Some(quota)
    }

    /// Changes the world where a scheduled fault says so and its time has come.
    pub(crate) fn settle_world(&mut self, now: Timestamp) {
        if self.faults.is_empty() {
            return;
        }
        for (effect, pnid) in self.faults.due(now) {
            let waba = pnid.and_then(|pnid| Some(self.world.number(&pnid)?.waba.clone()));
            match effect {
                Effect::TokenRevokeAt { .. } => self.world.revoke_tokens(waba.as_deref()),
                Effect::WabaLockAt { .. } => self.world.lock_wabas(waba.as_deref()),
                Effect::TemplatePauseAt { template, .. } => {
                    self.world
                        .pause_templates(waba.as_deref(), template.as_deref());
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fault::Fault;
    use crate::world;

    #[test]
    fn a_quota_is_metas_until_a_fault_or_a_setting_says_otherwise() {
        let rate = json!({"fault": "rate", "mps": 3});
        let pair = json!({"fault": "pair", "interval_ms": 100, "burst": 2});
        for (limits, faults, want) in [
            (true, vec![], Some((80, 6000, 45))),
            (true, vec![&rate], Some((3, 6000, 45))),
            (true, vec![&rate, &pair], Some((3, 100, 2))),
            (false, vec![], None),
            (false, vec![&rate], Some((3, 0, u32::MAX))),
            (false, vec![&pair], Some((u32::MAX, 100, 2))),
        ] {
            let mut state = state();
            state.world.settings.limits = limits;
            for fault in &faults {
                order(&mut state, fault);
            }
            let quota = state.quota(PNID, NOW);
            let got = quota.map(|quota| {
                let interval = u64::try_from(quota.pair_interval.as_millis()).unwrap();
                (quota.mps, interval, quota.pair_burst)
            });
            assert_eq!(got, want, "{limits} {faults:?}");
        }
        assert!(state().quota("unknown", NOW).is_none());
    }

    #[test]
    fn the_world_changes_when_a_scheduled_fault_is_due() {
        let mut state = state();
        for fault in [
            json!({"fault": "token_revoke_at", "in_ms": 1000}),
            json!({"fault": "waba_lock_at", "in_ms": 2000, "pnid": PNID}),
            json!({"fault": "template_pause_at", "in_ms": 3000, "template": "hello_world"}),
        ] {
            order(&mut state, &fault);
        }
        for (after, want) in [
            (999, (false, false, false)),
            (1000, (true, false, false)),
            (2000, (true, true, false)),
            (3000, (true, true, true)),
        ] {
            state.settle_world(NOW + Duration::from_millis(after));
            let is_paused = |name| {
                let template = state.world.templates.iter().find(|held| held.name == name);
                template.unwrap().status == world::TemplateStatus::Paused
            };
            let world = &state.world;
            let got = (
                world.tokens[0].revoked,
                world.wabas[0].state == world::WabaState::Locked,
                is_paused("hello_world"),
            );
            assert_eq!(got, want, "after {after}");
            assert!(!is_paused("shipping_update"));
        }
        assert!(state.faults.is_empty());
    }

    fn state() -> State {
        let world = world::parse(include_str!("world.toml")).unwrap();
        State::new(world, Seed::new(1))
    }

    fn order(state: &mut State, fault: &serde_json::Value) {
        let fault = Fault::parse(fault.as_object().unwrap().clone(), NOW).unwrap();
        state.faults.order(fault).unwrap();
    }

    const PNID: &str = "106540352242922";

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
}
