//! What an answer of Meta proves, and the one table of its error codes.
//!
//! Codes decide and statuses do not: Meta reports its rate limits as 400. An answer that
//! carries Meta's error envelope was judged by Meta and not accepted; a bare 5xx may come
//! from anything in between, and proves nothing.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Reply;
use crate::message::Failure;

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Meta took it, under this id.
    Accepted {
        /// The message's id at Meta.
        wamid: Box<str>,
    },
    /// Nothing left this process.
    NotSent,
    /// Meta refused it.
    Rejected {
        /// Meta's code.
        code: u32,
        /// What to do about it.
        action: Action,
        /// What Meta asked to wait.
        retry_after: Option<Duration>,
    },
    /// Nobody can tell yet.
    Unknown,
}

/// What a refusal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The message has failed.
    Fail,
    /// Nothing more is sent until somebody has acted; then try again.
    Pause,
    /// The same message may be sent again later.
    Retry(Schedule),
}

/// How long to wait before each repetition, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    first: Duration,
    factor: u32,
    cap: Duration,
    retries_max: Option<u32>,
}

/// A line of the table: a range of codes, our word, our sentence and what to do.
#[derive(Debug)]
struct Row {
    first: u32,
    last: u32,
    word: &'static str,
    sentence: &'static str,
    action: Action,
}

#[derive(Deserialize)]
struct Success {
    messages: Vec<Accepted>,
}

#[derive(Deserialize)]
struct Accepted {
    id: Box<str>,
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

/// What callers are told of a code of Meta's; never Meta's own text.
pub fn failure(code: u32) -> Failure {
    let (word, sentence) = row(code).map_or(UNLISTED, |row| (row.word, row.sentence));
    Failure {
        code: word.into(),
        message: format!("{sentence} (WhatsApp error {code})").into(),
    }
}

// === impl Schedule ===

impl Schedule {
    const fn new(first: u64, factor: u32, cap: u64) -> Self {
        Self {
            first: Duration::from_secs(first),
            factor,
            cap: Duration::from_secs(cap),
            retries_max: None,
        }
    }

    const fn at_most(mut self, retries: u32) -> Self {
        self.retries_max = Some(retries);
        self
    }

