//! From the queue to Meta and back: what is sent, what came of it, what webhooks say.
//!
//! An attempt is recorded before it connects. What came of it is judged by
//! [`cloud_api`](crate::cloud_api), turned into a [`Settlement`] here, and written in one
//! step. An attempt whose outcome nobody knows, a crash included, makes its message
//! [`Uncertain`](State::Uncertain): it is never sent again, and waits for the status
//! webhook that carries the attempt's token.

mod clock;
mod hold;
mod intake;
mod line;
mod reconcile;
pub mod shaper;
mod worker;

use std::fmt;
use std::time::Duration;

use vestibule::clock::Timestamp;

pub use self::clock::IntakeClock;
pub use self::hold::{Hold, Strike, Term};
pub use self::intake::Intake;
pub use self::line::{BURST, Line, Lines, PER_SECOND};
pub use self::reconcile::Reconcile;
pub use self::worker::Worker;
use crate::cloud_api::{Action, Outcome, Refusal, Scope, WINDOW_CLOSED, failure};
use crate::message::{Content, Failure, Kind, MessageId, Next, State};
use crate::recipient::PhoneNumber;
use crate::window::{EventTime, Verdict};

/// A message on its way out: its attempt is recorded, nothing was sent yet.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Which message.
    pub message: MessageId,
    /// Which attempt at it, from 1.
    pub attempt: u32,
    /// How often Meta has put this message off before.
    pub refusals: u32,
    /// When the attempt was recorded.
    pub began: Timestamp,
    /// What comes back in the status webhooks of this attempt.
    pub token: Box<str>,
    /// The number that sends.
    pub line: Line,
    /// Whom it goes to.
    pub to: PhoneNumber,
    /// What it says.
    pub content: Content,
    /// Whether its window has minutes left, so that Meta can hardly call it closed.
    pub is_well_inside: bool,
    /// The request that caused it.
    pub correlation_id: Box<str>,
    /// The trace of that request (W3C Trace Context).
    pub traceparent: Option<Box<str>>,
}

/// What came of an attempt, as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The attempt's outcome in one word.
    pub outcome: &'static str,
    /// What Meta said, where it refused.
    pub refusal: Option<Refusal>,
    /// Meta's id of the message.
    pub wamid: Option<Box<str>>,
    /// The names that Meta gave the customer.
    pub recipient: Names,
    /// What becomes of the message.
    pub next: Next,
    /// What else of its scope has to wait.
    pub strike: Option<Strike>,
    /// Until when its number has to wait with this customer.
    pub pair_until: Option<Timestamp>,
    /// Whether its number is too fast.
    pub is_too_fast: bool,
    /// Whether its window is closed after all.
    pub closes_window: bool,
}

/// An attempt that was made, and what came of it.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The attempt.
    pub departure: Departure,
    /// What came of it.
    pub settlement: Settlement,
}

/// What a webhook says happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// A customer wrote, called, or accepted a call.
    Inbound(Inbound),
    /// A customer has another name now.
    Renamed(Renamed),
    /// A message of ours got somewhere.
    Status(Status),
}

/// A customer wrote, called, or accepted a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Meta's id of the number.
    pub phone_number_id: Box<str>,
    /// Meta's id of the message or the call.
    pub id: Box<str>,
    /// The customer.
    pub user: Names,
    /// When, where it opens the window.
    pub opened: Option<EventTime>,
}

/// The names of one customer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// The digits of the phone number.
    pub phone: Option<Box<str>>,
    /// Meta's id.
    pub id: Option<Box<str>>,
}

/// A customer has another name now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// Meta's id of the number.
    pub phone_number_id: Box<str>,
    /// Meta's id of the message that tells.
    pub id: Box<str>,
    /// Before.
    pub old: Names,
    /// Now.
    pub new: Names,
}

/// A status webhook's word on one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Meta's id of the number.
    pub phone_number_id: Box<str>,
    /// Meta's id of the message.
    pub wamid: Box<str>,
    /// The token of the attempt, where it came back.
    pub token: Option<Box<str>>,
    /// The customer.
    pub recipient: Names,
    /// How far the message has come.
    pub state: State,
    /// When it got there.
    pub at: Timestamp,
    /// Meta's code.
    pub code: Option<u32>,
    /// Why it failed, where it did.
    pub failure: Option<Failure>,
}

