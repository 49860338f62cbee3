//! How much a number may send, and how much to one user: the buckets, and who ran into them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Value, json};
use vestibule::clock::Timestamp;

/// The buckets of all numbers and of all pairs of a number and a user.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    numbers: BTreeMap<String, Usage>,
    pairs: HashMap<(String, String), Pair>,
}

/// What a number may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// Messages a second, in both directions.
    pub(crate) mps: u32,
    /// How far apart messages to one user are in the long run.
    pub(crate) pair_interval: Duration,
    /// How many may come within one such interval, on credit.
    pub(crate) pair_burst: u32,
}

/// What a number has done.
#[derive(Clone, Debug, Default)]
struct Usage {
    bucket: Bucket,
    sends: u64,
    inbound: u64,
    violations: BTreeMap<u32, u64>,
}

/// One second's worth of messages, refilled as time passes.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Millionths of a message that were taken and have not come back.
    taken: u64,
    at: Timestamp,
}

/// Messages to one user: a burst is granted on credit and must be paid back in full.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    /// When all of it is paid back.
    clear_at: Timestamp,
    burst_start: Timestamp,
    burst: u32,
}

// === impl Quota ===

impl Quota {
    /// What nobody runs into.
    pub(crate) const UNLIMITED: Self = Self {
        mps: u32::MAX,
        pair_interval: Duration::ZERO,
        pair_burst: u32::MAX,
    };

    /// What Meta grants a number of this throughput.
    pub(crate) const fn of(mps: u32) -> Self {
        Self {
            mps,
            pair_interval: Duration::from_secs(6),
            pair_burst: 45,
        }
    }
}

// === impl Limits ===

impl Limits {
    /// The code that a send would be refused with now.
    pub(crate) fn refusal(
        &self,
        pnid: &str,
        user: &str,
        quota: &Quota,
        now: Timestamp,
    ) -> Option<u32> {
        let bucket = self.numbers.get(pnid).map(|usage| usage.bucket);
        if !bucket.unwrap_or_default().has_room(quota.mps, now) {
            return Some(THROUGHPUT);
        }
        let key = (pnid.to_owned(), user.to_owned());
        let pair = self.pairs.get(&key).copied().unwrap_or_default();
        pair.after_send(quota, now).is_none().then_some(PAIR)
    }

    /// Charges a send that was accepted.
    pub(crate) fn charge_send(&mut self, pnid: &str, user: &str, quota: &Quota, now: Timestamp) {
        let usage = self.numbers.entry(pnid.to_owned()).or_default();
        usage.bucket.take(quota.mps, now);
        usage.sends += 1;
        if self.pairs.len() >= MAX_PAIRS {
            self.pairs.retain(|_, pair| now < pair.clear_at);
        }
        let pair = self.pairs.entry((pnid.to_owned(), user.to_owned()));
        let pair = pair.or_default();
        *pair = pair.after_send(quota, now).unwrap_or(*pair);
    }

    /// Charges what a user wrote: it counts to the number's throughput, refused or not.
    pub(crate) fn charge_inbound(&mut self, pnid: &str, quota: &Quota, now: Timestamp) {
        let usage = self.numbers.entry(pnid.to_owned()).or_default();
        usage.bucket.take(quota.mps, now);
        usage.inbound += 1;
    }

    /// Notes that a send was refused for one of the limits.
    pub(crate) fn note_violation(&mut self, pnid: &str, code: u32) {
        let usage = self.numbers.entry(pnid.to_owned()).or_default();
        *usage.violations.entry(code).or_default() += 1;
    }

    /// How often any number was refused with a code.
    pub(crate) fn violations(&self, code: u32) -> u64 {
        let noted = self.numbers.values();
        noted.filter_map(|usage| usage.violations.get(&code)).sum()
    }

