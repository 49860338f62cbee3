//! The layer that builds the rate-limit service.

use tower_layer::Layer;

use super::counters::Counters;
use super::limiter::{Limiter, WhenLost};
use super::quota::Quota;
use super::service::RateLimit;
use crate::clock::{SharedClock, SystemClock};
use crate::guarded::Guarded;
use crate::principal::{Caller, Principal};

/// Layer that applies [`RateLimit`].
///
/// See the [module docs](super) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct RateLimitLayer<C> {
    limiter: Limiter<Guarded<C>>,
    key_by: KeyBy,
}

/// Whose budget a request is charged to.
pub(crate) type KeyBy = fn(&http::request::Parts) -> Option<Caller>;

// === impl RateLimitLayer ===

impl<C: Counters> RateLimitLayer<C> {
    /// Charges each caller's requests at this store, by this quota where the caller has
    /// no limit of its own.
    pub fn new(counters: C, quota: Quota) -> Self {
        Self::with_clock(counters, quota, SystemClock::shared())
    }

    /// The same, with a clock for what is judged without the store.
    pub fn with_clock(counters: C, quota: Quota, clock: SharedClock) -> Self {
        let guarded = Guarded::new(counters, clock.clone());
        Self {
            limiter: Limiter::new(guarded, quota, clock),
            key_by: by_principal,
        }
    }

    /// What holds while the store is lost; this process counts alone by default.
    pub fn when_lost(mut self, when_lost: WhenLost) -> Self {
        self.limiter = self.limiter.when_lost(when_lost);
        self
    }

    /// Writes the `RateLimit` fields of the IETF draft too.
    pub fn ietf_fields(mut self) -> Self {
        self.limiter = self.limiter.ietf_fields(true);
        self
    }

    /// Counts by something else than the caller's key family; a request for which
    /// there is nothing to count by is not limited.
    pub fn key_by(mut self, key_by: fn(&http::request::Parts) -> Option<Caller>) -> Self {
        self.key_by = key_by;
        self
    }
}

impl<S, C: Counters> Layer<S> for RateLimitLayer<C> {
    type Service = RateLimit<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limiter.clone(), self.key_by)
    }
}

fn by_principal(parts: &http::request::Parts) -> Option<Caller> {
    parts
        .extensions
        .get::<Principal>()
        .map(|principal| principal.caller().clone())
}
