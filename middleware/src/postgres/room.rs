//! How many more records there may be: known for a while, so that not each claim counts.
//!
//! What was counted last allows an eighth of what was free then, and is counted again
//! after that. So a count, which costs the more the more there is, comes seldom while
//! there is room; and of several processes each may go past a bound by an eighth of what
//! was free when it counted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::principal::Caller;

/// The bounds of a store, and what is known of the room below them.
#[derive(Debug)]
pub(super) struct Room {
    bounds: Bounds,
    known: Mutex<Known>,
}

/// How many records there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Of one caller.
    pub(super) share: u64,
    /// In all, where that is not left to the disk.
    pub(super) whole: Option<u64>,
}

/// How a claim goes about the room that a new record needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// There is some: it is taken with this.
    Granted,
    /// The store has to count.
    Count,
    /// It was full a moment ago, and nothing is written before this moment.
    Full {
        /// Of the store's clock.
        until: Timestamp,
    },
}

#[derive(Debug, Default)]
struct Known {
    whole: Left,
    callers: HashMap<Caller, Left>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Left {
    #[default]
    Unknown,
    Some(u64),
    None {
        until: Timestamp,
    },
}

// === impl Room ===

impl Room {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            known: Mutex::default(),
        }
    }

    pub(super) const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Takes room for one record of this caller, as far as it is known.
    pub(super) fn take(&self, caller: &Caller) -> Pass {
        let mut known = self.known();
        let own = known.callers.get(caller).copied().unwrap_or_default();
        let whole = match self.bounds.whole {
            Some(_) => known.whole,
            None => Left::Some(u64::MAX),
        };
        match (own, whole) {
            (Left::None { until }, _) | (_, Left::None { until }) => Pass::Full { until },
            (Left::Some(own @ 1..), Left::Some(whole @ 1..)) => {
                known.callers.insert(caller.clone(), Left::Some(own - 1));
                known.whole = Left::Some(whole - 1);
                Pass::Granted
            }
            _ => Pass::Count,
        }
    }

    /// A record of this caller has gone, or one for which room was taken was not made.
    pub(super) fn give_back(&self, caller: &Caller) {
        let mut known = self.known();
        known.whole = known.whole.one_more();
        if let Some(left) = known.callers.get_mut(caller) {
            *left = left.one_more();
        }
    }

    /// Learns what was counted; says whether there is room.
    pub(super) fn learn(&self, caller: &Caller, own: u64, all: u64) -> bool {
        let free = self.bounds.share.saturating_sub(own);
        let free_in_all = self
            .bounds
            .whole
            .map_or(u64::MAX, |most| most.saturating_sub(all));
        let mut known = self.known();
        if known.callers.len() >= CALLERS {
            known.callers.clear();
        }
        known
            .callers
            .insert(caller.clone(), Left::after_counting(free));
        known.whole = Left::after_counting(free_in_all);
        free > 0 && free_in_all > 0
    }

    /// Learns that there is no room, and that asking again soon is of no use.
    pub(super) fn learn_full(&self, caller: &Caller, own: u64, now: Timestamp) {
        let until = now + COUNTED_AGAIN;
        let mut known = self.known();
        // Where the caller has room, the whole store has none.
        if own >= self.bounds.share {
            known.callers.insert(caller.clone(), Left::None { until });
        } else {
            known.whole = Left::None { until };
        }
    }

    /// Knows nothing any more.
    pub(super) fn forget(&self, caller: &Caller) {
        let mut known = self.known();
        known.callers.remove(caller);
        known.whole = Left::Unknown;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pass ===

impl Pass {
    /// Whether what was full a moment ago has to be counted again: time has passed, or the
    /// clock was set back.
    pub(super) fn is_over(self, now: Timestamp) -> bool {
        match self {
            Self::Full { until } => until.since(now).is_zero() || until.since(now) > COUNTED_AGAIN,
            Self::Granted | Self::Count => false,
        }
    }
}

// === impl Left ===

impl Left {
    fn after_counting(free: u64) -> Self {
        Self::Some(free.div_ceil(PART))
    }

    fn one_more(self) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Some(left) => Self::Some(left.saturating_add(1)),
            Self::None { .. } => Self::Some(1),
        }
    }
}

/// Of what is free, what may be taken before it is counted again.
const PART: u64 = 8;

/// How long a full store is left alone.
const COUNTED_AGAIN: Duration = Duration::from_secs(1);

/// Of so many it is known what they have left; a megabyte or two.
const CALLERS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_allows_an_eighth_of_what_was_free() {
        for (share, whole, own, all, want) in [
            (100, None, 0, 0, 13),
            (100, None, 20, 0, 10),
            (100, Some(1000), 20, 992, 1),
            (100, Some(1000), 99, 0, 1),
            (100, Some(1000), 100, 0, 0),
            (100, Some(1000), 0, 1000, 0),
        ] {
            let room = Room::new(Bounds { share, whole });
            assert_eq!(room.take(&caller()), Pass::Count, "nothing is known yet");
            let has_room = room.learn(&caller(), own, all);
            let granted = (0..1000).take_while(|_| room.take(&caller()) == Pass::Granted);
            let granted = granted.count();
            assert_eq!(granted, want, "{share} {whole:?} {own} {all}");
            assert_eq!(has_room, want > 0, "{share} {whole:?} {own} {all}");
            assert_eq!(room.take(&caller()), Pass::Count, "it is used up");
        }
    }

    #[test]
    fn room_that_was_not_used_or_has_been_made_is_there_again() {
        let room = Room::new(Bounds {
            share: 8,
            whole: Some(8),
        });
        room.learn(&caller(), 0, 0);
        assert_eq!(room.take(&caller()), Pass::Granted);
        room.give_back(&caller());
        assert_eq!(room.take(&caller()), Pass::Granted);
        room.learn_full(&caller(), 8, at(5));
        assert!(matches!(room.take(&caller()), Pass::Full { .. }));
        room.learn(&caller(), 7, 7);
        assert_eq!(room.take(&caller()), Pass::Granted);
    }

    #[test]
    fn a_full_store_is_counted_again_after_a_second_or_a_jump_of_its_clock() {
        let room = Room::new(Bounds {
            share: 8,
            whole: Some(8),
        });
        room.learn_full(&caller(), 0, at(5));
        let full = room.take(&Caller::new("live", "another"));
        assert_eq!(full, Pass::Full { until: at(6) }, "it is the whole store");
        for (seconds, want) in [(5, false), (6, true), (7, true), (4, true)] {
            assert_eq!(full.is_over(at(seconds)), want, "{seconds}");
        }
        room.forget(&caller());
        assert_eq!(room.take(&caller()), Pass::Count);
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn caller() -> Caller {
        Caller::new("live", "family")
    }
}
