//! A common budget of bytes for everything that is buffered at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may be held at one time; clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Shared>,
}

/// Bytes taken from a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    shared: Arc<Shared>,
    bytes: usize,
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    taken: AtomicUsize,
}

// === impl Budget ===

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                limit: bytes,
                taken: AtomicUsize::new(0),
            }),
        }
    }

    /// How many bytes are held.
    pub fn taken(&self) -> usize {
        self.shared.taken.load(Ordering::Acquire)
    }

    /// Nothing yet, to grow as data arrives.
    pub(crate) fn reserve_nothing(&self) -> Reservation {
        Reservation {
            shared: Arc::clone(&self.shared),
            bytes: 0,
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BYTES)
    }
}

// === impl Reservation ===

impl Reservation {
    /// Takes more; false where the budget has not that much left.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let take = |taken: usize| {
            taken
                .checked_add(bytes)
                .filter(|sum| *sum <= self.shared.limit)
        };
        let grown = self
            .shared
            .taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take)
            .is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Sixty-four bodies of the largest size: what a pod of 256 MiB can spare.
const BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_never_exceeds_the_budget_and_is_given_back() {
        let budget = Budget::new(10);
        let mut first = budget.reserve_nothing();
        let mut second = budget.reserve_nothing();
        assert!(first.grow(6) && second.grow(4) && !first.grow(1));
        assert_eq!(budget.taken(), 10);
        drop(first);
        assert!(second.grow(6) && !second.grow(usize::MAX));
        drop(second);
        assert_eq!(budget.taken(), 0);
    }
}
