//! A common budget of bytes for everything that is buffered at one time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may be held at one time; clones share it.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

/// Bytes taken from a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    of: Budget,
    bytes: usize,
}

// === impl Budget ===

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            limit: bytes,
            taken: Arc::default(),
        }
    }

    /// The same budget under another limit: what is held already counts towards it.
    pub(crate) fn limited(&self, bytes: usize) -> Self {
        Self {
            limit: bytes,
            taken: Arc::clone(&self.taken),
        }
    }

    /// How many bytes may be held.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes are held.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Nothing yet, to grow as data arrives.
    pub(crate) fn reserve_nothing(&self) -> Reservation {
        Reservation {
            of: self.clone(),
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
        let take = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.of.limit);
        let grown = self
            .of
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
        self.of.taken.fetch_sub(self.bytes, Ordering::AcqRel);
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

    #[test]
    fn another_limit_counts_what_is_held_already() {
        let budget = Budget::new(10);
        let mut first = budget.reserve_nothing();
        assert!(first.grow(6));
        let raised = budget.limited(12);
        let mut second = raised.reserve_nothing();
        assert!(second.grow(6) && !first.grow(1));
        drop((first, second));
        assert_eq!((budget.taken(), raised.limit()), (0, 12));
    }
}
