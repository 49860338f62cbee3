//! A store that fails when it is told to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};
use crate::principal::{Caller, KeyVersion};
use crate::rate_limit::{Charge, Counters, Quota, Verdict};
use crate::stack::{Admission, Admitted, hit_then_claim};

/// Wraps a store and breaks its steps; clones break together.
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    store: S,
    fault: Arc<Mutex<Option<Fault>>>,
    is_one_step: bool,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused at once, and nothing is applied.
    Refuses,
    /// It is never answered, and nothing is applied.
    Hangs,
    /// It is applied, and its answer is lost: the connection was cut.
    LosesReplies,
    /// It is applied, and its answer never comes.
    SwallowsReplies,
}

// === impl FaultyStore ===

impl<S> FaultyStore<S> {
    /// A store that works until it is broken.
    pub fn new(store: S) -> Self {
        Self {
            store,
            fault: Arc::default(),
            is_one_step: false,
        }
    }

    /// Charges and claims in one step, which breaks as a whole.
    #[must_use]
    pub fn in_one_step(self) -> Self {
        Self {
            is_one_step: true,
            ..self
        }
    }

    /// Lets every step fail from now on.
    pub fn breaks(&self, fault: Fault) {
        self.exchange(Some(fault));
    }

    /// Lets every step work again.
    pub fn heals(&self) {
        self.exchange(None);
    }

    fn exchange(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    async fn step<T>(
        &self,
        step: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let fault = *self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault {
            None => step.await,
            Some(Fault::Refuses) => Err(StoreError::not_sent()),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::LosesReplies) => {
                let _lost = step.await;
                Err(StoreError::unanswered())
            }
            Some(Fault::SwallowsReplies) => {
                let _lost = step.await;
                std::future::pending().await
            }
        }
    }
}

impl<S: Counters> Counters for FaultyStore<S> {
    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        self.step(self.store.hit(caller, quota)).await
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        self.step(self.store.peek_hit(caller, quota)).await
    }

    async fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: KeyVersion<'_>,
    ) -> Result<Charge, StoreError> {
        self.step(self.store.hit_current(caller, quota, key)).await
    }
}

impl<S: Records> Records for FaultyStore<S> {
    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        self.step(self.store.claim(attempt)).await
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        self.step(self.store.peek_claim(attempt)).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        self.step(self.store.renew(owner, lease)).await
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        self.step(self.store.finish(owner, outcome, retention))
            .await
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        self.step(self.store.release(owner)).await
    }
}

impl<S: Admission> Admission for FaultyStore<S> {
    fn is_one_step(&self) -> bool {
        self.is_one_step
    }

    async fn admit(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: Option<KeyVersion<'_>>,
        attempt: &Attempt,
    ) -> Admitted {
        if !self.is_one_step {
            return hit_then_claim(self, caller, quota, key, attempt).await;
        }
        let step = async { Ok(self.store.admit(caller, quota, key, attempt).await) };
        match self.step(step).await {
            Ok(answers) => answers,
            Err(cause) => (Err(cause), None),
        }
    }
}
