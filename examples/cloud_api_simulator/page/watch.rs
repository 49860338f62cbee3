//! Tells open pages what changes without an event of its own: faults that strike, windows, the
//! clock, the world.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use vestibule::clock::Timestamp;

use super::picture;
use crate::simulator::Simulator;
use crate::state::State;

/// What open pages were told last.
#[derive(Debug, Default)]
struct Seen {
    cast: Value,
    faults: Value,
    windows: BTreeMap<(String, String), Timestamp>,
    clock: Option<Reading>,
}

/// A reading of the virtual clock, and of the real one beside it.
#[derive(Clone, Copy, Debug)]
struct Reading {
    virtual_now: Timestamp,
    rate: f64,
    real_now: Instant,
}

/// Looks again and again, for as long as it is polled.
///
/// Faults strike in many places, and much can change a window or the world: to compare is
/// simpler, and forgets none of them. It looks where no page is open too, so that it knows
/// what the next one begins with.
pub(crate) async fn watch(simulator: Arc<Simulator>) {
    let mut seen = Seen::default();
    loop {
        tokio::time::sleep(GLANCE).await;
        let reading = Reading {
            virtual_now: simulator.clock.now(),
            rate: simulator.clock.rate(),
            real_now: Instant::now(),
        };
        seen.look(&mut simulator.lock(), reading);
    }
}

// === impl Seen ===

impl Seen {
    fn look(&mut self, state: &mut State, reading: Reading) {
        let cast = picture::cast(state);
        if self.cast != cast {
            self.cast = cast;
            state.page.hub.begin_anew();
        }
        let faults = picture::faults(state, reading.virtual_now);
        if self.faults != faults {
            state.page.hub.tell("faults", &json!({"faults": faults}));
            self.faults = faults;
        }
        let windows = picture::windows(state);
        for ((pnid, user), closes_at) in &windows {
            let key = (pnid.clone(), user.clone());
            if self.windows.get(&key) != Some(closes_at) {
                let window = picture::window(pnid, user, *closes_at);
                state.page.hub.tell("window", &window);
            }
        }
        self.windows = windows;
        if !self.clock.is_some_and(|clock| clock.foresees(&reading)) {
            let clock = picture::clock(reading.virtual_now, reading.rate);
            state.page.hub.tell("clock", &clock);
        }
        self.clock = Some(reading);
    }
}

// === impl Reading ===

impl Reading {
    /// Whether a page that knows this reading shows the right time at the other one.
    #[expect(clippy::float_cmp, reason = "a rate is set, and never computed")]
    fn foresees(&self, other: &Self) -> bool {
        let passed = (other.real_now - self.real_now).as_secs_f64() * self.rate;
        let moved = other.virtual_now.since(self.virtual_now).as_secs_f64();
        self.rate == other.rate && (moved - passed).abs() <= SLACK_SECONDS * self.rate.max(1.0)
    }
}

/// Short enough to look like at once, and nothing to a machine.
const GLANCE: Duration = Duration::from_millis(100);

/// A page shows seconds; less than that is the time between two readings.
const SLACK_SECONDS: f64 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_clock_that_was_moved_is_told_of() {
        let first = Reading {
            virtual_now: Timestamp::from_unix_seconds(1000),
            rate: 2.0,
            real_now: Instant::now(),
        };
        for (virtual_seconds, rate, real_seconds, foreseen) in [
            (1000, 2.0, 0, true),
            (1020, 2.0, 10, true),
            (1022, 2.0, 10, false),
            (4600, 2.0, 0, false),
            (1020, 1.0, 10, false),
        ] {
            let other = Reading {
                virtual_now: Timestamp::from_unix_seconds(virtual_seconds),
                rate,
                real_now: first.real_now + Duration::from_secs(real_seconds),
            };
            assert_eq!(first.foresees(&other), foreseen, "{other:?}");
        }
    }
}
