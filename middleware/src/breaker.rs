//! A circuit breaker: after some failures in a row a store is left alone, and one probe at a time asks again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Whether a store is worth asking.
///
/// One breaker is shared by all the layers that use a store, so that the first layer to
/// meet its loss spares the others the wait.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures_allowed: u32,
    probe_after: Duration,
    state: Mutex<State>,
}

/// What a breaker knows; times are those of [`Clock::elapsed`](crate::clock::Clock::elapsed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { probe_at: Duration },
}

// === impl Breaker ===

impl Breaker {
    /// Opens after so many failures in a row, and then lets one call through each `probe_after`.
    pub(crate) const fn new(failures_allowed: u32, probe_after: Duration) -> Self {
        Self {
            failures_allowed,
            probe_after,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// Whether to ask the store now. A probe that is let through postpones the next one,
    /// so a probe that never ends does not keep the breaker open.
    pub(crate) fn admits(&self, now: Duration) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Closed { .. } => true,
            State::Open { probe_at } if now < probe_at => false,
            State::Open { .. } => {
                *state = State::Open {
                    probe_at: now + self.probe_after,
                };
                true
            }
        }
    }

    /// Learns how a call went.
    pub(crate) fn learn(&self, succeeded: bool, now: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match *state {
            _ if succeeded => State::Closed { failures: 0 },
            State::Closed { failures } if failures + 1 < self.failures_allowed => State::Closed {
                failures: failures + 1,
            },
            State::Closed { .. } => State::Open {
                probe_at: now + self.probe_after,
            },
            open @ State::Open { .. } => open,
        };
    }

    /// Whether the store is being left alone.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*state, State::Open { .. })
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new(FAILURES_ALLOWED, PROBE_AFTER)
    }
}

/// Enough that one slow answer does not open it, few enough that a lost store costs
/// little waiting.
const FAILURES_ALLOWED: u32 = 5;

/// A store that has come back is noticed within half a second.
const PROBE_AFTER: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_and_closes_after_a_probe_that_succeeds() {
        let breaker = Breaker::new(2, Duration::from_secs(1));
        let at = Duration::from_secs;
        breaker.learn(false, at(0));
        breaker.learn(true, at(0));
        breaker.learn(false, at(0));
        assert!(breaker.admits(at(0)), "the failures were not in a row");
        breaker.learn(false, at(0));
        assert!(breaker.is_open() && !breaker.admits(at(0)));
        assert!(breaker.admits(at(1)), "one probe");
        assert!(!breaker.admits(at(1)), "and only one");
        breaker.learn(false, at(1));
        assert!(!breaker.admits(at(1)) && breaker.admits(at(2)));
        breaker.learn(true, at(2));
        assert!(!breaker.is_open() && breaker.admits(at(2)));
    }
}
