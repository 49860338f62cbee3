//! Everything that a run changes, as plain data that one lock guards.

use std::time::Duration;

use vestibule::clock::Timestamp;

use crate::fault::{Effect, Faults, Stage};
use crate::id::{self, Purpose, Seed};
use crate::ledger::Ledger;
use crate::outbox::Outbox;
use crate::webhook::log::Log;
use crate::webhook::{Delivery, Event, Job};
use crate::window::Windows;
use crate::world::World;

/// The state of a run.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) windows: Windows,
    pub(crate) ledger: Ledger,
    pub(crate) faults: Faults,
    pub(crate) outbox: Outbox<Job>,
    pub(crate) log: Log,
    pub(crate) seed: Seed,
    pub(crate) inbound: u64,
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
            faults: Faults::default(),
            outbox: Outbox::default(),
            log: Log::default(),
            seed,
            inbound: 0,
            answers: 0,
        }
    }

    /// Forgets what happened; the world stays as it is.
    pub(crate) fn reset(&mut self) {
        let world = std::mem::take(&mut self.world);
        *self = Self::new(world, self.seed.next_epoch());
    }

    /// The trace id of the next answer.
    pub(crate) fn trace(&mut self) -> String {
        self.answers += 1;
        id::fbtrace_id(&mut self.seed.generator(Purpose::Trace, self.answers))
    }

    /// The next webhook to post, after telling apps of all that has happened by now.
    pub(crate) fn next_post(&mut self, now: Timestamp) -> Option<Delivery> {
        loop {
            match self.outbox.pop(now)? {
                Job::Emit(event) => self.emit(&event, now),
                Job::Post(delivery) => return Some(delivery),
            }
        }
    }

    fn emit(&mut self, event: &Event, now: Timestamp) {
        let user = event.addresses();
        let (pnid, names) = (&event.number.id, user.each_ref().map(String::as_str));
        let repeats = match self.faults.take(Stage::Emission, pnid, &names) {
            Some(Effect::Duplicate { copies, spacing_ms }) => (copies, spacing_ms),
            _ => (0, 0),
        };
        for app in self.world.listeners(&event.number.waba) {
            let delivery = Delivery {
                app: app.id.clone(),
                pnid: pnid.clone(),
                user: user.clone(),
                body: event.body(app.hears_conversations()),
                failures: 0,
                since: now,
                epoch: self.seed.epoch(),
                heard: event.heard.clone(),
            };
            for copy in 0..=repeats.0 {
                let after = Duration::from_millis(repeats.1 * u64::from(copy));
                self.outbox.push(now + after, Job::Post(delivery.clone()));
            }
        }
    }
}
