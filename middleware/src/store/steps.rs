//! The steps of a store, taken at whichever of ours it is.

use std::time::Duration;

use super::Store;
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};
use crate::principal::{Caller, KeyVersion};
use crate::rate_limit::{Charge, Counters, Quota, Verdict};
use crate::stack::{Admission, Admitted};

/// Takes a step at the store that is there.
macro_rules! at {
    ($store:expr, $held:ident => $step:expr) => {
        match $store {
            Store::Memory($held) => $step,
            #[cfg(feature = "embedded")]
            Store::Embedded($held) => $step,
            #[cfg(feature = "redis")]
            Store::Redis($held) => $step,
            #[cfg(feature = "postgres")]
            Store::Postgres($held) => $step,
        }
    };
}

impl Counters for Store {
    fn is_local(&self) -> bool {
        at!(self, store => Counters::is_local(store))
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        at!(self, store => store.hit(caller, quota).await)
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        at!(self, store => store.peek_hit(caller, quota).await)
    }

    async fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: KeyVersion<'_>,
    ) -> Result<Charge, StoreError> {
        at!(self, store => store.hit_current(caller, quota, key).await)
    }
}

impl Records for Store {
    fn is_local(&self) -> bool {
        at!(self, store => Records::is_local(store))
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        at!(self, store => store.claim(attempt).await)
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        at!(self, store => store.peek_claim(attempt).await)
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        at!(self, store => store.renew(owner, lease).await)
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        at!(self, store => store.finish(owner, outcome, retention).await)
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        at!(self, store => store.release(owner).await)
    }
}

impl Admission for Store {
    fn is_one_step(&self) -> bool {
        at!(self, store => store.is_one_step())
    }

    async fn admit(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: Option<KeyVersion<'_>>,
        attempt: &Attempt,
    ) -> Admitted {
        at!(self, store => store.admit(caller, quota, key, attempt).await)
    }
}
