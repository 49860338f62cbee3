//! The store's side of the rate limit.

use std::future::Future;
use std::time::Duration;

use super::quota::{Quota, Verdict};
use crate::error::StoreError;
use crate::guarded::Guarded;
use crate::principal::{Caller, KeyVersion};
use crate::telemetry::StoreStep;

/// What a store says to the charge of a request whose key record it may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The request was judged, and counted if it passed.
    Judged(Verdict),
    /// The key record is another one by now. Nothing was counted: whoever asked reads the
    /// record anew and judges the request by that.
    Outdated,
}

/// Counts the requests of callers.
///
/// Asked once for every authenticated request, by [`RateLimit`](super::RateLimit) or by
/// the whole stack. One call is one atomic step: it reads the caller's counter, judges
/// the request by [`Quota::judge`] under the store's own clock, and writes the counter
/// back; two processes that share a store never let more pass than one would.
///
/// A verdict that is wrong in favour of a caller costs the upstream some load; one that
/// is wrong against it refuses a good request. A call whose reply was lost may be
/// counted although it never passed: it is not repeated.
///
/// When the store is lost, return an error and do not wait: the layer goes on counting
/// by itself (contract §7).
pub trait Counters: Clone + Send + Sync + 'static {
    /// Whether the counters live in this process and cannot be lost without it. Nothing
    /// is then remembered beside them, and no deadline is set.
    fn is_local(&self) -> bool {
        false
    }

    /// Charges one request of this caller.
    fn hit(
        &self,
        caller: &Caller,
        quota: &Quota,
    ) -> impl Future<Output = Result<Verdict, StoreError>> + Send;

    /// What [`hit`](Self::hit) would answer now. Nothing is counted.
    ///
    /// Asked where a request is [explained](crate::ApiLayer::explain), never by a layer.
    fn peek_hit(
        &self,
        caller: &Caller,
        quota: &Quota,
    ) -> impl Future<Output = Result<Verdict, StoreError>> + Send;

    /// Charges one request, provided that the key record is still in this state.
    ///
    /// A store that keeps key records beside its counters compares the version in the same
    /// atomic step, and so a revocation or a new limit holds on the next request (design
    /// D7). One that knows nothing of this key just charges.
    fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: KeyVersion<'_>,
    ) -> impl Future<Output = Result<Charge, StoreError>> + Send {
        let _unknown = key;
        async { self.hit(caller, quota).await.map(Charge::Judged) }
    }
}

// === impl Charge ===

impl Charge {
    /// The verdict; none where the record has changed.
    pub const fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Judged(verdict) => Some(verdict),
            Self::Outdated => None,
        }
    }
}

// === impl Guarded ===

impl<S: Counters> Counters for Guarded<S> {
    fn is_local(&self) -> bool {
        self.store.is_local()
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        if self.store.is_local() {
            // Every request comes here. Whom nobody watches is not made to pay for telling,
            // in its future either: hence the box.
            if !self.is_observed() {
                return self.store.hit(caller, quota).await;
            }
            let step = self.store.hit(caller, quota);
            return Box::pin(self.ask(StoreStep::Hit, step)).await;
        }
        // In a box, so that the future of a request to a local store has no room for it.
        Box::pin(self.guard(StoreStep::Hit, HIT, self.store.hit(caller, quota))).await
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        self.look(HIT, self.store.peek_hit(caller, quota)).await
    }

    async fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: KeyVersion<'_>,
    ) -> Result<Charge, StoreError> {
        if self.store.is_local() {
            let step = self.store.hit_current(caller, quota, key);
            return self.ask(StoreStep::Hit, step).await;
        }
        let step = self.store.hit_current(caller, quota, key);
        Box::pin(self.guard(StoreStep::Hit, HIT, step)).await
    }
}

/// A rate limit is not worth a longer wait (contract §7).
const HIT: Duration = Duration::from_millis(50);
