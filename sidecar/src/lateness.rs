//! How late this process does what it means to do, and whom it refuses for that.
//!
//! A task that sleeps for a moment wakes up late by as much as everything else waits for a
//! processor. That is seen before any deadline passes, and costs nothing but the sleep.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::standing::{Standing, is_refused};

/// The share of the requests that is refused, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Lateness {
    of_a_thousand: AtomicU32,
    number: AtomicU32,
}

// === impl Lateness ===

impl Lateness {
    /// Watches the runtime that this is called in, for as long as somebody asks.
    pub(crate) fn watched(bearable: Duration) -> Arc<Self> {
        let lateness = Arc::new(Self::default());
        tokio::spawn(watch(Arc::downgrade(&lateness), bearable));
        lateness
    }

    /// Whether the next request is to be refused.
    pub(crate) fn refuses(&self) -> bool {
        match self.of_a_thousand.load(Ordering::Relaxed) {
            0 => false,
            share => is_refused(self.number.fetch_add(1, Ordering::Relaxed), share),
        }
    }

    /// The share of the requests that is refused.
    pub(crate) fn share(&self) -> f64 {
        f64::from(self.of_a_thousand.load(Ordering::Relaxed)) / 1000.0
    }
}

async fn watch(lateness: Weak<Lateness>, bearable: Duration) {
    let began = Instant::now();
    let mut standing = Standing::new(bearable);
    loop {
        let due = Instant::now() + BEAT;
        tokio::time::sleep_until(due).await;
        let Some(lateness) = lateness.upgrade() else {
            return;
        };
        let refused = standing.saw(due.elapsed(), began.elapsed());
        let before = lateness.of_a_thousand.swap(refused, Ordering::Relaxed);
        if before == 0 && refused > 0 {
            tracing::warn!("this process is late with everything: requests are refused");
        }
    }
}

/// Ten of them in an interval, and few wake-ups of an idle process.
const BEAT: Duration = Duration::from_millis(50);
