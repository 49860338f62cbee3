//! The one table of Meta's codes: what each asks for, and what callers are told of it.

use std::time::Duration;

use super::error::{Action, Resume, Scope};
use super::schedule::Schedule;
use crate::message::Failure;

/// A line of the table: a range of codes, our word, our sentence and what to do.
#[derive(Debug)]
struct Row {
    first: u32,
    last: u32,
    word: &'static str,
    sentence: &'static str,
    action: Action,
}

/// What callers are told of a code of Meta's; never Meta's own text.
pub fn failure(code: u32) -> Failure {
    let (word, sentence) = row(code).map_or(UNLISTED, |row| (row.word, row.sentence));
    Failure {
        code: word.into(),
        message: format!("{sentence} (WhatsApp error {code})").into(),
    }
}

/// The wait before a message is tried again whose failure Meta told afterwards, where that
/// kind of failure passes and there are tries left.
pub fn retry_wait(code: u32, tries: u32, draw: u128) -> Option<Duration> {
    match action(code)? {
        Action::Retry { schedule, .. } => schedule.wait(tries, draw),
        _ => None,
    }
}

/// What a code asks for, where it is in the table.
pub(super) fn action(code: u32) -> Option<Action> {
    row(code).map(|row| row.action)
}

const fn retry(schedule: Schedule, scope: Scope) -> Action {
    Action::Retry { schedule, scope }
}

const fn pause(scope: Scope) -> Action {
    let resume = Resume::Probe(PROBE);
    Action::Pause { scope, resume }
}

const fn pause_for(scope: Scope, seconds: u64) -> Action {
    let resume = Resume::Probe(Duration::from_secs(seconds));
    Action::Pause { scope, resume }
}

const fn stop(scope: Scope) -> Action {
    let resume = Resume::Manual;
    Action::Pause { scope, resume }
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
    0 => ACCESS pause(Scope::Token);
    1 => UNAVAILABLE retry(FEW, Scope::Message);
    2 => UNAVAILABLE retry(SERVER, Scope::Message);
    3 => ACCESS pause(Scope::Token);
    4 => THROTTLED retry(HOURLY, Scope::App);
    10 => ACCESS pause(Scope::Token);
    17 => THROTTLED retry(HOURLY, Scope::App);
    32 => THROTTLED retry(HOURLY, Scope::App);
    33 => NUMBER pause(Scope::Number);
    100 => INVALID Action::Fail;
    190 => ACCESS pause(Scope::Token);
    200..=299 => ACCESS pause(Scope::Token);
    368 => RESTRICTED stop(Scope::Account);
    613 => THROTTLED retry(HOURLY, Scope::App);
    80007 => THROTTLED retry(HOURLY, Scope::Account);
    130429 => THROTTLED retry(NUMBER_RATE, Scope::Number);
    130472 => WITHHELD Action::Fail;
    130497 => COUNTRY Action::Fail;
    131000 => UNAVAILABLE retry(FEW, Scope::Message);
    131005 => ACCESS pause(Scope::Token);
    131008..=131009 => INVALID Action::Fail;
    131016 => UNAVAILABLE retry(SERVER, Scope::Message);
    131021 => INVALID Action::Fail;
    131026 => UNDELIVERABLE Action::Fail;
    131030 => UNDELIVERABLE Action::Fail;
    131031 => RESTRICTED stop(Scope::Account);
    131037 => NUMBER pause(Scope::Number);
    131042 => PAYMENT pause(Scope::Account);
    131045 => NUMBER pause(Scope::Number);
    131047 => WINDOW Action::WindowClosed;
    131048 => RESTRICTED pause_for(Scope::Number, HOUR);
    131049 => WITHHELD Action::Fail;
    131050 => OPTED_OUT Action::Fail;
    131051 => INVALID Action::Fail;
    131053 => MEDIA retry(FEW, Scope::Message);
    131055 => TEMPLATE Action::Fail;
    131056 => THROTTLED retry(PAIR_RATE, Scope::Pair);
    131057 => UNAVAILABLE retry(MAINTENANCE, Scope::Number);
    131062 => INVALID Action::Fail;
    131063 => TEMPLATE Action::Fail;
    131064 => RESTRICTED pause_for(Scope::Account, 24 * HOUR);
    132000 => TEMPLATE_PARAMETERS Action::Fail;
    132001 => TEMPLATE_UNKNOWN Action::Fail;
    132005 => TEMPLATE_PARAMETERS Action::Fail;
    132007 => TEMPLATE Action::Fail;
    132008 => TEMPLATE_PARAMETERS Action::Fail;
    132012 => TEMPLATE_PARAMETERS Action::Fail;
    132015..=132016 => TEMPLATE Action::Fail;
    132068 => TEMPLATE Action::Fail;
    132069 => THROTTLED retry(FLOW, Scope::Message);
    133000 => NUMBER pause(Scope::Number);
    133004 => UNAVAILABLE retry(SERVER, Scope::Message);
    133005..=133006 => NUMBER pause(Scope::Number);
    133008..=133010 => NUMBER pause(Scope::Number);
    133015 => NUMBER pause_for(Scope::Number, 5 * 60);
    133016 => THROTTLED pause_for(Scope::Number, HOUR);
    134011 => PAYMENT Action::Fail;
    134100 => TEMPLATE Action::Fail;
    134101 => TEMPLATE retry(SYNC, Scope::Message);
    134102 => TEMPLATE Action::Fail;
    135000 => INVALID Action::Fail;
    137000 => INVALID Action::Fail;
};

