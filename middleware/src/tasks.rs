//! Work that outlives its connection: counted, capped for each caller, drained before the process ends.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::principal::Caller;

/// Where detached work runs.
///
/// A keyed request that was started runs to its end even when its caller has left, so
/// its future belongs to no connection (contract §6). Every clone counts towards the
/// same caps and is drained by the same call.
#[derive(Clone, Debug)]
pub struct Tasks {
    shared: Arc<Shared>,
}

/// Why work was not started: a cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cap on running work is reached")]
pub struct Saturated;

#[derive(Debug)]
struct Shared {
    tracker: TaskTracker,
    in_all: usize,
    per_caller: usize,
    callers: Mutex<HashMap<Caller, usize>>,
}

/// One place among the running, given back when it or its work is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    caller: Caller,
    _counted: TaskTrackerToken,
}

// === impl Tasks ===

impl Tasks {
    /// Room for so many pieces of work in all, and for so many of one caller.
    #[must_use]
    pub fn new(in_all: usize, per_caller: usize) -> Self {
        let shared = Shared {
            tracker: TaskTracker::new(),
            in_all,
            per_caller,
            callers: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Starts work for a caller, inside the current span.
    ///
    /// # Errors
    ///
    /// [`Saturated`] where a cap is reached; nothing was started.
    pub fn spawn<F>(&self, caller: &Caller, work: F) -> Result<JoinHandle<F::Output>, Saturated>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        Ok(self.reserve(caller)?.spawn(work))
    }

    /// Takes a place before there is work for it. It counts as running, so that
    /// [`drained`](Self::drained) waits for what may still be started in it.
    pub(crate) fn reserve(&self, caller: &Caller) -> Result<Place, Saturated> {
        let mut callers = self
            .shared
            .callers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.shared.tracker.len() >= self.shared.in_all {
            return Err(Saturated);
        }
        let running = callers.get(caller).copied().unwrap_or_default();
        if running >= self.shared.per_caller {
            return Err(Saturated);
        }
        callers.insert(caller.clone(), running + 1);
        Ok(Place {
            shared: Arc::clone(&self.shared),
            caller: caller.clone(),
            _counted: self.shared.tracker.token(),
        })
    }

    /// How many pieces of work are running.
    pub fn running(&self) -> usize {
        self.shared.tracker.len()
    }

    /// Waits until no work is running, or until the time is up; returns how many
    /// pieces were still running then.
    pub async fn drained(&self, within: Duration) -> usize {
        self.shared.tracker.close();
        let _ = tokio::time::timeout(within, self.shared.tracker.wait()).await;
        self.running()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new(IN_ALL, PER_CALLER)
    }
}

// === impl Place ===

impl Place {
    /// Starts work in this place, inside the current span.
    pub(crate) fn spawn<F>(self, work: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let work = async move {
            let _place = self;
            work.await
        };
        tokio::spawn(work.in_current_span())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut callers = self
            .shared
            .callers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = callers.get_mut(&self.caller) {
            *running -= 1;
            if *running == 0 {
                callers.remove(&self.caller);
            }
        }
    }
}

/// With a buffered body of 1 MiB each, as much as a small pod can hold.
const IN_ALL: usize = 1024;

/// One caller may not take every place.
const PER_CALLER: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_caller_cannot_take_every_place() {
        let tasks = Tasks::new(3, 2);
        let (busy, other) = (Caller::new("live", "a"), Caller::new("live", "b"));
        let (_hold, held) = tokio::sync::watch::channel(());
        let wait = |mut held: tokio::sync::watch::Receiver<()>| async move {
            let _ = held.changed().await;
        };
        for (caller, starts) in [
            (&busy, true),
            (&busy, true),
            (&busy, false),
            (&other, true),
            (&other, false),
        ] {
            assert_eq!(
                tasks.spawn(caller, wait(held.clone())).is_ok(),
                starts,
                "{caller:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn drains_what_ends_and_counts_what_does_not() {
        let tasks = Tasks::default();
        let caller = Caller::new("live", "a");
        tasks
            .spawn(&caller, tokio::time::sleep(Duration::from_secs(5)))
            .unwrap();
        assert_eq!(tasks.drained(Duration::from_secs(1)).await, 1);
        assert_eq!(tasks.drained(Duration::from_secs(30)).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reserved_place_counts_as_running_until_it_is_dropped_or_its_work_ends() {
        let tasks = Tasks::new(10, 1);
        let caller = Caller::new("live", "a");
        let place = tasks.reserve(&caller).unwrap();
        assert!(tasks.reserve(&caller).is_err());
        assert_eq!(tasks.drained(Duration::from_secs(1)).await, 1);
        place.spawn(tokio::time::sleep(Duration::from_secs(5)));
        assert!(tasks.reserve(&caller).is_err());
        assert_eq!(tasks.drained(Duration::from_secs(30)).await, 0);
        drop(tasks.reserve(&caller).unwrap());
        assert_eq!(tasks.running(), 0);
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let tasks = Tasks::new(1, 1);
        let caller = Caller::new("live", "a");
        let ended = tasks
            .spawn(&caller, async { panic!("as the test wants it") })
            .unwrap()
            .await;
        assert!(ended.is_err());
        assert!(tasks.spawn(&caller, async {}).is_ok());
    }
}