    /// What stands in all buckets.
    pub(crate) fn report(&self, quota: impl Fn(&str) -> Quota, now: Timestamp) -> Value {
        let numbers: Vec<Value> = self
            .numbers
            .iter()
            .map(|(pnid, usage)| usage.report(pnid, &quota(pnid), now))
            .collect();
        let mut owing: Vec<_> = self.pairs.iter().collect();
        owing.retain(|(_, pair)| now < pair.clear_at);
        owing.sort_by_key(|(key, pair)| (pair.clear_at, *key));
        let pairs: Vec<Value> = owing
            .into_iter()
            .rev()
            .take(SHOWN_PAIRS)
            .map(|((pnid, user), pair)| {
                json!({
                    "pnid": pnid,
                    "user_id": user,
                    "burst": pair.burst,
                    "clear_at_ms": pair.clear_at.as_unix_millis(),
                })
            })
            .collect();
        json!({
            "numbers": numbers,
            "pairs": pairs,
            "violations": {
                THROUGHPUT.to_string(): self.violations(THROUGHPUT),
                PAIR.to_string(): self.violations(PAIR),
            },
        })
    }
}

// === impl Usage ===

impl Usage {
    fn report(&self, pnid: &str, quota: &Quota, now: Timestamp) -> Value {
        let noted = |code| self.violations.get(&code).copied().unwrap_or_default();
        json!({
            "pnid": pnid,
            "mps": quota.mps,
            "room": self.bucket.room(quota.mps, now) / ONE,
            "sends": self.sends,
            "inbound": self.inbound,
            "violations": {
                THROUGHPUT.to_string(): noted(THROUGHPUT),
                PAIR.to_string(): noted(PAIR),
            },
        })
    }
}

// === impl Bucket ===

impl Bucket {
    fn has_room(self, mps: u32, now: Timestamp) -> bool {
        self.room(mps, now) >= ONE
    }

    fn room(self, mps: u32, now: Timestamp) -> u64 {
        (u64::from(mps) * ONE).saturating_sub(self.owed(mps, now))
    }

    /// More than a second's worth is never owed: a flood of inbound blocks for that long.
    fn take(&mut self, mps: u32, now: Timestamp) {
        let owed = self.owed(mps, now) + ONE;
        self.taken = owed.min(u64::from(mps) * ONE);
        self.at = self.at.max(now);
    }

    fn owed(self, mps: u32, now: Timestamp) -> u64 {
        let millis = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let back = millis.saturating_mul(u64::from(mps) * (ONE / 1000));
        self.taken.saturating_sub(back)
    }
}

// === impl Pair ===

impl Pair {
    /// The pair after one more message, or nothing where it is one too many.
    ///
    /// A plain bucket would let more through as soon as a little of a burst is paid back;
    /// Meta wants all of it first: after 20 at once, two minutes.
    fn after_send(self, quota: &Quota, now: Timestamp) -> Option<Self> {
        if now >= self.clear_at {
            return Some(Self {
                clear_at: now + quota.pair_interval,
                burst_start: now,
                burst: 1,
            });
        }
        let is_in_burst = now < self.burst_start + quota.pair_interval;
        (is_in_burst && self.burst < quota.pair_burst).then(|| Self {
            clear_at: self.clear_at + quota.pair_interval,
            burst: self.burst + 1,
            ..self
        })
    }
}

/// The number's throughput is used up.
pub(crate) const THROUGHPUT: u32 = 130_429;

/// Too much to one user.
pub(crate) const PAIR: u32 = 131_056;

/// A message, in the unit of the buckets.
const ONE: u64 = 1_000_000;

/// When so many pairs are known, those that owe nothing are forgotten.
const MAX_PAIRS: usize = 100_000;

