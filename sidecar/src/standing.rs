//! Whether a delay stands, and what share of the requests is refused for it.
//!
//! A burst makes everybody wait for a moment and is over; an overload makes the *least* of
//! all waits grow. So the least delay of an interval is compared with what is bearable, as
//! CoDel does (RFC 8289). While it is more, the share that is refused grows with every
//! interval, and as soon as it is not it shrinks by half: what is let through keeps its
//! pace, and the load that can be carried is found from below.

use std::time::Duration;

/// What is known of a delay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    bearable: Duration,
    /// The least of the interval; none before the first.
    least: Option<Duration>,
    ends: Duration,
    stands: bool,
    /// Of a thousand requests so many are refused.
    refused: u32,
}

// === impl Standing ===

impl Standing {
    pub(crate) fn new(bearable: Duration) -> Self {
        Self {
            bearable,
            least: None,
            ends: Duration::ZERO,
            stands: false,
            refused: 0,
        }
    }

    /// Whether the delay stands.
    pub(crate) fn stands(&self) -> bool {
        self.stands
    }

    /// A delay was seen. How many of a thousand requests are to be refused from here on.
    pub(crate) fn saw(&mut self, delay: Duration, now: Duration) -> u32 {
        if now >= self.ends {
            self.stands = self.least.is_some_and(|least| least > self.bearable);
            self.refused = if self.stands {
                (self.refused + STEP).min(MOST)
            } else {
                self.refused / 2
            };
            self.least = None;
            self.ends = now + INTERVAL;
        }
        let least = self.least.map_or(delay, |least| least.min(delay));
        self.least = Some(least);
        self.refused
    }
}

/// Whether the request of this number is among those that are refused: they are spread
/// evenly.
pub(crate) fn is_refused(number: u32, of_a_thousand: u32) -> bool {
    let upto = |number: u64| number * u64::from(of_a_thousand) / 1000;
    let number = u64::from(number);
    upto(number + 1) > upto(number)
}

/// Long enough that a burst, or a pause of the machine, is over.
const INTERVAL: Duration = Duration::from_millis(500);

const STEP: u32 = 100;

/// Some are let through always, or it would not be seen that the delay has gone.
const MOST: u32 = 900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_grows_while_the_delay_stands_and_shrinks_when_it_does_not() {
        let mut standing = Standing::new(Duration::from_millis(100));
        let (high, low) = (150, 50);
        for (interval, delays, want) in [
            (0, [high, high], 0),
            (1, [high, high], 100),
            (2, [high, high], 200),
            // One that is bearable tells that the queue was empty.
            (3, [high, low], 300),
            (4, [low, low], 150),
            (5, [low, low], 75),
            (6, [high, high], 37),
            (7, [high, high], 137),
        ] {
            let begins = INTERVAL * interval;
            let mut refused = 0;
            for (at, delay) in delays.into_iter().enumerate() {
                let now = begins + Duration::from_millis(at as u64);
                refused = standing.saw(Duration::from_millis(delay), now);
            }
            assert_eq!(refused, want, "interval {interval}");
        }
        for interval in 8..100 {
            standing.saw(Duration::from_secs(1), INTERVAL * interval);
        }
        assert_eq!(standing.refused, MOST);
    }

    #[test]
    fn requests_are_refused_evenly() {
        for (share, want) in [(0, 0), (1, 1), (250, 250), (900, 900)] {
            let refused = (0..1000).filter(|number| is_refused(*number, share));
            assert_eq!(refused.count(), want, "{share}");
        }
        let ten: Vec<u32> = (0..10).filter(|number| is_refused(*number, 200)).collect();
        assert_eq!(ten, [4, 9]);
    }
}
