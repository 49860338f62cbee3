//! How many requests pass, and the judgement of one: pure, with the time passed in.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::clock::Timestamp;
use crate::header::{
    self, RATELIMIT, RATELIMIT_POLICY, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET,
};

/// How many requests a caller may send in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    limit: u32,
    window: Duration,
    burst: Option<u32>,
}

/// What a store keeps for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// So many requests passed since the first one.
    Window {
        /// When the first request of this window came.
        started: Timestamp,
        /// How many requests passed; those refused are not among them.
        count: u32,
    },
    /// The generic cell rate algorithm (ITU-T I.371): when the next request would come
    /// if the caller kept exactly to its rate.
    Arrival {
        /// Microseconds since the Unix epoch.
        expected: u64,
    },
}

/// Whether a request passes, and what the caller is told about its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passes.
    pub allowed: bool,
    /// Requests in a window.
    pub limit: u32,
    /// Requests left.
    pub remaining: u32,
    /// When the window ends, or the whole burst is there again.
    pub reset: Timestamp,
    /// How long until a request can pass; zero where this one did.
    pub wait: Duration,
}

// === impl Quota ===

impl Quota {
    /// So many requests in a minute.
    pub const fn per_minute(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(60))
    }

    /// So many requests in a window.
    pub const fn new(limit: u32, window: Duration) -> Self {
        Self {
            limit,
            window,
            burst: None,
        }
    }

    /// Spreads the limit evenly over the window and lets only so many requests pass at once.
    #[must_use]
    pub const fn with_burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// Replaces the limit.
    #[must_use]
    pub const fn with_limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Requests in a window.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// The length of a window.
    pub const fn window(&self) -> Duration {
        self.window
    }

    /// Requests at once, where the limit is spread evenly.
    pub const fn burst(&self) -> Option<u32> {
        self.burst
    }

    /// How far ahead a counter can end: the rest of a window, or the time of a whole burst.
    pub(crate) fn span(&self) -> Duration {
        match self.burst {
            None => self.window,
            Some(burst) => {
                Duration::from_micros(self.interval_micros().saturating_mul(burst.into()))
            }
        }
    }

    /// Judges a request against what the store has counted, and says what it counts then.
    ///
    /// A counter whose end lies further ahead than a window can be was written under
    /// another clock, and counts as expired.
    pub fn judge(&self, counter: Option<Counter>, now: Timestamp) -> (Counter, Verdict) {
        match self.burst {
            None => self.judge_window(counter, now),
            Some(burst) => self.judge_arrival(burst, counter, now),
        }
    }

    fn judge_window(&self, counter: Option<Counter>, now: Timestamp) -> (Counter, Verdict) {
        let (started, count) = match counter {
            Some(Counter::Window { started, count })
                if started.since(now) <= Timestamp::SKEW && now < started + self.window =>
            {
                // Nobody waits longer than a window, even if the clock stepped back.
                (started.min(now), count)
            }
            _ => (now, 0),
        };
        let allowed = count < self.limit;
        let count = count + u32::from(allowed);
        let reset = started + self.window;
        let wait = if allowed {
            Duration::ZERO
        } else {
            reset.since(now)
        };
        let remaining = self.limit.saturating_sub(count);
        (
            Counter::Window { started, count },
            Verdict {
                allowed,
                limit: self.limit,
                remaining,
                reset,
                wait,
            },
        )
    }

    fn judge_arrival(
        &self,
        burst: u32,
        counter: Option<Counter>,
        now: Timestamp,
    ) -> (Counter, Verdict) {
        let now = now.as_unix_millis().saturating_mul(1000);
        let interval = self.interval_micros();
        // When the next request would be expected if the whole burst had just been used.
        let full = now.saturating_add(interval.saturating_mul(u64::from(burst)));
        let expected = match counter {
            Some(Counter::Arrival { expected }) if expected <= full.saturating_add(SKEW_MICROS) => {
                expected.clamp(now, full)
            }
            _ => now,
        };
        let next = expected.saturating_add(interval);
        let allowed = self.limit > 0 && next <= full;
        let kept = if allowed { next } else { expected };
        let wait = if allowed {
            0
        } else {
            next.saturating_sub(full)
        };
        let left = full.saturating_sub(kept) / interval;
        let verdict = Verdict {
            allowed,
            limit: self.limit,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            reset: Timestamp::from_unix_millis(kept.div_ceil(1000)),
            wait: Duration::from_micros(wait),
        };
        (Counter::Arrival { expected: kept }, verdict)
    }

    /// The time between two requests of a caller that keeps exactly to its rate.
    fn interval_micros(&self) -> u64 {
        let window = u64::try_from(self.window.as_micros()).unwrap_or(u64::MAX);
        (window / u64::from(self.limit.max(1))).max(1)
    }
}

// === impl Verdict ===

impl Verdict {
    /// Writes the three headers (contract §2).
    pub fn write(&self, headers: &mut HeaderMap) {
        let reset = self.reset.as_unix_seconds_ceil();
        let [limit, remaining, reset] =
            header::numbers([self.limit.into(), self.remaining.into(), reset]);
        headers.reserve(WRITTEN);
        headers.insert(X_RATELIMIT_LIMIT, limit);
        headers.insert(X_RATELIMIT_REMAINING, remaining);
        headers.insert(X_RATELIMIT_RESET, reset);
    }

    /// Writes `RateLimit-Policy` and `RateLimit`
    /// ([draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/)).
    pub(crate) fn write_ietf(&self, window: Duration, now: Timestamp, headers: &mut HeaderMap) {
        let reset = header::whole_seconds(self.reset.since(now));
        let (limit, window) = (self.limit, header::whole_seconds(window));
        let policy = format!("\"default\";q={limit};w={window}");
        let standing = format!("\"default\";r={};t={reset}", self.remaining);
        for (name, value) in [(RATELIMIT_POLICY, policy), (RATELIMIT, standing)] {
            let value = HeaderValue::try_from(value).expect("numbers and a name are visible ASCII");
            headers.insert(name, value);
        }
    }

    /// What the store must have counted to say this, under a clock that shows `now`
    /// here. The store's may be ahead: what it counts has begun all the same.
    pub(crate) fn counter(&self, quota: &Quota, now: Timestamp) -> Counter {
        let reset = self.reset.min(now + quota.span());
        if quota.burst.is_some() {
            return Counter::Arrival {
                expected: reset.as_unix_millis().saturating_mul(1000),
            };
        }
        Counter::Window {
            started: reset.before(quota.window),
            count: self.limit.saturating_sub(self.remaining),
        }
    }
}

/// These three and the two that the layers around add, so that the map grows once.
const WRITTEN: usize = 5;

/// See [`Timestamp::SKEW`].
const SKEW_MICROS: u64 = Timestamp::SKEW.as_micros() as u64;

#[cfg(test)]
mod tests;
