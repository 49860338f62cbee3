//! The counters beside records that lie in a database.

use crate::error::StoreError;
use crate::memory;
use crate::principal::{Caller, KeyVersion};
use crate::rate_limit::{Charge, Counters, Quota, Verdict};
#[cfg(feature = "redis")]
use crate::redis;

/// Where requests are counted whose records lie in a database.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CountersBeside {
    /// In this process's memory: each process counts for itself.
    Memory(memory::Store),
    /// In a Redis that several processes share.
    #[cfg(feature = "redis")]
    Redis(redis::Store),
}

impl Counters for CountersBeside {
    fn is_local(&self) -> bool {
        match self {
            Self::Memory(store) => Counters::is_local(store),
            #[cfg(feature = "redis")]
            Self::Redis(store) => Counters::is_local(store),
        }
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        match self {
            Self::Memory(store) => store.hit(caller, quota).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.hit(caller, quota).await,
        }
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        match self {
            Self::Memory(store) => store.peek_hit(caller, quota).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.peek_hit(caller, quota).await,
        }
    }

    async fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: KeyVersion<'_>,
    ) -> Result<Charge, StoreError> {
        match self {
            Self::Memory(store) => store.hit_current(caller, quota, key).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.hit_current(caller, quota, key).await,
        }
    }
}
