//! A bounded map of counters: plain data, with the time passed in.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::quota::{Counter, Quota, Verdict};
use crate::clock::Timestamp;
use crate::principal::Caller;

/// The counters of at most so many callers.
#[derive(Debug)]
pub(crate) struct CounterTable {
    counters: HashMap<Caller, Counted, RandomState>,
    /// Every caller once, with a moment at which its counter is worth looking at.
    queue: VecDeque<(Timestamp, Caller)>,
    capacity: usize,
}

/// A counter, and how long it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) counter: Counter,
    /// From then on the counter says no more than none would.
    pub(crate) ends: Timestamp,
    /// How far ahead its end can be; one that is further was set under another clock.
    pub(crate) span: Duration,
}

// === impl CounterTable ===

impl CounterTable {
    /// Room for the counters of so many callers.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            counters: HashMap::default(),
            queue: VecDeque::new(),
            capacity,
        }
    }

    /// Charges one request; nothing where there is no room for another caller.
    ///
    /// A counter that still counts is never given up for another: that would let its
    /// caller start anew.
    pub(crate) fn hit(
        &mut self,
        caller: &Caller,
        quota: &Quota,
        now: Timestamp,
    ) -> Option<Verdict> {
        let judged = |held| {
            let (counter, verdict) = quota.judge(held, now);
            let (ends, span) = (verdict.reset, quota.span());
            let counted = Counted {
                counter,
                ends,
                span,
            };
            (counted, verdict)
        };
        // Nearly every caller has a counter already, and then it is looked up once.
        if let Some(held) = self.counters.get_mut(caller) {
            let (counted, verdict) = judged(Some(held.counter));
            *held = counted;
            return Some(verdict);
        }
        let (counted, verdict) = judged(None);
        self.enter(caller, counted, now).then_some(verdict)
    }

    /// What a charge would be answered; nothing where there would be no room for the caller.
    pub(crate) fn peek(&self, caller: &Caller, quota: &Quota, now: Timestamp) -> Option<Verdict> {
        let held = self.counters.get(caller).map(|held| held.counter);
        let has_room = || {
            let first = self
                .queue
                .front()
                .and_then(|(_, first)| self.counters.get(first));
            self.counters.len() < self.capacity || first.is_some_and(|first| first.is_over(now))
        };
        (held.is_some() || has_room()).then(|| quota.judge(held, now).1)
    }

    /// Notes what another store said of a caller. Without room the caller starts anew
    /// should that store be lost: a little too much then passes, and memory stays bounded.
    pub(crate) fn note(
        &mut self,
        caller: &Caller,
        quota: &Quota,
        verdict: &Verdict,
        now: Timestamp,
    ) {
        let noted = Counted {
            counter: verdict.counter(quota, now),
            ends: verdict.reset.min(now + quota.span()),
            span: quota.span(),
        };
        self.write(caller, noted, now);
    }

    /// Those that still count.
    #[cfg(feature = "embedded")]
    pub(crate) fn counting(&self, now: Timestamp) -> impl Iterator<Item = (&Caller, &Counted)> {
        let counters = self.counters.iter();
        counters.filter(move |(_, counted)| !counted.is_over(now))
    }

    /// Goes on from what was counted before; without room the caller starts anew.
    #[cfg(feature = "embedded")]
    pub(crate) fn restore(&mut self, caller: &Caller, counted: Counted, now: Timestamp) {
        if !counted.is_over(now) {
            self.write(caller, counted, now);
        }
    }

    fn write(&mut self, caller: &Caller, counted: Counted, now: Timestamp) -> bool {
        if let Some(held) = self.counters.get_mut(caller) {
            *held = counted;
            return true;
        }
        self.enter(caller, counted, now)
    }

    /// Takes in a caller who has no counter; false where there is no room.
    fn enter(&mut self, caller: &Caller, counted: Counted, now: Timestamp) -> bool {
        self.sweep(now);
        if self.counters.len() >= self.capacity {
            return false;
        }
        self.counters.insert(caller.clone(), counted);
        self.queue.push_back((counted.ends, caller.clone()));
        true
    }

    /// Looks at a bounded number of counters and forgets those that have ended.
    fn sweep(&mut self, now: Timestamp) {
        for _ in 0..SWEPT_AT_ONCE {
            let Some((due, caller)) = self.queue.pop_front() else {
                return;
            };
            let Some(held) = self.counters.get(&caller) else {
                continue;
            };
            if held.is_over(now) {
                self.counters.remove(&caller);
            } else if due <= now {
                self.queue.push_back((held.ends, caller));
            } else {
                self.queue.push_front((due, caller));
                return;
            }
        }
    }
}

// === impl Counted ===

impl Counted {
    fn is_over(&self, now: Timestamp) -> bool {
        self.ends <= now || self.ends.since(now) > self.span + Timestamp::SKEW
    }
}

/// A new caller makes room for itself and for one more, so the table shrinks after a peak.
const SWEPT_AT_ONCE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota::per_minute(1);

    #[test]
    fn a_full_table_takes_no_new_caller_until_a_window_has_ended() {
        let mut table = CounterTable::new(2);
        let [a, b, c] = ["a", "b", "c"].map(|name| Caller::new("live", name));
        let start = Timestamp::from_unix_seconds(1_000);
        for (second, caller, want) in [
            (0, &a, Some(true)),
            (1, &b, Some(true)),
            (2, &c, None),
            (3, &a, Some(false)),
            (60, &c, Some(true)),
            (60, &a, None),
            (61, &a, Some(true)),
        ] {
            let verdict = table.hit(caller, &QUOTA, start + Duration::from_secs(second));
            assert_eq!(
                verdict.map(|verdict| verdict.allowed),
                want,
                "second {second} {caller:?}"
            );
        }
    }

    #[test]
    fn a_window_is_counted_to_its_end_however_long_it_is() {
        let month = Quota::new(1, Duration::from_secs(30 * 24 * 3600));
        let mut table = CounterTable::new(10);
        let now = Timestamp::from_unix_seconds(1_000);
        for name in ["a", "b", "c"] {
            assert!(hit(&mut table, name, &month, now).unwrap().allowed);
        }
        assert!(!hit(&mut table, "a", &month, now).unwrap().allowed);
    }

    #[test]
    fn a_window_from_a_clock_that_was_ahead_takes_no_room() {
        let mut table = CounterTable::new(1);
        let now = Timestamp::from_unix_seconds(10_000);
        hit(&mut table, "a", &QUOTA, now + Duration::from_secs(3600));
        assert!(hit(&mut table, "b", &QUOTA, now).is_some());
    }

    #[test]
    fn goes_on_from_what_another_store_said() {
        let (mut store, mut noted) = (CounterTable::new(1), CounterTable::new(1));
        let (caller, quota) = (Caller::new("live", "a"), Quota::per_minute(2));
        let now = Timestamp::from_unix_seconds(1_000);
        let said = store.hit(&caller, &quota, now).unwrap();
        noted.note(&caller, &quota, &said, now);
        assert_eq!(
            noted.hit(&caller, &quota, now),
            store.hit(&caller, &quota, now)
        );
        assert!(!noted.hit(&caller, &quota, now).unwrap().allowed);
    }
    fn hit(table: &mut CounterTable, name: &str, quota: &Quota, now: Timestamp) -> Option<Verdict> {
        table.hit(&Caller::new("live", name), quota, now)
    }
}
