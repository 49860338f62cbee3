//! The store's side of idempotency.

use std::future::Future;
use std::time::Duration;

use super::record::{Attempt, Decision, Outcome, Owner, Preview};
use crate::error::StoreError;
use crate::guarded::Guarded;
use crate::telemetry::StoreStep;

/// Keeps what became of keyed requests.
///
/// Asked by [`Idempotency`](super::Idempotency) or by the whole stack: once before a
/// keyed request is executed, every few seconds while it runs, and once when it has
/// ended. One call is one atomic step under the store's own clock, is judged by the
/// function of the same name of [`Record`](super::Record), compares the token, and may
/// be repeated with the same token: a step whose reply was lost can be asked again or
/// taken back.
///
/// A claim that is granted twice executes something twice: this is the one mistake that
/// a store must not make. A live record that is dropped does the same, so none is ever
/// evicted; a full store refuses new claims with [`StoreError::full`].
///
/// When the store is lost, return an error and do not wait: a claim then becomes 503
/// and executes nothing, and a finish is repeated until the lease ends (contract §7).
pub trait Records: Clone + Send + Sync + 'static {
    /// Whether the records live in this process and cannot be lost without it. No
    /// deadline is set then.
    fn is_local(&self) -> bool {
        false
    }

    /// Claims a key, or says what became of the first request that did.
    fn claim(&self, attempt: &Attempt)
    -> impl Future<Output = Result<Decision, StoreError>> + Send;

    /// What [`claim`](Self::claim) would answer now, and an error where it would be one for
    /// want of room. Nothing is claimed. Room is judged as if what is over had gone; a store
    /// that learns only by writing that it has none answers as if it had.
    ///
    /// Asked where a request is [explained](crate::ApiLayer::explain), never by a layer.
    fn peek_claim(
        &self,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<Preview, StoreError>> + Send;

    /// Extends the lease; false where the claim is no longer this owner's.
    fn renew(
        &self,
        owner: &Owner,
        lease: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends the execution; false where the claim is no longer this owner's.
    fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Takes the claim back, as if nothing had been asked; false where it is no longer
    /// this owner's.
    fn release(&self, owner: &Owner) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

// === impl Guarded ===

impl<S: Records> Records for Guarded<S> {
    fn is_local(&self) -> bool {
        self.store.is_local()
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        let step = self.store.claim(attempt);
        if self.store.is_local() {
            return self.ask(StoreStep::Claim, step).await;
        }
        self.guard(StoreStep::Claim, CLAIM, step).await
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        self.look(CLAIM, self.store.peek_claim(attempt)).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        let step = self.store.renew(owner, lease);
        if self.store.is_local() {
            return self.ask(StoreStep::Renew, step).await;
        }
        self.guard(StoreStep::Renew, CLAIM, step).await
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let step = self.store.finish(owner, outcome, retention);
        if self.store.is_local() {
            return self.ask(StoreStep::Finish, step).await;
        }
        self.guard(StoreStep::Finish, CLAIM, step).await
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        let step = self.store.release(owner);
        if self.store.is_local() {
            return self.ask(StoreStep::Release, step).await;
        }
        self.guard(StoreStep::Release, CLAIM, step).await
    }
}

/// A claim decides whether something is executed twice: worth a longer wait than a
/// limit (contract §7).
const CLAIM: Duration = Duration::from_millis(200);
