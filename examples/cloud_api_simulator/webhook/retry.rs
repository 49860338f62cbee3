//! When a webhook that failed is sent again.

use std::time::Duration;

use vestibule::clock::Timestamp;

/// When to try again after so many failures, the last one now; nothing once Meta gives up.
///
/// Meta says only "immediately, then at falling frequency, for up to seven days"; the
/// steps between are ours.
pub(crate) fn next_attempt(failures: u32, now: Timestamp, since: Timestamp) -> Option<Timestamp> {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    let wait = STEPS.get(index).copied().unwrap_or(LAST_STEP);
    let next = now + Duration::from_secs(wait);
    (next <= since + GIVE_UP).then_some(next)
}

/// Seconds from each failure to the next attempt.
const STEPS: [u64; 9] = [0, 5, 30, 120, 600, 1800, 3600, 10_800, 21_600];

/// Seconds between all later attempts.
const LAST_STEP: u64 = 43_200;

/// Seven days.
const GIVE_UP: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_nothing_to_twelve_hours() {
        for (failures, wait) in [
            (1, 0),
            (2, 5),
            (3, 30),
            (4, 120),
            (9, 21_600),
            (10, 43_200),
            (11, 43_200),
        ] {
            let since = Timestamp::from_unix_seconds(1000);
            let want = Timestamp::from_unix_seconds(1000 + wait);
            assert_eq!(
                next_attempt(failures, since, since),
                Some(want),
                "{failures} failures"
            );
        }
    }

    #[test]
    fn gives_up_after_seven_days() {
        let since = Timestamp::EPOCH;
        let (mut now, mut failures) = (since, 0);
        while let Some(next) = next_attempt(failures + 1, now, since) {
            (now, failures) = (next, failures + 1);
        }
        assert!(now <= since + GIVE_UP);
        assert!(now + Duration::from_secs(LAST_STEP) > since + GIVE_UP);
        assert!((20..30).contains(&failures), "{failures} retries");
    }
}
