//! The connections that are kept for the next request.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Idle connections, the youngest given first.
///
/// pingora's own pool starts a task for each connection that is given back; this one
/// starts none, and lets a single sweep close what has grown old.
#[derive(Debug)]
pub(crate) struct Idle<C> {
    kept: Mutex<VecDeque<(C, Instant)>>,
    most: usize,
    longest: Duration,
}

// === impl Idle ===

impl<C> Idle<C> {
    /// Keeps so many connections for so long.
    pub(crate) fn new(most: usize, longest: Duration) -> Self {
        Self {
            kept: Mutex::default(),
            most,
            longest,
        }
    }

    /// The youngest connection that is not too old.
    pub(crate) fn take(&self, now: Instant) -> Option<C> {
        let (connection, since) = self.with(VecDeque::pop_back)?;
        if now < since + self.longest {
            return Some(connection);
        }
        // The youngest is too old: so are the others.
        drop(self.with(std::mem::take));
        None
    }

    /// Keeps a connection, in place of the oldest where there are enough.
    pub(crate) fn keep(&self, connection: C, now: Instant) {
        let oldest = self.with(|kept| {
            kept.push_back((connection, now));
            (kept.len() > self.most).then(|| kept.pop_front()).flatten()
        });
        drop(oldest);
    }

    /// Closes what has grown old.
    pub(crate) fn sweep(&self, now: Instant) {
        let old: Vec<_> = self.with(|kept| {
            let old = kept.partition_point(|(_, since)| *since + self.longest <= now);
            kept.drain(..old).collect()
        });
        drop(old);
    }

    /// Connections are dropped by the caller, outside the lock: closing a socket takes a
    /// system call.
    fn with<T>(&self, step: impl FnOnce(&mut VecDeque<(C, Instant)>) -> T) -> T {
        step(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_youngest_is_given_and_the_old_are_not() {
        let idle = Idle::new(2, Duration::from_secs(10));
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        for (name, second) in [("a", 0), ("b", 1), ("c", 2)] {
            idle.keep(name, at(second));
        }
        assert_eq!(idle.take(at(3)), Some("c"));
        idle.keep("c", at(4));
        idle.sweep(at(12));
        assert_eq!(idle.take(at(12)), Some("c"), "b was swept, a had no room");
        assert_eq!(idle.take(at(12)), None);
        idle.keep("d", at(12));
        assert_eq!(idle.take(at(22)), None, "d is ten seconds old");
    }
}