/// A fault of Meta's that nobody has described.
pub(super) const FAULT: Action = retry(FEW, Scope::Message);

/// Something on the way to Meta has too much to do.
pub(super) const OVERLOAD: Action = retry(SERVER, Scope::Message);

/// Something on the way to Meta wants another token.
pub(super) const NO_ACCESS: Action = pause(Scope::Token);

/// Meta's code for a window that is closed.
pub const WINDOW_CLOSED: u32 = 131_047;

/// Graph's call limits count over a rolling hour.
const HOURLY: Schedule = Schedule::new(60, 2, 15 * 60);

/// Messages a second of one number.
const NUMBER_RATE: Schedule = Schedule::new(1, 2, 60).jittered();

/// Messages from one number to one customer; the steps are those that Meta gives.
const PAIR_RATE: Schedule = Schedule::new(1, 4, 256);

/// Overload or a fault at Meta.
const SERVER: Schedule = Schedule::new(2, 2, 120).jittered();

/// Faults of which some never pass.
const FEW: Schedule = Schedule::new(5, 12, 60).at_most(2);

/// A number is moved to higher throughput within a minute.
const MAINTENANCE: Schedule = Schedule::new(15, 2, 120);

/// Ten messages an hour while a Flow is throttled.
const FLOW: Schedule = Schedule::new(HOUR, 1, HOUR);

/// Templates reach the Marketing Messages API within ten minutes.
const SYNC: Schedule = Schedule::new(600, 1, 600);

const HOUR: u64 = 60 * 60;

/// How soon one message asks whether a pause is over.
const PROBE: Duration = Duration::from_secs(60);

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
            (HOURLY, [Some(60), Some(120), Some(240), Some(480)]),
            (PAIR_RATE, [Some(1), Some(4), Some(16), Some(64)]),
            (FEW, [Some(5), Some(60), None, None]),
            (FLOW, [Some(3600); 4]),
        ] {
            for (tries, want) in (1..).zip(waits) {
                let wait = schedule.wait(tries, 0).map(|wait| wait.as_secs());
                assert_eq!(wait, want, "{schedule:?} {tries}");
            }
        }
        let longest = PAIR_RATE.wait(u32::MAX, 0);
        assert_eq!(longest, Some(Duration::from_secs(256)));
    }

    #[test]
    fn a_wait_is_spread_below_its_step_or_never_below_a_rule_of_metas() {
        for (schedule, tries, draw, millis) in [
            (NUMBER_RATE, 3, 0, 0),
            (NUMBER_RATE, 3, 4000, 4000),
            (NUMBER_RATE, 3, 4001, 0),
            (PAIR_RATE, 2, 0, 4000),
            (PAIR_RATE, 2, 2000, 6000),
            (PAIR_RATE, 2, 2001, 4000),
        ] {
            let wait = schedule.wait(tries, draw).unwrap();
            assert_eq!(wait.as_millis(), millis, "{tries} {draw}");
        }
    }

    /// Section 4 of the facts about Meta's API, row by row.
    #[test]
    fn every_code_is_acted_on_as_it_is_documented() {
        for (codes, want) in [
            (&[0, 190, 3, 10, 200, 250, 299, 131_005][..], "pause Token"),
            (&[368, 131_031], "stop Account"),
            (&[131_042], "pause Account"),
            (&[131_064], "pause Account"),
            (&[4, 17, 32, 613], "retry App"),
            (&[80_007], "retry Account"),
            (&[130_429, 131_057], "retry Number"),
            (&[131_056], "retry Pair"),
            (
                &[1, 2, 131_000, 131_016, 133_004, 131_053, 132_069, 134_101],
                "retry Message",
            ),
            (
                &[131_048, 33, 131_037, 131_045, 133_015, 133_016],
                "pause Number",
            ),
            (
                &[133_000, 133_005, 133_006, 133_008, 133_009, 133_010],
                "pause Number",
            ),
            (&[131_047], "window"),
            (
                &[
                    100, 131_008, 131_009, 131_021, 131_051, 131_062, 135_000, 137_000,
                ],
                "fail",
            ),
            (
                &[
                    131_026, 131_030, 130_472, 131_049, 131_050, 130_497, 131_063,
                ],
                "fail",
            ),
            (
                &[132_000, 132_001, 132_005, 132_007, 132_008, 132_012],
                "fail",
            ),
            (
                &[
                    132_015, 132_016, 132_068, 134_011, 131_055, 134_100, 134_102,
                ],
                "fail",
            ),
        ] {
            for code in codes {
                let acted = match row(*code).expect("it is in the table").action {
                    Action::Fail => "fail".to_owned(),
                    Action::WindowClosed => "window".to_owned(),
                    Action::Retry { scope, .. } => format!("retry {scope:?}"),
                    Action::Pause { scope, resume } => match resume {
                        Resume::Probe(_) => format!("pause {scope:?}"),
                        Resume::Manual => format!("stop {scope:?}"),
                    },
                };
                assert_eq!(acted, want, "{code}");
            }
        }
    }
}
