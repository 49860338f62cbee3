//! What a connection is waiting for, and how long it may.
//!
//! hyper's own deadline for a request's head also ends a connection that is idle between
//! two requests. Here the two are told apart: the deadline of a head begins with its
//! first byte, and an idle connection has its own, longer one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The bounds of a connection from a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// A whole head, from its first byte.
    pub(crate) head: Duration,
    /// Between two requests.
    pub(crate) idle: Duration,
    /// A client that does not read.
    pub(crate) write: Duration,
    /// A whole request, until its answer has been given away.
    pub(crate) request: Duration,
}

/// The state of one connection, shared by whoever sees a part of it: the stream sees
/// bytes, the service sees requests, the body sees the end of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Pace(Arc<Mutex<State>>);

/// A request under way; dropped when its answer has been given to the connection.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pace: Pace,
    number: u64,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The requests under way, the oldest first: their numbers, and when they began.
    begun: VecDeque<(u64, Instant)>,
    number: u64,
    /// Since when the client has not taken what is written.
    blocked: Option<Instant>,
    /// On HTTP/2 the bytes between requests may be pings: no byte begins a head.
    multiplexed: bool,
    /// The next answer is the last.
    leaving: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Busy,
    Head(Instant),
    Idle(Instant),
}

// === impl Pace ===

impl Pace {
    /// A connection whose first bytes have arrived.
    pub(crate) fn new(multiplexed: bool, now: Instant) -> Self {
        let phase = if multiplexed {
            Phase::Idle(now)
        } else {
            Phase::Head(now)
        };
        Self(Arc::new(Mutex::new(State {
            phase,
            begun: VecDeque::new(),
            number: 0,
            blocked: None,
            multiplexed,
            leaving: false,
        })))
    }

    /// The next answer is the last.
    pub(crate) fn leave(&self) {
        self.with(|state| state.leaving = true);
    }

    /// Whether many requests share the connection.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.with(|state| state.multiplexed)
    }

    /// A request's head is complete.
    pub(crate) fn begin(&self, now: Instant) -> UnderWay {
        UnderWay {
            number: self.with(|state| state.begin(now)),
            pace: self.clone(),
        }
    }

    /// Bytes have arrived.
    pub(crate) fn read(&self, now: Instant) {
        self.with(|state| state.read(now));
    }

    /// The client did or did not take what was written.
    pub(crate) fn wrote(&self, taken: bool, now: Instant) {
        self.with(|state| state.wrote(taken, now));
    }

    /// Whether a head has begun and has not come to its end, and everything that was written
    /// before has been taken.
    pub(crate) fn awaits_head(&self) -> bool {
        self.with(|state| matches!(state.phase, Phase::Head(_)) && state.blocked.is_none())
    }

    /// Since when nothing is under way on a connection that has had a request, and which is
    /// not multiplexed.
    pub(crate) fn rests_since(&self) -> Option<Instant> {
        self.with(|state| state.rests_since())
    }

    /// When the connection has waited long enough.
    pub(crate) fn due(&self, bounds: &Bounds) -> Option<Instant> {
        self.with(|state| state.due(bounds))
    }

    fn with<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        step(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Whether its answer is to say that the connection ends. HTTP/2 has a frame for that.
    pub(crate) fn is_last(&self) -> bool {
        self.pace.with(|state| state.leaving && !state.multiplexed)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = Instant::now();
        let number = self.number;
        self.pace.with(|state| state.end(number, now));
    }
}

// === impl State ===

impl State {
    fn begin(&mut self, now: Instant) -> u64 {
        self.phase = Phase::Busy;
        self.number += 1;
        self.begun.push_back((self.number, now));
        self.number
    }

    fn end(&mut self, number: u64, now: Instant) {
        self.begun.retain(|(begun, _)| *begun != number);
        if self.begun.is_empty() {
            self.phase = Phase::Idle(now);
        }
    }

    fn read(&mut self, now: Instant) {
        if !self.multiplexed && matches!(self.phase, Phase::Idle(_)) {
            self.phase = Phase::Head(now);
        }
    }

    fn wrote(&mut self, taken: bool, now: Instant) {
        self.blocked = match (taken, self.blocked) {
            (true, _) => None,
            (false, None) => Some(now),
            (false, since) => since,
        };
    }

    fn rests_since(&self) -> Option<Instant> {
        match self.phase {
            Phase::Idle(since) if !self.multiplexed && self.blocked.is_none() => Some(since),
            _ => None,
        }
    }

    fn due(&self, bounds: &Bounds) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Busy => self.begun.front().map(|(_, begun)| *begun + bounds.request),
            Phase::Head(since) => Some(since + bounds.head),
            Phase::Idle(since) => Some(since + bounds.idle),
        };
        let blocked = self.blocked.map(|since| since + bounds.write);
        match (phase, blocked) {
            (Some(phase), Some(blocked)) => Some(phase.min(blocked)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_deadline_of_a_head_begins_with_its_first_byte() {
        let pace = Pace::new(false, Instant::now());
        let began = Instant::now();
        assert_eq!(pace.due(&BOUNDS), Some(began + BOUNDS.head));

        let request = pace.begin(began);
        let whole = began + BOUNDS.request;
        assert_eq!(pace.due(&BOUNDS), Some(whole), "a request is under way");

        drop(request);
        assert_eq!(pace.due(&BOUNDS), Some(began + BOUNDS.idle));

        tokio::time::advance(Duration::from_secs(40)).await;
        pace.read(Instant::now());
        let first_byte = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        pace.read(Instant::now());
        assert_eq!(
            pace.due(&BOUNDS),
            Some(first_byte + BOUNDS.head),
            "more bytes of the same head win no time"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn on_http2_no_byte_begins_a_head() {
        let began = Instant::now();
        let pace = Pace::new(true, began);
        pace.read(began);
        assert_eq!(pace.due(&BOUNDS), Some(began + BOUNDS.idle));
        let one = pace.begin(began);
        tokio::time::advance(Duration::from_secs(5)).await;
        let later = Instant::now();
        let other = pace.begin(later);
        assert_eq!(pace.due(&BOUNDS), Some(began + BOUNDS.request));
        drop(one);
        assert_eq!(pace.due(&BOUNDS), Some(later + BOUNDS.request));
        drop(other);
        assert_eq!(pace.due(&BOUNDS), Some(later + BOUNDS.idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_waited_for_a_while() {
        let began = Instant::now();
        let pace = Pace::new(false, began);
        let _request = pace.begin(began);
        pace.wrote(false, began);
        tokio::time::advance(Duration::from_secs(1)).await;
        pace.wrote(false, Instant::now());
        assert_eq!(pace.due(&BOUNDS), Some(began + BOUNDS.write));
        pace.wrote(true, Instant::now());
        assert_eq!(pace.due(&BOUNDS), Some(began + BOUNDS.request));
    }

    const BOUNDS: Bounds = Bounds {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
        request: Duration::from_secs(3600),
    };
}
