//! What is due later: a bounded queue in the order of virtual time.

use std::collections::BTreeMap;

use vestibule::clock::Timestamp;

/// Work and the moment it is due; what is due at one moment leaves in the order it came.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    due: BTreeMap<(Timestamp, u64), T>,
    pushed: u64,
    dropped: u64,
}

// === impl Outbox ===

impl<T> Outbox<T> {
    /// Puts work in; a full queue drops it and counts it.
    pub(crate) fn push(&mut self, due: Timestamp, work: T) {
        if self.due.len() >= MAX_WAITING {
            self.dropped += 1;
            return;
        }
        self.pushed += 1;
        self.due.insert((due, self.pushed), work);
    }

    /// Takes the first piece of work that is due.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<T> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Counts work that found no room elsewhere.
    pub(crate) const fn note_dropped(&mut self) {
        self.dropped += 1;
    }

    /// Makes what the predicate wants due now; returns how much that is.
    pub(crate) fn hasten(&mut self, now: Timestamp, is_wanted: impl Fn(&T) -> bool) -> usize {
        let (hastened, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.due)
            .into_iter()
            .partition(|(_, work)| is_wanted(work));
        self.due = rest.into_iter().collect();
        let count = hastened.len();
        for ((due, _), work) in hastened {
            self.push(due.min(now), work);
        }
        count
    }

    /// When the first piece of work is due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(due, _)| *due)
    }

    /// How many pieces are due and not yet taken.
    pub(crate) fn due(&self, now: Timestamp) -> usize {
        self.due.keys().take_while(|(due, _)| *due <= now).count()
    }

    /// How many pieces wait.
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    /// How many were dropped because the queue was full.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self {
            due: BTreeMap::new(),
            pushed: 0,
            dropped: 0,
        }
    }
}

/// Some 100 MB of webhooks that nobody takes.
pub(crate) const MAX_WAITING: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_leaves_when_it_is_due_and_in_order() {
        let mut outbox = Outbox::default();
        for (due, work) in [(20, "late"), (10, "first"), (10, "second")] {
            outbox.push(Timestamp::from_unix_millis(due), work);
        }
        let mut pop = |now| outbox.pop(Timestamp::from_unix_millis(now));
        for (now, want) in [
            (9, None),
            (10, Some("first")),
            (10, Some("second")),
            (19, None),
            (25, Some("late")),
            (25, None),
        ] {
            assert_eq!(pop(now), want, "at {now}");
        }
    }

    #[test]
    fn what_is_hastened_is_due_now_and_keeps_its_order() {
        let mut outbox = Outbox::default();
        for (due, work) in [(10, 1), (30, 3), (20, 2), (40, 4)] {
            outbox.push(Timestamp::from_unix_millis(due), work);
        }
        let now = Timestamp::from_unix_millis(5);
        assert_eq!(outbox.hasten(now, |work| *work != 4), 3);
        let left: Vec<_> = std::iter::from_fn(|| outbox.pop(now)).collect();
        assert_eq!(left, [1, 2, 3]);
        assert_eq!(outbox.len(), 1);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let mut outbox = Outbox::default();
        for number in 0..=MAX_WAITING {
            outbox.push(Timestamp::EPOCH, number);
        }
        assert_eq!((outbox.len(), outbox.dropped()), (MAX_WAITING, 1));
    }
}