/// A report shows those that owe longest.
const SHOWN_PAIRS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_sends_a_second_worth_and_then_at_its_rate() {
        for (mps, at_once, after_100_ms) in [(20, 20, 2), (80, 80, 8), (1000, 1000, 100)] {
            let quota = Quota::of(mps);
            let mut limits = Limits::default();
            let mut accepted = |from: usize, now| {
                let users = from..from + 2000;
                users
                    .filter(|user| send(&mut limits, &user.to_string(), &quota, now).is_none())
                    .count()
            };
            assert_eq!(accepted(0, at(0)), at_once, "{mps}");
            assert_eq!(accepted(2000, at(100)), after_100_ms, "{mps}");
            assert_eq!(accepted(4000, at(60_000)), at_once, "{mps}");
        }
    }

    #[test]
    fn what_users_write_is_charged_and_never_for_longer_than_a_second() {
        let quota = Quota::of(20);
        for (inbound, wait_ms, refused) in [
            (19, 0, false),
            (20, 0, true),
            (20, 49, true),
            (20, 50, false),
            (500, 49, true),
            (500, 50, false),
        ] {
            let mut limits = Limits::default();
            for _ in 0..inbound {
                limits.charge_inbound("n", &quota, at(0));
            }
            let refusal = limits.refusal("n", "u", &quota, at(wait_ms));
            assert_eq!(refusal.is_some(), refused, "{inbound} after {wait_ms}");
        }
    }

    #[test]
    fn a_burst_to_one_user_is_paid_back_in_full() {
        let quota = Quota::of(1000);
        for (burst, then_ms, refusal) in [
            (1, 5_999, None),
            (1, 6_000, None),
            (2, 5_999, None),
            (2, 6_000, Some(PAIR)),
            (2, 11_999, Some(PAIR)),
            (2, 12_000, None),
            (20, 119_999, Some(PAIR)),
            (20, 120_000, None),
            (44, 5_999, None),
            (45, 5_999, Some(PAIR)),
            (45, 269_999, Some(PAIR)),
            (45, 270_000, None),
        ] {
            let mut limits = Limits::default();
            for _ in 0..burst {
                assert_eq!(send(&mut limits, "u", &quota, at(0)), None, "{burst}");
            }
            assert_eq!(
                limits.refusal("n", "u", &quota, at(then_ms)),
                refusal,
                "{burst} then {then_ms}"
            );
            assert_eq!(limits.refusal("n", "v", &quota, at(then_ms)), None);
            assert_eq!(limits.refusal("m", "u", &quota, at(then_ms)), None);
        }
    }

    #[test]
    fn the_throughput_answers_before_the_pair() {
        let quota = Quota {
            pair_burst: 1,
            ..Quota::of(1)
        };
        let mut limits = Limits::default();
        assert_eq!(send(&mut limits, "u", &quota, at(0)), None);
        assert_eq!(limits.refusal("n", "u", &quota, at(999)), Some(THROUGHPUT));
        assert_eq!(limits.refusal("n", "u", &quota, at(1000)), Some(PAIR));
    }

    #[test]
    fn a_report_shows_room_debt_and_violations() {
        let quota = Quota::of(20);
        let mut limits = Limits::default();
        for _ in 0..3 {
            send(&mut limits, "u", &quota, at(0));
        }
        limits.charge_inbound("n", &quota, at(0));
        limits.note_violation("n", PAIR);
        let report = limits.report(|_| quota, at(1));
        let number = &report["numbers"][0];
        assert_eq!(number["mps"], 20);
        assert_eq!(number["room"], 16);
        assert_eq!(
            (&number["sends"], &number["inbound"]),
            (&json!(3), &json!(1))
        );
        assert_eq!(report["violations"], json!({"130429": 0, "131056": 1}));
        assert_eq!(number["violations"], report["violations"]);
        let pair = json!({"pnid": "n", "user_id": "u", "burst": 3, "clear_at_ms": at(18_000).as_unix_millis()});
        assert_eq!(report["pairs"], json!([pair]));
        let later = limits.report(|_| quota, at(18_000));
        assert_eq!(later["pairs"], json!([]));
    }

    fn send(limits: &mut Limits, user: &str, quota: &Quota, now: Timestamp) -> Option<u32> {
        let refusal = limits.refusal("n", user, quota, now);
        if refusal.is_none() {
            limits.charge_send("n", user, quota, now);
        }
        refusal
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_millis(1_800_000_000_000 + millis)
    }
}
