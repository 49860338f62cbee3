//! A clock that stands still until it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, SharedClock, Timestamp};

/// A clock that a test moves by hand; clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    times: Arc<Times>,
}

#[derive(Debug)]
struct Times {
    wall: AtomicU64,
    elapsed: AtomicU64,
}

// === impl ManualClock ===

impl ManualClock {
    /// Stands at this moment.
    pub fn at(now: Timestamp) -> Self {
        let times = Times {
            wall: AtomicU64::new(now.as_unix_millis()),
            elapsed: AtomicU64::new(0),
        };
        Self {
            times: Arc::new(times),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.times.elapsed.fetch_add(millis(by), Ordering::AcqRel);
        self.jump_ahead(by);
    }

    /// Sets the wall clock forward, without time passing.
    pub fn jump_ahead(&self, by: Duration) {
        self.times.wall.fetch_add(millis(by), Ordering::AcqRel);
    }

    /// Sets the wall clock back.
    pub fn jump_back(&self, by: Duration) {
        self.times.wall.fetch_sub(millis(by), Ordering::AcqRel);
    }

    /// The same clock, to be given away.
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.times.wall.load(Ordering::Acquire))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.times.elapsed.load(Ordering::Acquire))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
