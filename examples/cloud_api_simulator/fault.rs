//! Faults to order: what goes wrong, for whom, and how often.

use std::collections::VecDeque;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::graph::error;
use crate::ledger::without_punctuation;

/// The faults that are ordered and not yet used up, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    queue: VecDeque<Fault>,
}

/// One order: an effect for the next requests or webhooks that match.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Fault {
    #[serde(flatten)]
    effect: Effect,
    /// How often it still happens.
    times: u32,
    /// Only for this number.
    pnid: Option<String>,
    /// Only for this user: digits of the phone number, or the user id.
    to: Option<String>,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Effect {
    /// Webhook: one attempt is signed with a secret that is not the app's.
    BadSignature,
    /// Send: the first status is on its way before the answer.
    BeforeResponse,
    /// Webhook: it is posted again, so often and so far apart.
    Duplicate {
        #[serde(default = "one")]
        copies: u32,
        #[serde(default)]
        spacing_ms: u64,
    },
    /// Send: accepted, then a `failed` status with this code.
    Fail { code: u32 },
    /// Send: refused with this code.
    Graph { code: u32 },
    /// Send: accepted only after this time, whether or not the client still waits.
    HangThenProcess {
        #[serde(default = "a_minute")]
        ms: u64,
    },
    /// Send: a bare answer, as from something in between; nothing is accepted.
    Http {
        status: u16,
        #[serde(default)]
        body: String,
    },
    /// Send: accepted, then no answer for this time, then a reset.
    ProcessThenHang {
        #[serde(default = "a_minute")]
        ms: u64,
    },
    /// Send: accepted, then the connection is reset.
    ProcessThenReset,
    /// Send: its statuses come in reverse order.
    Reorder,
}

/// Where in a message's life an effect strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A send has arrived.
    Request,
    /// A send is accepted; each of the effects may strike.
    Plan(PlanFault),
    /// A webhook is made.
    Emission,
    /// A webhook is posted.
    Attempt,
}

/// The effects on the statuses of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlanFault {
    BeforeResponse,
    Fail,
    Reorder,
}

// === impl Faults ===

impl Faults {
    /// Orders a fault.
    ///
    /// # Errors
    ///
    /// The queue is full.
    pub(crate) fn order(&mut self, fault: Fault) -> Result<(), String> {
        if self.queue.len() >= MAX_FAULTS {
            return Err(format!("{MAX_FAULTS} faults are waiting already"));
        }
        self.queue.push_back(fault);
        Ok(())
    }

    /// The next effect at this stage for this number and user, if one is ordered; it is
    /// then one fewer.
    pub(crate) fn take(&mut self, stage: Stage, pnid: &str, user: &[&str]) -> Option<Effect> {
        let strikes = |fault: &Fault| fault.effect.stage() == stage && fault.is_for(pnid, user);
        let index = self.queue.iter().position(strikes)?;
        let fault = &mut self.queue[index];
        fault.times -= 1;
        let effect = fault.effect.clone();
        if fault.times == 0 {
            self.queue.remove(index);
        }
        Some(effect)
    }

    /// Whether nothing is ordered, as in most runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What is still to happen.
    pub(crate) fn waiting(&self) -> Vec<Fault> {
        self.queue.iter().cloned().collect()
    }

    /// Takes all orders back.
    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }
}

// === impl Fault ===

impl Fault {
    /// Reads an order: `fault` and its own fields, `times`, `pnid`, `to`.
    ///
    /// # Errors
    ///
    /// A sentence that names what is wrong.
    pub(crate) fn parse(mut order: Map<String, Value>) -> Result<Self, String> {
        let times = match order.remove("times") {
            None => 1,
            Some(times) => {
                positive(&times).ok_or_else(|| format!("times = {times}: not 1 or more"))?
            }
        };
        let pnid = text(&mut order, "pnid")?;
        let to = text(&mut order, "to")?.map(|to| without_punctuation(&to));
        let effect =
            serde_json::from_value(Value::Object(order)).map_err(|error| error.to_string())?;
        check(&effect)?;
        Ok(Self {
            effect,
            times,
            pnid,
            to,
        })
    }

    fn is_for(&self, pnid: &str, user: &[&str]) -> bool {
        let is_number = self.pnid.as_deref().is_none_or(|wanted| wanted == pnid);
        is_number
            && self
                .to
                .as_deref()
                .is_none_or(|wanted| user.contains(&wanted))
    }
}

// === impl Effect ===

