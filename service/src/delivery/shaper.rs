//! How fast a number may send, and a number to one customer: Meta's two limits, kept from
//! this side with a margin, so that Meta never has to refuse.

use std::time::Duration;

use vestibule::clock::Timestamp;

/// What one number has sent to one customer.
///
/// Meta lets a number send one message in six seconds, and up to 45 at once on credit: who
/// has sent a burst waits as long as its messages would have taken one by one. A bucket that
/// merely refills would let some through before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// When everything that was sent is paid for.
    pub tat: Timestamp,
    /// When the burst began.
    pub burst_start: Timestamp,
    /// How many messages it has had.
    pub burst_n: u32,
}

/// What one number has sent and heard: Meta counts both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// When everything is paid for, in Unix microseconds: a thousand messages a second are
    /// finer than the store's clock.
    pub tat_us: u64,
    /// How much of its rate it uses, in thousandths.
    pub factor: u32,
    /// When that was so.
    pub factor_at: Timestamp,
}

// === impl Pair ===

impl Pair {
    /// The pair after one message more, in bursts of so many; or when it may be sent.
    ///
    /// # Errors
    ///
    /// The moment from which it may be sent.
    pub fn depart(before: Option<Self>, burst: u32, now: Timestamp) -> Result<Self, Timestamp> {
        let fresh = Self {
            tat: now + STEP,
            burst_start: now,
            burst_n: 1,
        };
        let Some(pair) = before else { return Ok(fresh) };
        // A clock that was set back leaves a debt that nobody made.
        let most = match pair.burst_n {
            REFUSED => ASKED_MAX,
            _ => DEBT_MAX,
        };
        let is_sane = pair.burst_start <= now && pair.tat.since(pair.burst_start) <= most;
        if !is_sane || now >= pair.tat + MARGIN {
            return Ok(fresh);
        }
        if now < pair.burst_start + STEP && pair.burst_n < burst {
            return Ok(Self {
                tat: pair.tat + STEP,
                burst_n: pair.burst_n + 1,
                ..pair
            });
        }
        Err(pair.tat + MARGIN)
    }

    /// The pair that Meta has refused until then.
    pub const fn refused(until: Timestamp, now: Timestamp) -> Self {
        Self {
            tat: until,
            burst_start: now,
            burst_n: REFUSED,
        }
    }
}

// === impl Number ===

impl Number {
    /// A number that has sent nothing yet.
    pub const fn idle(now: Timestamp) -> Self {
        Self {
            tat_us: 0,
            factor: WHOLE,
            factor_at: now,
        }
    }

    /// From when it may send, where Meta takes so many messages a second.
    pub fn opens_at(&self, per_second: u32, now: Timestamp) -> Timestamp {
        let tat = self.paid_for(now).saturating_sub(burst_us(per_second));
        Timestamp::from_unix_millis(tat.div_ceil(1000))
    }

    /// The number after one message more; nothing where it may not send now.
    #[must_use]
    pub fn depart(self, per_second: u32, now: Timestamp) -> Option<Self> {
        (self.opens_at(per_second, now) <= now).then(|| self.charged(1, per_second, now))
    }

    /// The number after it has heard so many messages, which cannot be refused.
    #[must_use]
    pub fn heard(self, messages: u32, per_second: u32, now: Timestamp) -> Self {
        self.charged(messages, per_second, now)
    }

    /// The number after Meta said that it is too fast: half of what it did.
    #[must_use]
    pub fn throttled(self, now: Timestamp) -> Self {
        Self {
            factor: (self.factor_now(now) / 2).max(FACTOR_MIN),
            factor_at: now,
            ..self
        }
    }

    fn charged(self, messages: u32, per_second: u32, now: Timestamp) -> Self {
        let factor = u64::from(self.factor_now(now));
        // A message costs a second's part of the rate, of which a fifth is left to Meta.
        let cost = 1_000_000 * u64::from(WHOLE) * 5 / (u64::from(per_second.max(1)) * factor * 4);
        let start = self.paid_for(now).max(now.as_unix_millis() * 1000);
        Self {
            tat_us: start + cost * u64::from(messages),
            ..self
        }
    }

    /// A debt beyond ten minutes was made under another clock.
    fn paid_for(&self, now: Timestamp) -> u64 {
        let now = now.as_unix_millis() * 1000;
        if self.tat_us > now + NUMBER_DEBT_MAX_US {
            now
        } else {
            self.tat_us
        }
    }

    /// It recovers by a fiftieth of the whole a second.
    fn factor_now(&self, now: Timestamp) -> u32 {
        let gained = now.since(self.factor_at).as_millis() / 50;
        let gained = u32::try_from(gained).unwrap_or(WHOLE);
        self.factor.saturating_add(gained).min(WHOLE)
    }
}

/// What may leave at one moment: a fifth of a second's worth.
fn burst_us(per_second: u32) -> u64 {
    let worth = u64::from(per_second) / 5;
    // With no room for a second one, the first would never leave.
    worth.saturating_sub(1) * (1_000_000 * 5 / (u64::from(per_second.max(1)) * 4))
}

/// One message to one customer.
const STEP: Duration = Duration::from_secs(6);