    /// The longest wait before the next try when `tries` have failed, or nothing when
    /// those were enough.
    pub fn wait(self, tries: u32) -> Option<Duration> {
        if self.retries_max.is_some_and(|max| tries > max) {
            return None;
        }
        let factor = self.factor.saturating_pow(tries.saturating_sub(1));
        Some(self.first.saturating_mul(factor).min(self.cap))
    }
}

fn accepted(body: &[u8]) -> Outcome {
    serde_json::from_slice::<Success>(body)
        .ok()
        .and_then(|success| success.messages.into_iter().next())
        .filter(|accepted| (1..=WAMID_MAX).contains(&accepted.id.len()))
        .map_or(Outcome::Unknown, |accepted| Outcome::Accepted {
            wamid: accepted.id,
        })
}

fn refused(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Outcome {
    let is_server_fault = status >= 500;
    let Some(code) = graph_code(body) else {
        return if is_server_fault {
            Outcome::Unknown
        } else {
            // Not Meta's envelope, yet a refusal: a proxy on the way, or a wrong address.
            Outcome::Rejected {
                code: u32::from(status),
                action: action_without_envelope(status),
                retry_after,
            }
        };
    };
    let action = row(code).map_or_else(
        || {
            if is_server_fault {
                Action::Retry(FEW)
            } else {
                Action::Fail
            }
        },
        |row| row.action,
    );
    Outcome::Rejected {
        code,
        action,
        retry_after,
    }
}

/// The code in Meta's envelope; the rest of it is read by nobody, since its texts change
/// and one of its fields comes both as an object and as a string.
fn graph_code(body: &[u8]) -> Option<u32> {
    let envelope: Value = serde_json::from_slice(body).ok()?;
    let code = envelope.get("error")?.get("code")?;
    let code = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u32::try_from(code).ok()
}

const fn action_without_envelope(status: u16) -> Action {
    match status {
        408 | 429 => Action::Retry(SERVER),
        401 | 403 => Action::Pause,
        _ => Action::Fail,
    }
}

fn row(code: u32) -> Option<&'static Row> {
    TABLE
        .iter()
        .find(|row| (row.first..=row.last).contains(&code))
}

const fn row_of(first: u32, last: u32, group: (&'static str, &'static str), action: Action) -> Row {
    Row {
        first,
        last,
        word: group.0,
        sentence: group.1,
        action,
    }
}

/// Declares the table: codes, the group whose words are shown, the action.
macro_rules! table {
    ($($first:literal $(..= $last:literal)? => $group:ident $action:expr;)*) => {
        &[$(row_of($first, last!($first $($last)?), $group, $action)),*]
    };
}

macro_rules! last {
    ($first:literal) => {
        $first
    };
    ($first:literal $last:literal) => {
        $last
    };
}

/// Every code that the send path can meet, in the order of their numbers.
const TABLE: &[Row] = table! {
    0 => ACCESS Action::Pause;
    1 => UNAVAILABLE Action::Retry(FEW);
    2 => UNAVAILABLE Action::Retry(SERVER);
    3 => ACCESS Action::Pause;
    4 => THROTTLED Action::Retry(HOURLY);
    10 => ACCESS Action::Pause;
    17 => THROTTLED Action::Retry(HOURLY);
    32 => THROTTLED Action::Retry(HOURLY);
    33 => NUMBER Action::Pause;
    100 => INVALID Action::Fail;
    190 => ACCESS Action::Pause;
    200..=299 => ACCESS Action::Pause;
    368 => RESTRICTED Action::Pause;
    613 => THROTTLED Action::Retry(HOURLY);
    80007 => THROTTLED Action::Retry(HOURLY);
    130429 => THROTTLED Action::Retry(NUMBER_RATE);
    130472 => WITHHELD Action::Fail;
    130497 => COUNTRY Action::Fail;
    131000 => UNAVAILABLE Action::Retry(FEW);
    131005 => ACCESS Action::Pause;
    131008..=131009 => INVALID Action::Fail;
    131016 => UNAVAILABLE Action::Retry(SERVER);
    131021 => INVALID Action::Fail;
    131026 => UNDELIVERABLE Action::Fail;
    131030 => UNDELIVERABLE Action::Fail;
    131031 => RESTRICTED Action::Pause;
    131037 => NUMBER Action::Pause;
    131042 => PAYMENT Action::Pause;
    131045 => NUMBER Action::Pause;
    131047 => WINDOW Action::Fail;
    131048 => RESTRICTED Action::Pause;
    131049 => WITHHELD Action::Fail;
    131050 => OPTED_OUT Action::Fail;
    131051 => INVALID Action::Fail;
    131053 => MEDIA Action::Retry(FEW);
    131055 => TEMPLATE Action::Fail;
    131056 => THROTTLED Action::Retry(PAIR_RATE);
    131057 => UNAVAILABLE Action::Retry(MAINTENANCE);
    131062 => INVALID Action::Fail;
    131063 => TEMPLATE Action::Fail;
    131064 => RESTRICTED Action::Pause;
    132000 => TEMPLATE_PARAMETERS Action::Fail;
    132001 => TEMPLATE_UNKNOWN Action::Fail;
    132005 => TEMPLATE_PARAMETERS Action::Fail;
    132007 => TEMPLATE Action::Fail;
    132008 => TEMPLATE_PARAMETERS Action::Fail;
    132012 => TEMPLATE_PARAMETERS Action::Fail;
    132015..=132016 => TEMPLATE Action::Fail;
    132068 => TEMPLATE Action::Fail;
    132069 => THROTTLED Action::Retry(FLOW);
    133000 => NUMBER Action::Pause;
    133004 => UNAVAILABLE Action::Retry(SERVER);
    133005..=133006 => NUMBER Action::Pause;
    133008..=133010 => NUMBER Action::Pause;
    133015 => NUMBER Action::Pause;
    134011 => PAYMENT Action::Fail;
    134100 => TEMPLATE Action::Fail;
    134101 => TEMPLATE Action::Retry(SYNC);
    134102 => TEMPLATE Action::Fail;
    135000 => INVALID Action::Fail;
    137000 => INVALID Action::Fail;
};

/// Graph's call limits count over a rolling hour.
const HOURLY: Schedule = Schedule::new(60, 2, 15 * 60);

/// Messages a second of one number.
const NUMBER_RATE: Schedule = Schedule::new(1, 2, 60);

/// Messages from one number to one customer; the steps are those that Meta gives.
const PAIR_RATE: Schedule = Schedule::new(1, 4, 256);

/// Overload or a fault at Meta.
const SERVER: Schedule = Schedule::new(2, 2, 120);

/// Faults of which some never pass.
const FEW: Schedule = Schedule::new(5, 12, 60).at_most(2);

/// A number is moved to higher throughput within a minute.
const MAINTENANCE: Schedule = Schedule::new(15, 2, 120);

/// Ten messages an hour while a Flow is throttled.
const FLOW: Schedule = Schedule::new(3600, 1, 3600);

/// Templates reach the Marketing Messages API within ten minutes.
const SYNC: Schedule = Schedule::new(600, 1, 600);

/// Meta's cap on its ids.
const WAMID_MAX: usize = 128;

const ACCESS: (&str, &str) = ("access_denied", "WhatsApp does not grant access.");
const COUNTRY: (&str, &str) = (
    "country_not_allowed",
    "This business may not message customers in that country.",
);
const INVALID: (&str, &str) = (
    "message_invalid",
    "WhatsApp refused the message as invalid.",
);
const MEDIA: (&str, &str) = ("media_unavailable", "WhatsApp could not fetch the media.");
const NUMBER: (&str, &str) = ("number_not_ready", "The sending number is not ready.");
const OPTED_OUT: (&str, &str) = ("opted_out", "The customer takes no marketing messages.");
const PAYMENT: (&str, &str) = ("payment_required", "The WhatsApp account cannot be billed.");
const RESTRICTED: (&str, &str) = ("account_restricted", "WhatsApp has restricted the account.");
const TEMPLATE: (&str, &str) = ("template_refused", "WhatsApp refused the template.");
const TEMPLATE_PARAMETERS: (&str, &str) = (
    "template_parameters_mismatch",
    "The parameters do not fit the template.",
);
const TEMPLATE_UNKNOWN: (&str, &str) = (
    "template_not_found",
    "There is no approved template of this name in this language.",
);
const THROTTLED: (&str, &str) = ("throttled", "WhatsApp's rate limit is reached.");
const UNAVAILABLE: (&str, &str) = ("whatsapp_unavailable", "WhatsApp had a fault.");
const UNDELIVERABLE: (&str, &str) = (
    "undeliverable",
    "WhatsApp cannot deliver to this recipient.",
);
const UNLISTED: (&str, &str) = ("rejected", "WhatsApp refused the message.");
const WINDOW: (&str, &str) = ("window_closed", "The 24-hour window is closed.");
const WITHHELD: (&str, &str) = (
    "delivery_withheld",
    "WhatsApp chose not to deliver this message.",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_has_no_code_twice() {
        for pair in TABLE.windows(2) {
            assert!(pair[0].last < pair[1].first, "{:?}", pair[1]);
        }
        assert!(TABLE.iter().all(|row| row.first <= row.last));
    }

    #[test]
    fn waits_grow_to_their_cap_and_some_end() {
        for (schedule, waits) in [
            (NUMBER_RATE, [Some(1), Some(2), Some(4), Some(8)]),
            (PAIR_RATE, [Some(1), Some(4), Some(16), Some(64)]),
            (HOURLY, [Some(60), Some(120), Some(240), Some(480)]),
            (FEW, [Some(5), Some(60), None, None]),
            (FLOW, [Some(3600); 4]),
        ] {
            for (tries, want) in (1..).zip(waits) {
                let wait = schedule.wait(tries).map(|wait| wait.as_secs());
                assert_eq!(wait, want, "{schedule:?} {tries}");
            }
        }
        assert_eq!(PAIR_RATE.wait(u32::MAX), Some(Duration::from_secs(256)));
    }
}