/// Whether a waiting message may still be sent, or why it has failed (T2, T16).
///
/// # Errors
///
/// The [`Failure`] where its window closed meanwhile. Where the window is not known, it is
/// for `allows_unknown` to say whether Meta shall decide.
pub fn may_depart(kind: Kind, window: Verdict, allows_unknown: bool) -> Result<(), Failure> {
    let is_open = match window {
        Verdict::Open { .. } => true,
        Verdict::Unknown => allows_unknown,
        Verdict::Closed => false,
    };
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
    match outcome {
        Outcome::Accepted { wamid, recipient } => Settlement {
            wamid: Some(wamid.clone()),
            recipient: recipient.clone(),
            ..Settlement::new("accepted", Next::Submitted)
        },
        Outcome::NotSent => {
            let at = now + fraction(reconnect_wait(departure.attempt), draw);
            Settlement::new("not_sent", Next::Retry { at, counts: false })
        }
        Outcome::Unknown => Settlement::new("unknown", Next::Uncertain),
        Outcome::Rejected(refusal) => Settlement {
            refusal: Some(refusal.clone()),
            ..refused(refusal, departure, now, draw)
        },
    }
}

// === impl Ended ===

impl Ended {
    /// Meta's id of the message, where Meta took it.
    pub fn wamid(&self) -> Option<&str> {
        self.settlement.wamid.as_deref()
    }
}

// === impl Names ===

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |name: &Option<Box<str>>| {
            name.as_deref().map(|name| {
                name.get(name.len().saturating_sub(2)..)
                    .unwrap_or_default()
                    .to_owned()
            })
        };
        // People's names belong in no log.
        f.debug_struct("Names")
            .field("phone", &end(&self.phone))
            .field("id", &end(&self.id))
            .finish()
    }
}

// === impl Settlement ===

impl Settlement {
    /// Whether more has to wait than the message itself.
    pub const fn waits_for_more_than_itself(&self) -> bool {
        self.strike.is_some() || self.pair_until.is_some() || self.is_too_fast
    }

    /// Whether Meta has judged the message by itself: then nothing else is held.
    pub fn proves_a_way(&self) -> bool {
        let is_judged = self
            .refusal
            .as_ref()
            .is_some_and(|refusal| refusal.code != u32::from(refusal.http_status));
        self.wamid.is_some() || (is_judged && self.strike.is_none())
    }

    /// Whether Meta called a window closed that is open here.
    pub fn is_disputed(&self) -> bool {
        let code = self.refusal.as_ref().map(|refusal| refusal.code);
        code == Some(WINDOW_CLOSED) && matches!(self.next, Next::Retry { .. })
    }

    fn new(outcome: &'static str, next: Next) -> Self {
        Self {
            outcome,
            refusal: None,
            wamid: None,
            recipient: Names::default(),
            next,
            strike: None,
            pair_until: None,
            is_too_fast: false,
            closes_window: false,
        }
    }
}

fn refused(refusal: &Refusal, departure: &Departure, now: Timestamp, draw: u128) -> Settlement {
    let rejected = |next| Settlement::new("rejected", next);
    let failed = || rejected(Next::Failed(failure(refusal.code)));
    match refusal.action {
        Action::Fail => failed(),
        // The same message has gone through half a minute later before: once is worth it.
        Action::WindowClosed if departure.is_well_inside && departure.refusals == 0 => {
            let at = now + DISPUTE;
            rejected(Next::Retry { at, counts: true })
        }
        Action::WindowClosed => Settlement {
            closes_window: true,
            ..failed()
        },
        Action::Retry { schedule, scope } => {
            let Some(wait) = refusal.wait(departure.refusals + 1, draw) else {
                return failed();
            };
            let at = now + wait;
            let at_least = refusal.asked();
            Settlement {
                strike: strike(
                    refusal,
                    departure,
                    scope,
                    Term::Throttled { schedule, at_least },
                ),
                pair_until: (scope == Scope::Pair).then_some(at),
                is_too_fast: refusal.code == TOO_FAST,
                ..rejected(Next::Retry { at, counts: true })
            }
        }
        Action::Pause { scope, resume } => Settlement {
            strike: strike(refusal, departure, scope, Term::Paused(resume)),
            // Due at once when the hold is lifted: that is what it waits for.
            ..rejected(Next::Blocked { at: now })
        },
    }
}

fn strike(refusal: &Refusal, departure: &Departure, scope: Scope, term: Term) -> Option<Strike> {
    Some(Strike {
        scope: departure.line.name(scope)?,
        code: refusal.code,
        began: departure.began,
        term,
    })
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

/// When Meta calls a window closed that is open.
const DISPUTE: Duration = Duration::from_secs(30);

/// Meta's code for a number that sends more than it may a second.
const TOO_FAST: u32 = 130_429;

/// How long Meta tries to deliver a message.
pub const LASTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
