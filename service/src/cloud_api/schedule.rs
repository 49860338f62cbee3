//! How long to wait before a message is sent again, and how often.

use std::time::Duration;

/// How long to wait before each repetition, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    first: Duration,
    factor: u32,
    cap: Duration,
    retries_max: Option<u32>,
    /// Whether any wait up to the step will do (full jitter), or none below it.
    is_jittered: bool,
}

// === impl Schedule ===

impl Schedule {
    /// Steps that grow by this factor up to the cap, none of them shortened.
    pub(super) const fn new(first: u64, factor: u32, cap: u64) -> Self {
        Self {
            first: Duration::from_secs(first),
            factor,
            cap: Duration::from_secs(cap),
            retries_max: None,
            is_jittered: false,
        }
    }

    pub(super) const fn at_most(mut self, retries: u32) -> Self {
        self.retries_max = Some(retries);
        self
    }

    pub(super) const fn jittered(mut self) -> Self {
        self.is_jittered = true;
        self
    }

    /// The wait before the next try when `tries` have failed, or nothing when those were
    /// enough. Many who wait at once are spread: over the whole step, or, where the step is
    /// a rule of Meta's, over half as much again.
    pub fn wait(self, tries: u32, draw: u128) -> Option<Duration> {
        if self.retries_max.is_some_and(|max| tries > max) {
            return None;
        }
        let factor = self.factor.saturating_pow(tries.saturating_sub(1));
        let step = self.first.saturating_mul(factor).min(self.cap);
        Some(match self.is_jittered {
            true => fraction(step, draw),
            false => step + fraction(step / 2, draw),
        })
    }
}

/// A part of a duration, drawn evenly.
fn fraction(whole: Duration, draw: u128) -> Duration {
    let millis = whole.as_millis() + 1;
    Duration::from_millis(u64::try_from(draw % millis).unwrap_or(u64::MAX))
}
