//! Whether a service gets requests: what is known of it, and the turn that it has.

use std::time::Duration;

/// What is known of one service.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    /// Failures since it was last well.
    failures: u32,
    /// Until when it is left out.
    rests_until: Option<Duration>,
}

/// When a service is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    /// Failures in a row.
    pub(super) failures: u32,
    /// For how long.
    pub(super) rest: Duration,
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    LeftOut,
    Back,
}

// === impl Health ===

impl Health {
    /// Whether it gets requests.
    pub(super) fn is_well(&self, now: Duration) -> bool {
        self.rests_until.is_none_or(|until| now >= until)
    }

    /// It has answered.
    pub(super) fn answered(&mut self) -> Option<Change> {
        self.failures = 0;
        self.rests_until.take().map(|_| Change::Back)
    }

    /// It has not. One that has rested and fails again rests again at once.
    pub(super) fn failed(&mut self, now: Duration, terms: Terms) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        if self.failures < terms.failures {
            return None;
        }
        let was_out = self.rests_until.is_some();
        self.rests_until = Some(now + terms.rest);
        (!was_out).then_some(Change::LeftOut)
    }
}

/// The services in the order in which one request tries them: those that are well, beginning
/// with the one whose turn it is. Where none is well, all: one of them may be well again.
pub(super) fn order(all: &[Health], turn: usize, now: Duration) -> Vec<usize> {
    let mut found: Vec<usize> = (0..all.len()).filter(|at| all[*at].is_well(now)).collect();
    if found.is_empty() {
        found = (0..all.len()).collect();
    }
    // Among those that are found, so that nobody has the turn of one that is left out too.
    let first = turn % found.len();
    found.rotate_left(first);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_rests_after_failures_in_a_row_and_is_back_when_it_answers() {
        let mut health = Health::default();
        for (at, answers, change, is_well) in [
            (0, false, None, true),
            (0, true, None, true),
            (1, false, None, true),
            (2, false, Some(Change::LeftOut), false),
            // More failures make the rest no shorter, and are no news.
            (5, false, None, false),
            (14, false, None, false),
            (24, true, Some(Change::Back), true),
            (25, false, None, true),
            (26, false, Some(Change::LeftOut), false),
        ] {
            let now = Duration::from_secs(at);
            let got = if answers {
                health.answered()
            } else {
                health.failed(now, TERMS)
            };
            assert_eq!((got, health.is_well(now)), (change, is_well), "at {at}");
        }
    }

    #[test]
    fn one_that_has_rested_is_tried_once() {
        let mut health = Health::default();
        let at = Duration::from_secs;
        health.failed(at(0), TERMS);
        health.failed(at(0), TERMS);
        assert!(!health.is_well(at(9)) && health.is_well(at(10)));
        health.failed(at(10), TERMS);
        assert!(!health.is_well(at(19)) && health.is_well(at(20)));
    }

    #[test]
    fn requests_go_round_those_that_are_well() {
        let (well, mut ill) = (Health::default(), Health::default());
        ill.failed(Duration::ZERO, TERMS);
        ill.failed(Duration::ZERO, TERMS);
        let now = Duration::from_secs(1);
        for (all, turn, want) in [
            (&[well, well, well][..], 0, &[0, 1, 2][..]),
            (&[well, well, well], 4, &[1, 2, 0]),
            (&[well, ill, well], 1, &[2, 0]),
            (&[ill, ill], 3, &[1, 0]),
            (&[well, well], usize::MAX, &[1, 0]),
        ] {
            assert_eq!(order(all, turn, now), want, "turn {turn}");
        }
    }

    const TERMS: Terms = Terms {
        failures: 2,
        rest: Duration::from_secs(10),
    };
}
