//! What an answer of Meta proves.
//!
//! Codes decide and statuses do not: Meta reports its rate limits as 400. An answer that
//! carries Meta's error envelope was judged by Meta and not accepted; a bare 5xx may come
//! from anything in between, and proves nothing.

use std::time::Duration;

use serde_json::Value;

use super::Reply;
use super::schedule::Schedule;
use super::table;
use crate::delivery::Names;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Meta took it.
    Accepted {
        /// The message's id at Meta.
        wamid: Box<str>,
        /// The names that Meta gave the customer.
        recipient: Names,
    },
    /// Nothing left this process.
    NotSent,
    /// Meta refused it.
    Rejected(Refusal),
    /// Nobody can tell yet.
    Unknown,
}

/// A refusal of Meta's, or of something on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Meta's code; the status where there was no envelope.
    pub code: u32,
    /// The status of the answer.
    pub http_status: u16,
    /// What Meta's support asks for.
    pub fbtrace_id: Option<Box<str>>,
    /// What Meta asked to wait.
    pub retry_after: Option<Duration>,
    /// What to do about it.
    pub action: Action,
}

/// What a refusal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The message has failed.
    Fail,
    /// Meta calls the window closed; once in a while it is wrong.
    WindowClosed,
    /// The same message may be sent again later, and everything of its scope waits.
    Retry {
        /// For how long.
        schedule: Schedule,
        /// What waits.
        scope: Scope,
    },
    /// Nothing of its scope is sent until somebody has acted.
    Pause {
        /// What waits.
        scope: Scope,
        /// How anybody learns that it may go on.
        resume: Resume,
    },
}

/// How far a refusal reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This message.
    Message,
    /// Messages from its number to its customer.
    Pair,
    /// Messages from its number.
    Number,
    /// Messages of its WhatsApp business account.
    Account,
    /// Messages of the app.
    App,
    /// Messages sent with its token.
    Token,
}

/// How a pause ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// One message is sent after this long, and more and more rarely, to see.
    Probe(Duration),
    /// An operator says so: trying again makes it worse.
    Manual,
}

/// Says what happened on the wire proves.
pub fn classify(reply: &Reply) -> Outcome {
    match reply {
        Reply::NotSent => Outcome::NotSent,
        Reply::Lost => Outcome::Unknown,
        Reply::Answered {
            status,
            retry_after,
            body,
        } => match status {
            200..=299 => accepted(body),
            400..=599 => refused(*status, *retry_after, body),
            // Redirects are not followed, and whoever sent one may have acted before.
            _ => Outcome::Unknown,
        },
    }
}

// === impl Refusal ===

impl Refusal {
    /// The wait before the same message is tried again when `tries` have failed, or nothing
    /// when those were enough: ours or Meta's, whichever is longer.
    pub fn wait(&self, tries: u32, draw: u128) -> Option<Duration> {
        let Action::Retry { schedule, .. } = self.action else {
            return None;
        };
        Some(schedule.wait(tries, draw)?.max(self.asked()))
    }

    /// What Meta asked to wait, as far as that is believed.
    pub fn asked(&self) -> Duration {
        self.retry_after.unwrap_or_default().min(ASKED_MAX)
    }
}

/// Only the id matters; whatever else is odd about the answer, the message was taken.
fn accepted(body: &[u8]) -> Outcome {
    let Ok(success) = serde_json::from_slice::<Value>(body) else {
        return Outcome::Unknown;
    };
    let contact = &success["contacts"][0];
    let name = |field: &str| contact[field].as_str().map(Into::into);
    let wamid = success["messages"][0]["id"].as_str();
    let wamid = wamid.filter(|id| (1..=WAMID_MAX).contains(&id.len()));
    wamid.map_or(Outcome::Unknown, |wamid| Outcome::Accepted {
        wamid: wamid.into(),
        recipient: Names {
            phone: name("wa_id"),
            id: name("user_id"),
        },
    })
}

fn refused(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Outcome {
    let is_server_fault = status >= 500;
    let refusal = |code, fbtrace_id, action| {
        Outcome::Rejected(Refusal {
            code,
            http_status: status,
            fbtrace_id,
            retry_after,
            action,
        })
    };
    let Some((code, fbtrace_id)) = envelope(body) else {
        return if is_server_fault {
            Outcome::Unknown
        } else {
            // Not Meta's envelope, yet a refusal: a proxy on the way, or a wrong address.
            refusal(u32::from(status), None, action_without_envelope(status))
        };
    };
    let action = table::action(code).unwrap_or(match is_server_fault {
        true => table::FAULT,
        false => Action::Fail,
    });
    refusal(code, fbtrace_id, action)
}

/// The code in Meta's envelope, and what Meta's support asks for; the rest of it is read by
/// nobody, since its texts change and one of its fields comes both as an object and as a
/// string.
fn envelope(body: &[u8]) -> Option<(u32, Option<Box<str>>)> {
    let envelope: Value = serde_json::from_slice(body).ok()?;
    let error = envelope.get("error")?;
    let code = error.get("code")?;
    let code = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    let trace = error["fbtrace_id"].as_str();
    let trace = trace.filter(|trace| trace.len() <= TRACE_MAX);
    Some((u32::try_from(code).ok()?, trace.map(Into::into)))
}

const fn action_without_envelope(status: u16) -> Action {
    match status {
        408 | 429 => table::OVERLOAD,
        401 | 403 => table::NO_ACCESS,
        _ => Action::Fail,
    }
}

/// A `Retry-After` beyond this is not believed.
const ASKED_MAX: Duration = Duration::from_secs(60 * 60);

/// Meta's trace ids have some thirty characters.
const TRACE_MAX: usize = 128;

/// Meta's cap on its ids.
const WAMID_MAX: usize = 128;