impl Effect {
    const fn stage(&self) -> Stage {
        match self {
            Self::BadSignature => Stage::Attempt,
            Self::Duplicate { .. } => Stage::Emission,
            Self::BeforeResponse => Stage::Plan(PlanFault::BeforeResponse),
            Self::Fail { .. } => Stage::Plan(PlanFault::Fail),
            Self::Reorder => Stage::Plan(PlanFault::Reorder),
            Self::Graph { .. }
            | Self::HangThenProcess { .. }
            | Self::Http { .. }
            | Self::ProcessThenHang { .. }
            | Self::ProcessThenReset => Stage::Request,
        }
    }
}

fn check(effect: &Effect) -> Result<(), String> {
    match effect {
        Effect::Fail { code } | Effect::Graph { code } if !error::is_known(*code) => Err(format!(
            "code = {code}: not an error code that Meta documents"
        )),
        Effect::Http { status, .. } if !is_final(*status) => {
            Err(format!("status = {status}: not the status of an answer"))
        }
        Effect::Duplicate { copies, .. } if *copies == 0 || *copies > MAX_COPIES => {
            Err(format!("copies = {copies}: not between 1 and {MAX_COPIES}"))
        }
        _ => Ok(()),
    }
}

fn is_final(status: u16) -> bool {
    StatusCode::from_u16(status).is_ok_and(|status| !status.is_informational())
}

fn positive(times: &Value) -> Option<u32> {
    let times = u32::try_from(times.as_u64()?).ok()?;
    (times > 0).then_some(times)
}

fn text(order: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match order.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{key} = {other}: not a string")),
    }
}

const fn one() -> u32 {
    1
}

const fn a_minute() -> u64 {
    60_000
}

/// Each request looks through all of them.
const MAX_FAULTS: usize = 1000;

/// Meta's own repeats stay in single figures.
const MAX_COPIES: u32 = 100;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fault_strikes_whom_it_is_for_and_only_so_often() {
        let mut faults = Faults::default();
        faults
            .order(order(
                &json!({"fault": "graph", "code": 131016, "times": 2, "to": "+1 650"}),
            ))
            .unwrap();
        for (pnid, user, strikes) in [
            ("n", "1651", false),
            ("n", "1650", true),
            ("m", "1650", true),
            ("n", "1650", false),
        ] {
            let effect = faults.take(Stage::Request, pnid, &[user]);
            assert_eq!(effect.is_some(), strikes, "{pnid} {user}");
        }
        assert!(faults.waiting().is_empty());
    }

    #[test]
    fn faults_strike_at_their_stage_and_in_order() {
        let mut faults = Faults::default();
        for fault in [
            "bad_signature",
            "process_then_reset",
            "reorder",
            "process_then_hang",
        ] {
            faults
                .order(order(&json!({"fault": fault, "pnid": "n"})))
                .unwrap();
        }
        let mut take = |stage, pnid| faults.take(stage, pnid, &[]);
        assert_eq!(take(Stage::Request, "other"), None);
        assert_eq!(take(Stage::Request, "n"), Some(Effect::ProcessThenReset));
        assert_eq!(
            take(Stage::Request, "n"),
            Some(Effect::ProcessThenHang { ms: 60_000 })
        );
        assert_eq!(take(Stage::Emission, "n"), None);
        assert_eq!(take(Stage::Attempt, "n"), Some(Effect::BadSignature));
        assert_eq!(take(Stage::Plan(PlanFault::Fail), "n"), None);
        assert_eq!(
            take(Stage::Plan(PlanFault::Reorder), "n"),
            Some(Effect::Reorder)
        );
    }

    #[test]
    fn a_malformed_order_is_refused_in_a_sentence() {
        for (given, want) in [
            (json!({"fault": "graph", "code": 42}), "code = 42"),
            (json!({"fault": "graph"}), "missing field `code`"),
            (json!({"fault": "flood"}), "unknown variant `flood`"),
            (
                json!({"fault": "graph", "code": 2, "tmies": 3}),
                "unknown field `tmies`",
            ),
            (json!({"fault": "reorder", "times": 0}), "times = 0"),
            (json!({"fault": "reorder", "pnid": 1}), "pnid = 1"),
            (json!({"fault": "http", "status": 99}), "status = 99"),
            (json!({"fault": "http", "status": 100}), "status = 100"),
            (
                json!({"fault": "duplicate", "copies": 1000}),
                "copies = 1000",
            ),
        ] {
            let refusal = Fault::parse(given.as_object().unwrap().clone()).unwrap_err();
            assert!(refusal.contains(want), "{given}: {refusal}");
        }
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut faults = Faults::default();
        let reorder = order(&json!({"fault": "reorder"}));
        for _ in 0..MAX_FAULTS {
            faults.order(reorder.clone()).unwrap();
        }
        assert!(faults.order(reorder).is_err());
    }

    fn order(order: &Value) -> Fault {
        Fault::parse(order.as_object().unwrap().clone()).unwrap()
    }
}
