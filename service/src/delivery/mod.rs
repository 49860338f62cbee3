//! From the queue to Meta and back: what is sent, what came of it, what webhooks say.
//!
//! An attempt is recorded before it connects. What came of it is judged by
//! [`cloud_api`](crate::cloud_api), turned into a [`Settlement`] here, and written in one
//! step. An attempt whose outcome nobody knows, a crash included, makes its message
//! [`Uncertain`](State::Uncertain): it is never sent again, and waits for the status
//! webhook that carries the attempt's token.

mod intake;
mod worker;

use std::time::Duration;

use vestibule::clock::Timestamp;

pub use self::intake::Intake;
pub use self::worker::Worker;
use crate::cloud_api::{Action, Outcome, failure};
use crate::message::{Content, Failure, Kind, MessageId, State};
use crate::recipient::PhoneNumber;
use crate::window::{DISPATCH_MARGIN, EventTime, Window};

/// A message on its way out: its attempt is recorded, nothing was sent yet.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Which message.
    pub message: MessageId,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// How often Meta has put this message off before.
    pub refusals: u32,
    /// What comes back in the status webhooks of this attempt.
    pub token: Box<str>,
    /// Meta's id of the number that sends.
    pub phone_number_id: Box<str>,
    /// Whom it goes to.
    pub to: PhoneNumber,
    /// What it says.
    pub content: Content,
}

/// What came of an attempt, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The attempt's outcome in one word.
    pub outcome: &'static str,
    /// Meta's code, where there was one.
    pub code: Option<u32>,
    /// Meta's id of the message.
    pub wamid: Option<Box<str>>,
    /// Where the message stands now.
    pub state: State,
    /// When it may be tried again.
    pub not_before: Option<Timestamp>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

/// What a webhook says happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// A customer wrote to a business number.
    Inbound {
        /// Meta's id of the number.
        phone_number_id: Box<str>,
        /// The customer: the digits of a phone number, or Meta's id of the user.
        user: Box<str>,
        /// When.
        opened: EventTime,
    },
    /// A message of ours got somewhere.
    Status(Status),
}

/// A status webhook's word on one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Meta's id of the message.
    pub wamid: Box<str>,
    /// The token of the attempt, where it came back.
    pub token: Option<Box<str>>,
    /// How far the message has come.
    pub state: State,
    /// When it got there.
    pub at: Timestamp,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
}

/// Whether a waiting message may still be sent, or why it has failed.
///
/// # Errors
///
/// The [`Failure`] where it waited too long or its window closed meanwhile.
pub fn may_depart(
    kind: Kind,
    expires_at: Timestamp,
    window: Option<Window>,
    now: Timestamp,
) -> Result<(), Failure> {
    if now >= expires_at {
        return Err(Failure {
            code: "queue_expired".into(),
            message: "The message could not be sent in time.".into(),
        });
    }
    let is_open = window.is_some_and(|window| window.is_open(now, DISPATCH_MARGIN));
    match kind {
        Kind::Text if !is_open => Err(Failure {
            code: "window_closed".into(),
            message: "The 24-hour window closed before the message could be sent.".into(),
        }),
        Kind::Text | Kind::Template => Ok(()),
    }
}

/// What to write down after an attempt; `draw` spreads the waits.
pub fn settle(outcome: &Outcome, departure: &Departure, now: Timestamp, draw: u128) -> Settlement {
    let plain = |outcome, state| Settlement {
        outcome,
        code: None,
        wamid: None,
        state,
        not_before: None,
        failure: None,
    };
    match outcome {
        Outcome::Accepted { wamid } => Settlement {
            wamid: Some(wamid.clone()),
            ..plain("accepted", State::Submitted)
        },
        Outcome::NotSent => Settlement {
            not_before: Some(now + fraction(reconnect_wait(departure.attempt), draw)),
            ..plain("not_sent", State::RetryWait)
        },
        Outcome::Unknown => plain("unknown", State::Uncertain),
        Outcome::Rejected {
            code,
            action,
            retry_after,
        } => {
            let (state, wait) = after_refusal(*action, departure.refusals + 1, draw);
            let asked = retry_after.unwrap_or_default().min(WAIT_MAX);
            Settlement {
                code: Some(*code),
                not_before: wait.map(|wait| now + wait.max(asked)),
                failure: (state == State::Failed).then(|| failure(*code)),
                ..plain("rejected", state)
            }
        }
    }
}

/// Where a message stands after its attempt was settled, when a webhook may have been
/// there first: what is known from Meta is never taken back.
#[must_use]
pub fn settled_state(current: State, settled: State) -> State {
    match current {
        State::Dispatching | State::Uncertain => settled,
        _ if settled == State::Submitted => current.advanced_to(settled),
        _ => current,
    }
}

fn after_refusal(action: Action, refusals: u32, draw: u128) -> (State, Option<Duration>) {
    match action {
        Action::Fail => (State::Failed, None),
        Action::Pause => (State::Blocked, Some(PROBE)),
        // Never earlier than the table says, and spread over half as much again.
        Action::Retry(schedule) => match schedule.wait(refusals) {
            Some(wait) => (State::RetryWait, Some(wait + fraction(wait / 2, draw))),
            None => (State::Failed, None),
        },
    }
}

/// The longest wait before the next connection is tried; the actual one is anything
/// below it, so that many messages do not knock at once.
fn reconnect_wait(attempt: u32) -> Duration {
    RECONNECT
        .saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)))
        .min(RECONNECT_MAX)
}

/// A part of a duration, drawn evenly.
fn fraction(whole: Duration, draw: u128) -> Duration {
    let millis = whole.as_millis() + 1;
    Duration::from_millis(u64::try_from(draw % millis).unwrap_or(u64::MAX))
}

/// The longest that a message waits in the queue: a text's window is no longer, and a
/// template that was not sent for a day is no news.
pub const QUEUE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const RECONNECT: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// How often a blocked message asks whether the block is lifted.
const PROBE: Duration = Duration::from_secs(60);

/// A `Retry-After` beyond this is not believed.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