/// Messages travel, and not all equally fast.
const MARGIN: Duration = Duration::from_millis(500);

/// A burst of 45.
const DEBT_MAX: Duration = Duration::from_secs(45 * 6);

/// The longest wait that Meta is believed to ask for, and half as much again by which ours
/// are spread.
const ASKED_MAX: Duration = Duration::from_secs(90 * 60);

/// In the place of a burst: Meta has refused.
const REFUSED: u32 = u32::MAX;

/// Ten minutes: an outage may end with that many messages of customers at once.
const NUMBER_DEBT_MAX_US: u64 = 600_000_000;

/// The whole rate, in thousandths.
const WHOLE: u32 = 1000;

/// However often Meta refuses, a few messages still go.
const FACTOR_MIN: u32 = 50;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_paid_for_before_the_next_message() {
        let mut pair = None;
        for n in 0..20 {
            pair = Some(Pair::depart(pair, 45, at(n * 10)).unwrap());
        }
        // Meta's own example: a burst of 20 has to wait for two minutes.
        assert_eq!(pair.unwrap().tat, at(120_000));
        let opens = Pair::depart(pair, 45, at(6000)).unwrap_err();
        assert_eq!(opens, at(120_500));
        assert_eq!(Pair::depart(pair, 45, at(120_499)), Err(opens));
        assert_eq!(Pair::depart(pair, 45, opens).unwrap().burst_n, 1);
    }

    #[test]
    fn more_than_a_few_in_a_row_is_for_those_who_want_it() {
        for burst in [1, 5, 45] {
            let mut pair = None;
            let mut sent = 0;
            while let Ok(next) = Pair::depart(pair, burst, at(1)) {
                pair = Some(next);
                sent += 1;
            }
            assert_eq!(sent, burst);
        }
    }

    #[test]
    fn a_refusal_of_metas_holds_and_a_clock_that_was_set_back_does_not() {
        for until in [16_000, 384_000, 3_600_000] {
            let refused = Pair::refused(at(until), at(0));
            let opens = at(until + 500);
            assert_eq!(
                Pair::depart(Some(refused), 45, at(100)),
                Err(opens),
                "{until}"
            );
            assert!(Pair::depart(Some(refused), 45, opens).is_ok(), "{until}");
        }
        let ahead = Pair::depart(None, 45, at(1_000_000)).unwrap();
        assert!(Pair::depart(Some(ahead), 45, at(0)).is_ok());
    }

    #[test]
    fn a_number_that_was_too_fast_slows_down_and_recovers() {
        let mut number = Number::idle(at(0));
        for (now, factor) in [(0, 500), (0, 250), (0, 125), (0, 62), (0, 50), (0, 50)] {
            number = number.throttled(at(now));
            assert_eq!(number.factor, factor);
        }
        assert_eq!(number.factor_now(at(10_000)), 250);
        assert_eq!(number.factor_now(at(1_000_000)), 1000);
    }

    #[test]
    fn what_a_number_hears_counts_too() {
        let number = Number::idle(at(0)).heard(64, 80, at(0));
        let opens = number.opens_at(80, at(0));
        assert!(opens >= at(700), "{opens:?}");
        assert_eq!(number.depart(80, at(0)), None);
        assert!(number.depart(80, opens).is_some());
    }

    proptest! {
        /// P5: offered twice what Meta takes, Meta never refuses.
        #[test]
        fn a_number_stays_below_metas_rate(
            per_second in prop::sample::select(vec![1_u32, 5, 20, 80, 1000]),
            gaps in prop::collection::vec(0_u64..40, 200..600),
        ) {
            let (mut number, mut now, mut sent) = (Number::idle(at(0)), 0, Vec::new());
            for gap in gaps {
                now += gap;
                while let Some(next) = number.depart(per_second, at(now)) {
                    number = next;
                    sent.push(now);
                }
            }
            // Meta's bucket: no second with more than its rate.
            for (first, start) in sent.iter().enumerate() {
                let within = sent[first..].iter().filter(|at| **at < start + 1000).count();
                prop_assert!(within <= per_second.max(1) as usize, "{within} in a second");
            }
            // And most of what is allowed is used.
            let least = (now * u64::from(per_second) * 7 / 10 / 1000) as usize;
            prop_assert!(sent.len() >= least, "{} of {least} in {now} ms", sent.len());
        }

        #[test]
        fn a_pair_stays_within_metas_model(
            burst in 1_u32..=45,
            gaps in prop::collection::vec(0_u64..3000, 50..400),
        ) {
            let (mut pair, mut meta, mut now) = (None, None::<(u64, u64, u32)>, 0);
            for gap in gaps {
                now += gap;
                let Ok(next) = Pair::depart(pair, burst, at(now)) else { continue };
                pair = Some(next);
                // Meta's model of section 5, without our margin.
                meta = Some(match meta {
                    Some((tat, start, n)) if now < tat => {
                        prop_assert!(now < start + 6000 && n < 45, "refused at {now}");
                        (tat + 6000, start, n + 1)
                    }
                    _ => (now + 6000, now, 1),
                });
            }
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_unix_millis(1_800_000_000_000 + millis)
    }
}
