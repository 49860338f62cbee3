//! A clock that goes with tokio's timer.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::{Clock, SharedClock, Timestamp};

/// A clock for tests that pause tokio's time: it stands still and moves on together
/// with every deadline, so that a lease lapses just when its renewal was due.
#[derive(Clone, Copy, Debug)]
pub struct TimerClock {
    start: Timestamp,
    started: Instant,
}

// === impl TimerClock ===

impl TimerClock {
    /// Shows this moment now.
    pub fn at(start: Timestamp) -> Self {
        let started = Instant::now();
        Self { start, started }
    }

    /// The same clock, to be given away.
    pub fn shared(&self) -> SharedClock {
        Arc::new(*self)
    }
}

impl Clock for TimerClock {
    fn now(&self) -> Timestamp {
        self.start + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
