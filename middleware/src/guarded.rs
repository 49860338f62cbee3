//! A store behind its deadlines and its circuit breaker (contract §7).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::clock::SharedClock;
use crate::error::{StoreError, StoreErrorKind};

/// A store that answers in time or not at all.
///
/// Every step gets one try. It implements whatever store trait its store does; a store
/// that says it lives in this process is asked directly.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    pub(crate) store: S,
    breaker: Arc<Breaker>,
    clock: SharedClock,
}

// === impl Guarded ===

impl<S> Guarded<S> {
    /// This store, behind a breaker of its own.
    pub(crate) fn new(store: S, clock: SharedClock) -> Self {
        Self {
            store,
            breaker: Arc::default(),
            clock,
        }
    }

    /// Whether the store is being left alone after failures.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.breaker.is_open()
    }

    /// Takes one step, within the deadline, unless the breaker is open.
    pub(crate) async fn guard<T>(
        &self,
        deadline: Duration,
        step: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if !self.breaker.admits(self.clock.elapsed()) {
            return Err(StoreError::not_sent());
        }
        let answer = match tokio::time::timeout(deadline, step).await {
            Ok(answer) => answer,
            Err(late) => Err(StoreError::unanswered().because(late)),
        };
        // A full store has answered: it is not lost.
        let lost = answer
            .as_ref()
            .is_err_and(|error| error.kind() != StoreErrorKind::Full);
        self.breaker.learn(!lost, self.clock.elapsed());
        answer
    }
}
