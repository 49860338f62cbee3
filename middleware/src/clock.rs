//! Time as a value that is passed in: wall time for what is kept, elapsed time for what is measured.

use std::fmt::Debug;
use std::ops::Add;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of time.
///
/// The layers and the memory store take one, so that a test can hold it still or move
/// it. Waiting (renewing a lease, a deadline) goes through tokio's timer, which a test
/// pauses.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall time: what is persisted and what a caller is told.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment; it never goes back and no one can set it.
    fn elapsed(&self) -> Duration;
}

/// A clock that many own.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A moment of wall time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

// === impl SystemClock ===

impl SystemClock {
    /// The machine's clock, ready to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::EPOCH + since
    }

    fn elapsed(&self) -> Duration {
        // tokio's Instant stands still while a test has paused the time.
        static START: LazyLock<tokio::time::Instant> = LazyLock::new(tokio::time::Instant::now);
        START.elapsed()
    }
}

// === impl Timestamp ===

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// How far a well-kept clock may step back without anything being taken for a jump.
    pub const SKEW: Duration = Duration::from_secs(1);

    /// The moment this many milliseconds after the Unix epoch.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The moment this many seconds after the Unix epoch.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_unix_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// Whole seconds since the Unix epoch, rounded up: a caller that waits until then
    /// has waited long enough.
    pub const fn as_unix_seconds_ceil(self) -> u64 {
        self.0.div_ceil(1000)
    }

    /// The moment this much earlier, or the epoch.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_that_a_caller_waits_for_are_rounded_up() {
        for (millis, down, up) in [(0, 0, 0), (1, 0, 1), (1000, 1, 1), (1001, 1, 2)] {
            let at = Timestamp::from_unix_millis(millis);
            assert_eq!(
                (at.as_unix_seconds(), at.as_unix_seconds_ceil()),
                (down, up),
                "{millis} ms"
            );
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let end = Timestamp::from_unix_millis(u64::MAX);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(Timestamp::EPOCH.since(end), Duration::ZERO);
    }
}
