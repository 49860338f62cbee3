//! The limiter behind the layer: whose quota, and what holds while the store is lost.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use super::counters::{Charge, Counters};
use super::quota::{Quota, Verdict};
use super::table::CounterTable;
use crate::clock::SharedClock;
use crate::error::{ApiError, StoreError};
use crate::principal::{Caller, Principal};
use crate::telemetry::{self, LimitDecision, Observer};

/// Charges requests at a store, and by itself while the store is lost.
#[derive(Clone, Debug)]
pub struct Limiter<C> {
    counters: C,
    quota: Quota,
    clock: SharedClock,
    when_lost: WhenLost,
    ietf_fields: bool,
    /// What the store said last, to go on from.
    noted: Arc<Mutex<CounterTable>>,
    /// Whether it says what a charge would come to, and charges nothing.
    is_onlooker: bool,
}

/// What holds while the store of the limit is lost (contract §7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenLost {
    /// This process counts alone, against the full limit: what passes in all is at most
    /// as many times the limit as there are processes.
    #[default]
    Count,
    /// This process counts alone, against the limit divided by so many, rounded up: for
    /// as many processes. Whoever has had more than that already waits for its window's end.
    Share(NonZeroU32),
    /// Nothing passes: 503 `overloaded`.
    Refuse,
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
            when_lost: WhenLost::default(),
            ietf_fields: false,
            noted,
            is_onlooker: false,
        }
    }

    /// The same limits at other counters, of which this process notes nothing.
    pub(crate) fn looking_at<D>(&self, counters: D) -> Limiter<D> {
        Limiter {
            counters,
            quota: self.quota,
            clock: Arc::clone(&self.clock),
            when_lost: self.when_lost,
            ietf_fields: self.ietf_fields,
            noted: Arc::clone(&self.noted),
            is_onlooker: true,
        }
    }

    /// Another quota, from here on: what was counted stays counted.
    #[must_use]
    pub(crate) fn quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    /// What holds while the store is lost; this process counts alone by default.
    #[must_use]
    pub fn when_lost(mut self, when_lost: WhenLost) -> Self {
        self.when_lost = when_lost;
        self
    }

    /// Whether the fields of the IETF draft are written beside ours; off by default.
    #[must_use]
    pub fn ietf_fields(mut self, written: bool) -> Self {
        self.ietf_fields = written;
        self
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
    /// 503 where neither the store nor this process has room for another caller, or where
    /// the store is lost and nothing is to pass without it.
    pub async fn charge(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, ApiError> {
        self.charge_observed(caller, quota, None).await
    }

    /// The same, where somebody may want to know of it.
    pub(super) async fn charge_observed(
        &self,
        caller: &Caller,
        quota: &Quota,
        observer: Option<&Observer>,
    ) -> Result<Verdict, ApiError> {
        let answer = self.counters.hit(caller, quota).await;
        self.settle(caller, quota, answer, observer)
    }

    /// Charges one request by the state of its key record; none where the record has
    /// changed, and nothing was charged.
    ///
    /// # Errors
    ///
    /// As [`charge`](Self::charge).
    pub(crate) async fn charge_current(
        &self,
        principal: &Principal,
        quota: &Quota,
        observer: Option<&Observer>,
    ) -> Result<Option<Verdict>, ApiError> {
        let caller = principal.caller();
        let Some(key) = principal.tracked_version() else {
            let charged = self.charge_observed(caller, quota, observer).await;
            return charged.map(Some);
        };
        let answer = self.counters.hit_current(caller, quota, key).await;
        self.settle_current(caller, quota, answer, observer)
    }

    /// As [`settle`](Self::settle); none where the key record has changed.
    pub(crate) fn settle_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        answer: Result<Charge, StoreError>,
        observer: Option<&Observer>,
    ) -> Result<Option<Verdict>, ApiError> {
        let answer = match answer {
            Ok(Charge::Outdated) => return Ok(None),
            Ok(Charge::Judged(verdict)) => Ok(verdict),
            Err(cause) => Err(cause),
        };
        self.settle(caller, quota, answer, observer).map(Some)
    }

    /// Tells a caller about its budget, in the headers of its response.
    pub(crate) fn tell(&self, verdict: &Verdict, headers: &mut HeaderMap) {
        verdict.write(headers);
        if self.ietf_fields {
            verdict.write_ietf(self.quota.window(), self.clock.now(), headers);
        }
    }

    fn settle(
        &self,
        caller: &Caller,
        quota: &Quota,
        answer: Result<Verdict, StoreError>,
        observer: Option<&Observer>,
    ) -> Result<Verdict, ApiError> {
        let is_degraded = answer.is_err();
        let settled = self.judge(caller, quota, answer);
        telemetry::note(observer, |seen| {
            seen.limit = Some(match (&settled, is_degraded) {
                (Err(_), _) => LimitDecision::Unavailable,
                (Ok(verdict), true) if verdict.allowed => LimitDecision::AllowedDegraded,
                (Ok(_), true) => LimitDecision::LimitedDegraded,
                (Ok(verdict), false) if verdict.allowed => LimitDecision::Allowed,
                (Ok(_), false) => LimitDecision::Limited,
            });
        });
        settled
    }

    /// Notes what the store said, or judges without it.
    fn judge(
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
                if !self.is_onlooker {
                    noted.note(caller, quota, &verdict, now);
                }
                Ok(verdict)
            }
            Err(cause) => {
                tracing::debug!(%cause, "the rate limit is counted in this process alone");
                let quota = self.when_lost.quota(quota);
                let judged = quota.and_then(|quota| match self.is_onlooker {
                    true => noted.peek(caller, &quota, now),
                    false => noted.hit(caller, &quota, now),
                });
                judged.ok_or_else(ApiError::overloaded)
            }
        }
    }
}

// === impl WhenLost ===

impl WhenLost {
    /// What this process counts against; nothing where it does not count.
    const fn quota(self, quota: &Quota) -> Option<Quota> {
        match self {
            Self::Count => Some(*quota),
            Self::Share(processes) => {
                Some(quota.with_limit(quota.limit().div_ceil(processes.get())))
            }
            Self::Refuse => None,
        }
    }
}

/// As many callers as a pod sees in a minute, and as many bytes each as the example `sizes` prints.
const NOTED: usize = 100_000;
