//! Failed authentications by address: how many there were, and how long to wait after too many.
//!
//! Each failure is paid off in its share of a minute, so that an address may fail so many
//! times at once and then as often as it pays off. While it is told to wait nothing is added:
//! whoever corrects the key gets in within one share.
//!
//! What is remembered is bounded. Where there is no room for another address the one goes
//! that owes least; an address that is forgotten begins anew, and one that never failed is
//! never remembered.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What addresses owe.
#[derive(Debug)]
pub(crate) struct Failures {
    share: Duration,
    shelves: Arc<[Mutex<Vec<Debt>>]>,
    seed: RandomState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Debt {
    who: IpAddr,
    /// The moment at which everything is paid off.
    paid: Duration,
}

// === impl Failures ===

impl Failures {
    /// So many a minute are let through.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self {
            share: MINUTE / per_minute.max(1),
            shelves: (0..SHELVES).map(|_| Mutex::default()).collect(),
            seed: RandomState::new(),
        }
    }

    /// The same, with what is owed there, where so many a minute are let through.
    pub(crate) fn at(&self, per_minute: u32) -> Self {
        Self {
            share: MINUTE / per_minute.max(1),
            shelves: Arc::clone(&self.shelves),
            seed: self.seed.clone(),
        }
    }

    /// How long this address is to wait before it may try again; none where it may try now.
    pub(crate) fn wait(&self, who: IpAddr, now: Duration) -> Option<Duration> {
        self.with(who, |shelf| {
            let debt = shelf.iter().find(|debt| debt.who == who)?;
            let owed = debt.paid.saturating_sub(now);
            let most = MINUTE.saturating_sub(self.share);
            (owed > most).then(|| owed - most)
        })
    }

    /// One more failure of this address.
    pub(crate) fn note(&self, who: IpAddr, now: Duration) {
        let paid = |before: Duration| (before.max(now) + self.share).min(now + MINUTE);
        self.with(who, |shelf| {
            if let Some(debt) = shelf.iter_mut().find(|debt| debt.who == who) {
                debt.paid = paid(debt.paid);
                return;
            }
            shelf.retain(|debt| debt.paid > now);
            if shelf.len() >= ON_A_SHELF
                && let Some(least) = (0..shelf.len()).min_by_key(|at| shelf[*at].paid)
            {
                shelf.swap_remove(least);
            }
            shelf.push(Debt {
                who,
                paid: paid(now),
            });
        });
    }

    fn with<T>(&self, who: IpAddr, step: impl FnOnce(&mut Vec<Debt>) -> T) -> T {
        let at = self.seed.hash_one(who) as usize % self.shelves.len();
        let mut shelf = self.shelves[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        step(&mut shelf)
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// 8192 addresses of 40 bytes: a third of a megabyte, if ever so many fail at once.
const SHELVES: usize = 1024;
const ON_A_SHELF: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_failures_a_minute_are_let_through_and_then_one_a_share() {
        let failures = Failures::new(3);
        let (who, other) = (address(1), address(2));
        for (at, fails, wait) in [
            (0, true, None),
            (0, true, None),
            (0, true, Some(20)),
            // An attempt that was not let through adds nothing.
            (0, false, Some(20)),
            (19, false, Some(1)),
            (20, true, Some(20)),
            (20, false, Some(20)),
            (40, false, None),
            // After a minute without a failure all is forgotten.
            (100, true, None),
            (100, true, None),
            (100, true, Some(20)),
        ] {
            let now = Duration::from_secs(1000 + at);
            if fails {
                assert_eq!(failures.wait(who, now), None, "before, at {at}");
                failures.note(who, now);
            }
            let want = wait.map(Duration::from_secs);
            assert_eq!(failures.wait(who, now), want, "at {at}");
            assert_eq!(failures.wait(other, now), None, "somebody else, at {at}");
        }
    }

    #[test]
    fn failures_at_once_owe_a_minute_and_no_more() {
        let failures = Failures::new(60);
        let now = Duration::from_secs(5);
        for _ in 0..10_000 {
            failures.note(address(1), now);
        }
        assert_eq!(failures.wait(address(1), now), Some(Duration::from_secs(1)));
    }

    #[test]
    fn memory_is_bounded_and_whoever_owes_most_stays() {
        let failures = Failures::new(2);
        let now = Duration::from_secs(5);
        for _ in 0..2 {
            failures.note(address(0), now);
        }
        for host in 1..100_000 {
            failures.note(address(host), now);
        }
        let held: usize = failures
            .shelves
            .iter()
            .map(|shelf| shelf.lock().unwrap().len())
            .sum();
        assert!(held <= SHELVES * ON_A_SHELF, "{held}");
        assert!(failures.wait(address(0), now).is_some());
    }

    fn address(host: u32) -> IpAddr {
        IpAddr::V4((0xCB00_0000 + host).into())
    }
}
