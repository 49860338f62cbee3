//! Virtual time: it runs with the machine's clock until a test moves it or changes its pace.

use std::time::Duration;

use tokio::sync::watch;
use vestibule::clock::{SharedClock, Timestamp};

/// A clock that can be advanced and paced while others wait on it.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    base: SharedClock,
    anchor: watch::Sender<Anchor>,
}

/// From here on virtual time is counted.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    virtual_now: Timestamp,
    elapsed: Duration,
    rate: f64,
}

// === impl VirtualClock ===

impl VirtualClock {
    /// Starts at the wall time of `base`, at its pace.
    pub(crate) fn new(base: SharedClock) -> Self {
        let anchor = Anchor {
            virtual_now: base.now(),
            elapsed: base.elapsed(),
            rate: 1.0,
        };
        Self {
            base,
            anchor: watch::Sender::new(anchor),
        }
    }

    /// The virtual time.
    pub(crate) fn now(&self) -> Timestamp {
        self.anchor.borrow().at(self.base.elapsed())
    }

    /// How many virtual seconds pass in a real one.
    pub(crate) fn rate(&self) -> f64 {
        self.anchor.borrow().rate
    }

    /// Moves the time forward; whoever waits for a moment before the new one goes on.
    pub(crate) fn advance(&self, by: Duration) {
        self.move_anchor(|anchor| anchor.virtual_now = anchor.virtual_now + by);
    }

    /// Sets how many virtual seconds pass in a real one; zero freezes the time.
    pub(crate) fn pace(&self, rate: f64) {
        self.move_anchor(|anchor| anchor.rate = rate.max(0.0));
    }

    /// Waits for a moment of virtual time, wherever the clock is moved meanwhile.
    pub(crate) async fn sleep_until(&self, moment: Timestamp) {
        let mut moved = self.anchor.subscribe();
        loop {
            let rate = moved.borrow_and_update().rate;
            let left = moment.since(self.now());
            if left.is_zero() {
                return;
            }
            // The clock owns the sender, so that `changed` cannot fail while it is borrowed.
            tokio::select! {
                () = real_sleep(left, rate) => {}
                _ = moved.changed() => {}
            }
        }
    }

    /// Waits for some virtual time.
    pub(crate) async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    fn move_anchor(&self, change: impl FnOnce(&mut Anchor)) {
        let elapsed = self.base.elapsed();
        self.anchor.send_modify(|anchor| {
            anchor.virtual_now = anchor.at(elapsed);
            anchor.elapsed = elapsed;
            change(anchor);
        });
    }
}

// === impl Anchor ===

impl Anchor {
    fn at(&self, elapsed: Duration) -> Timestamp {
        let real = elapsed.saturating_sub(self.elapsed);
        let virtual_seconds = real.as_secs_f64() * self.rate;
        self.virtual_now + Duration::try_from_secs_f64(virtual_seconds).unwrap_or(Duration::MAX)
    }
}

/// Waits as long as that much virtual time takes; for ever where the time is frozen.
async fn real_sleep(left: Duration, rate: f64) {
    match Duration::try_from_secs_f64(left.as_secs_f64() / rate) {
        Ok(real) => tokio::time::sleep(real.clamp(TICK, LONGEST_SLEEP)).await,
        Err(_) => std::future::pending().await,
    }
}

/// The resolution of [`Timestamp`]: a shorter sleep would spin.
const TICK: Duration = Duration::from_millis(1);

/// tokio's timer ends at about two years; whoever waits longer sleeps again.
const LONGEST_SLEEP: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vestibule::clock::SystemClock;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_when_the_clock_is_advanced() {
        let clock = Arc::new(VirtualClock::new(SystemClock::shared()));
        let waiting = Arc::clone(&clock);
        let start = tokio::time::Instant::now();
        let waiter = tokio::spawn(async move { waiting.sleep(Duration::from_secs(3600)).await });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(3600));
        waiter.await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_pace_sets_how_long_a_virtual_minute_takes() {
        let clock = VirtualClock::new(SystemClock::shared());
        for (rate, real_seconds) in [(1.0, 60), (60.0, 1), (0.5, 120)] {
            clock.pace(rate);
            let start = tokio::time::Instant::now();
            clock.sleep(Duration::from_secs(60)).await;
            let took = start.elapsed();
            let want = Duration::from_secs(real_seconds);
            assert!(took >= want, "rate {rate}: {took:?}");
            assert!(
                took < want + Duration::from_millis(50),
                "rate {rate}: {took:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_clock_stands_still() {
        let clock = VirtualClock::new(SystemClock::shared());
        clock.pace(0.0);
        let frozen_at = clock.now();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), frozen_at);
    }
}
