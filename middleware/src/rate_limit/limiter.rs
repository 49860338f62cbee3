//! The limiter behind the layer: whose quota, and what holds while the store is lost.

use std::sync::{Arc, Mutex, PoisonError};

use super::counters::Counters;
use super::quota::{Quota, Verdict};
use super::table::CounterTable;
use crate::clock::SharedClock;
use crate::error::{ApiError, StoreError};
use crate::principal::{Caller, Principal};

/// Charges requests at a store, and by itself while the store is lost.
#[derive(Clone, Debug)]
pub struct Limiter<C> {
    counters: C,
    quota: Quota,
    clock: SharedClock,
    /// What the store said last, to go on from.
    noted: Arc<Mutex<CounterTable>>,
}

// === impl Limiter ===

impl<C: Counters> Limiter<C> {
    /// Charges at these counters, by this quota where the caller has no limit of its own.
    pub fn new(counters: C, quota: Quota, clock: SharedClock) -> Self {
        let noted = Arc::new(Mutex::new(CounterTable::new(NOTED)));
        Self {
            counters,
            quota,
            clock,
            noted,
        }
    }

    /// The quota of a caller; the default where it is not known who that is.
    pub fn quota_of(&self, principal: Option<&Principal>) -> Quota {
        let Some(principal) = principal else {
            return self.quota;
        };
        let quota = match principal.per_minute() {
            Some(limit) => self.quota.with_limit(limit),
            None => self.quota,
        };
        match (quota.burst(), principal.burst()) {
            (Some(_), Some(burst)) => quota.with_burst(burst),
            _ => quota,
        }
    }

    /// Charges one request.
    ///
    /// # Errors
    ///
    /// 503 where neither the store nor this process has room for another caller.
    pub async fn charge(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, ApiError> {
        let answer = self.counters.hit(caller, quota).await;
        self.settle(caller, quota, answer)
    }

    /// Notes what the store said, or judges without it.
    pub(crate) fn settle(
        &self,
        caller: &Caller,
        quota: &Quota,
        answer: Result<Verdict, StoreError>,
    ) -> Result<Verdict, ApiError> {
        if self.counters.is_local() {
            return answer.map_err(|_| ApiError::overloaded());
        }
        let now = self.clock.now();
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(verdict) => {
                noted.note(caller, quota, &verdict, now);
                Ok(verdict)
            }
            Err(cause) => {
                tracing::debug!(%cause, "the rate limit is counted in this process alone");
                noted
                    .hit(caller, quota, now)
                    .ok_or_else(ApiError::overloaded)
            }
        }
    }
}

/// As many callers as a pod sees in a minute, at about 150 bytes each.
const NOTED: usize = 100_000;
