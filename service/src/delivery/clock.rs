//! The clock by which an uncertain attempt is given up: it stands still while webhooks are
//! not taken in.

use std::time::Duration;

use vestibule::clock::Timestamp;

/// How long webhooks have been taken in, all in all.
///
/// Meta holds back what it cannot deliver and tries again at growing distances, each about
/// as long as all of the wait before. What it had to say during an outage has therefore
/// come once as much time again has passed: an outage is a debt that is paid first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntakeClock {
    /// What the clock shows.
    pub healthy: Duration,
    /// What is still to pass before it goes on.
    pub debt: Duration,
    /// When it was last looked at, by whichever replica.
    pub observed_at: Option<Timestamp>,
}

// === impl IntakeClock ===

impl IntakeClock {
    /// Whether nobody has looked for a while.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.observed_at
            .is_none_or(|before| now < before || now.since(before) >= LOOK)
    }

    /// The clock at `now`, when the oldest webhook that was not worked off has waited for
    /// `lag`. A gap between two looks is an outage: nobody was there.
    #[must_use]
    pub fn observed(self, now: Timestamp, lag: Duration) -> Self {
        let Some(before) = self.observed_at else {
            return Self {
                observed_at: Some(now),
                ..self
            };
        };
        if now <= before {
            return Self {
                // A clock that was set back has not made time pass.
                observed_at: Some(now),
                ..self
            };
        }
        let passed = now.since(before);
        let mut clock = Self {
            observed_at: Some(now),
            ..self
        };
        if passed > GAP_MAX || lag > LAG_MAX {
            clock.debt = (clock.debt + passed).min(DEBT_MAX);
        } else {
            let paid = passed.min(clock.debt);
            clock.debt -= paid;
            clock.healthy += passed - paid;
        }
        clock
    }
}

/// Well below what counts as a gap.
const LOOK: Duration = Duration::from_secs(5);

/// Between two looks lie a second or two; a busy machine may take a few more.
const GAP_MAX: Duration = Duration::from_secs(15);

/// A backlog that is older says that what Meta knows is not known here.
const LAG_MAX: Duration = Duration::from_secs(60);

/// The longest distance between two tries of Meta's.
const DEBT_MAX: Duration = Duration::from_secs(12 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_in_which_webhooks_are_taken_in_counts() {
        let mut clock = IntakeClock::default();
        let mut now = Timestamp::from_unix_seconds(1_800_000_000);
        for (passes, lag, healthy, debt, what) in [
            (0, 0, 0, 0, "the first look"),
            (5, 0, 5, 0, "two looks"),
            (10, 60, 15, 0, "a backlog of a minute"),
            (10, 61, 15, 10, "a longer backlog"),
            (4, 0, 15, 6, "the debt is paid first"),
            (10, 0, 19, 0, "and then it goes on"),
            (100, 0, 19, 100, "nobody looked"),
            (1_000_000, 0, 19, 43_200, "for days"),
        ] {
            now = now + Duration::from_secs(passes);
            clock = clock.observed(now, Duration::from_secs(lag));
            assert_eq!(clock.healthy.as_secs(), healthy, "{what}");
            assert_eq!(clock.debt.as_secs(), debt, "{what}");
        }
        let back = Timestamp::from_unix_seconds(1_700_000_000);
        let clock = clock.observed(back, Duration::ZERO);
        assert_eq!(clock.healthy.as_secs(), 19, "a clock that was set back");
        assert_eq!(clock.observed_at, Some(back));
    }
}
