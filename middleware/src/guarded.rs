//! A store behind its deadlines and its circuit breaker (contract §7).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::clock::SharedClock;
use crate::error::{StoreError, StoreErrorKind};
use crate::telemetry::{StoreObserver, StoreOutcome, StoreStep};

/// A store that answers in time or not at all.
///
/// Every step gets one try. It implements whatever store trait its store does; a store
/// that says it lives in this process is asked directly.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<S> {
    pub(crate) store: S,
    watch: Arc<Watch>,
    clock: SharedClock,
}

/// What is known of a store, and who else wants to know.
#[derive(Debug, Default)]
struct Watch {
    breaker: Breaker,
    observer: Option<Arc<dyn StoreObserver>>,
}

// === impl Guarded ===

impl<S> Guarded<S> {
    /// This store, behind a breaker of its own.
    pub(crate) fn new(store: S, clock: SharedClock) -> Self {
        Self {
            store,
            watch: Arc::default(),
            clock,
        }
    }

    /// The same with a breaker of its own, and somebody learns of its steps.
    pub(crate) fn observed(mut self, observer: Option<Arc<dyn StoreObserver>>) -> Self {
        let breaker = Breaker::default();
        self.watch = Arc::new(Watch { breaker, observer });
        self
    }

    /// Whether somebody learns of its steps.
    pub(crate) fn is_observed(&self) -> bool {
        self.watch.observer.is_some()
    }

    /// Whether the store is being left alone after failures.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.watch.breaker.is_open()
    }

    /// Takes a step that changes nothing. The breaker learns nothing of it: whoever looks
    /// neither cuts the store off for the requests nor lets them at it again.
    pub(crate) async fn look<T>(
        &self,
        deadline: Duration,
        step: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if self.watch.breaker.is_open() {
            return Err(StoreError::not_sent());
        }
        let answer = tokio::time::timeout(deadline, step).await;
        answer.unwrap_or_else(|late| Err(StoreError::unanswered().because(late)))
    }

    /// Takes one step, within the deadline, unless the breaker is open.
    pub(crate) async fn guard<T>(
        &self,
        name: StoreStep,
        deadline: Duration,
        step: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let began = self.clock.elapsed();
        if !self.watch.breaker.admits(began) {
            self.tell(name, StoreOutcome::CutOff, Duration::ZERO);
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
        let now = self.clock.elapsed();
        self.watch.breaker.learn(!lost, now);
        self.tell(name, StoreOutcome::of(&answer), now.saturating_sub(began));
        answer
    }

    /// Takes one step at a store of this process.
    pub(crate) async fn ask<T>(
        &self,
        name: StoreStep,
        step: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        // Nobody asks for the time where nobody wants to know it.
        let began = self.watch.observer.as_ref().map(|_| self.clock.elapsed());
        let answer = step.await;
        if let Some(began) = began {
            let took = self.clock.elapsed().saturating_sub(began);
            self.tell(name, StoreOutcome::of(&answer), took);
        }
        answer
    }

    fn tell(&self, step: StoreStep, outcome: StoreOutcome, took: Duration) {
        if let Some(observer) = &self.watch.observer {
            observer.ended(step, outcome, took);
        }
    }
}
