//! Builds the stack: what a team must say, and what it may.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::ApiLayer;
use super::admission::Admission;
use super::admit::Gate;
use super::edge::{Places, Rules};
use crate::api_key::{Authenticator, KeyFormat, Keyring, LastUsed, Peppers};
use crate::budget::Budget;
use crate::clock::{SharedClock, SystemClock};
use crate::correlation_id::CorrelateLayer;
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::error::ErrorFormat;
use crate::guarded::Guarded;
use crate::idempotency::{Executor, Options};
use crate::identity::Verifier;
use crate::rate_limit::{Limiter, Quota, WhenLost};
use crate::route::{InvalidRoute, Policy, Routes};
use crate::tasks::Tasks;
use crate::telemetry::StoreObserver;

/// Builds an [`ApiLayer`].
#[derive(Debug)]
#[must_use]
pub struct ApiLayerBuilder<S, K> {
    store: S,
    authenticator: Authenticator<K>,
    routes: Result<Routes, InvalidRoute>,
    quota: Quota,
    when_limits_lost: WhenLost,
    ietf_fields: bool,
    options: Options,
    trusted: Option<Verifier>,
    assertions_only: bool,
    in_flight_max: usize,
    store_observer: Option<Arc<dyn StoreObserver>>,
    lasting: Option<Lasting<S>>,
}

/// What a stack takes over from the one before it.
#[derive(Debug)]
struct Lasting<S> {
    store: Guarded<S>,
    limiter: Limiter<Guarded<S>>,
    tasks: Tasks,
    budget: Budget,
    in_flight: Arc<Places>,
}

/// Why a stack cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidApi {
    /// Only assertions are to be taken, and none is trusted.
    #[error("assertions_only() without trust_assertion() would refuse every request")]
    NoAssertionTrusted,
    /// There is no route, so every request would be answered 404.
    #[error("an API without a route answers 404 to every request: add one with route()")]
    NoRoute,
    /// A route is malformed or entered twice.
    #[error(transparent)]
    Route(#[from] InvalidRoute),
    /// A claim would lapse while its work is running.
    #[error("a lease of {lease:?} that is renewed every {renewal:?} lapses while the work runs")]
    RenewalTooLate {
        /// How long a claim holds.
        lease: Duration,
        /// How often it is renewed.
        renewal: Duration,
    },
}

// === impl ApiLayerBuilder ===

impl<S: Admission, K: Keyring> ApiLayerBuilder<S, K> {
    pub(super) fn new(store: S, keys: K) -> Self {
        Self {
            store,
            authenticator: Authenticator::new(keys),
            routes: Ok(Routes::default()),
            quota: Quota::per_minute(PER_MINUTE),
            when_limits_lost: WhenLost::default(),
            ietf_fields: false,
            options: Options::new(SystemClock::shared(), SystemEntropy::shared()),
            trusted: None,
            assertions_only: false,
            in_flight_max: IN_FLIGHT,
            store_observer: None,
            lasting: None,
        }
    }

    /// Adds a route: `METHOD /path` (see [`Routes::with`]).
    pub fn route(mut self, pattern: &str, policy: Policy) -> Self {
        self.routes = self.routes.and_then(|routes| routes.with(pattern, policy));
        self
    }

    /// The keys that are accepted; ours, of every brand and environment, by default.
    pub fn keys(mut self, format: KeyFormat) -> Self {
        self.authenticator = self.authenticator.format(format);
        self
    }

    /// The peppers of the keys' digests; none by default.
    pub fn peppers(mut self, peppers: Peppers) -> Self {
        self.authenticator = self.authenticator.peppers(peppers);
        self
    }

    /// Refuses revoked and expired keys under codes of their own.
    pub fn separate_codes(mut self) -> Self {
        self.authenticator = self.authenticator.separate_codes();
        self
    }

    /// Where the keys that are let in are noted; nowhere by default.
    pub fn last_used(mut self, last_used: LastUsed) -> Self {
        self.authenticator = self.authenticator.last_used(last_used);
        self
    }

    /// Requests a minute of a key that has no limit of its own; 60 by default.
    pub fn per_minute(mut self, limit: u32) -> Self {
        self.quota = self.quota.with_limit(limit);
        self
    }

    /// Spreads the limit evenly, and lets only so many requests pass at once.
    pub fn burst(mut self, burst: u32) -> Self {
        self.quota = self.quota.with_burst(burst);
        self
    }

    /// What holds for limits while the store is lost; this process counts alone, against
    /// the full limit, by default.
    pub fn when_limits_lost(mut self, when_lost: WhenLost) -> Self {
        self.when_limits_lost = when_lost;
        self
    }

    /// Writes the `RateLimit` fields of the IETF draft too.
    pub fn ietf_fields(mut self) -> Self {
        self.ietf_fields = true;
        self
    }

    /// Lets an assertion signed with one of these secrets vouch for a request.
    pub fn trust_assertion(mut self, verifier: impl Into<Verifier>) -> Self {
        self.trusted = Some(verifier.into());
        self
    }

    /// Takes no API keys: a request that no assertion vouches for is answered 503.
    pub fn assertions_only(mut self) -> Self {
        self.assertions_only = true;
        self
    }

    /// How errors are written; the contract's envelope by default.
    pub fn error_format(mut self, format: ErrorFormat) -> Self {
        self.options.error_format = format;
        self
    }

    /// How long a claim holds, and how often it is renewed; 10 s and 3 s by default.
    pub fn lease(mut self, lease: Duration, renewal: Duration) -> Self {
        self.options.lease = lease;
        self.options.renewal = renewal;
        self
    }

    /// How long a response is replayed; 24 h by default.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.options.retention = retention;
        self
    }

    /// Keeps these headers of a response too.
    pub fn kept_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.options.kept_headers = names.into_iter().collect();
        self
    }

    /// The longest response that is kept, and how long after its head it may take;
    /// 256 KiB and 1 s by default.
    pub fn kept(mut self, bytes: usize, within: Duration) -> Self {
        self.options.kept_bytes = bytes;
        self.options.kept_within = within;
        self
    }

    /// What all buffered bodies may take together; 64 MiB by default.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.options.budget = Budget::new(bytes);
        self
    }

    /// How many requests may wait for the head of their response; 10,000 by default.
    pub fn in_flight(mut self, most: usize) -> Self {
        self.in_flight_max = most;
        self
    }

    /// Who learns of the steps that are taken at the store; nobody by default.
    pub fn observe_store(mut self, observer: Arc<dyn StoreObserver>) -> Self {
        self.store_observer = Some(observer);
        self
    }

    /// Where keyed requests run.
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.options.tasks = tasks;
        self
    }

    /// The time; the machine's by default.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.authenticator = self.authenticator.clock(Arc::clone(&clock));
        self.options.clock = clock;
        self
    }

    /// The source of ids and tokens; the machine's by default.
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.options.entropy = entropy;
        self
    }

    /// Goes on where another stack is, for requests that come from here on: with its store
    /// and what is known of it, its tasks, and what is in flight and buffered there. So the
    /// two together stay within these limits while the other one ends what it has begun.
    pub fn in_place_of(mut self, old: &ApiLayer<S, K>) -> Self {
        let executor = &old.gate.executor;
        self.lasting = Some(Lasting {
            store: old.gate.store.clone(),
            limiter: old.gate.limiter.clone(),
            tasks: old.tasks.clone(),
            budget: executor.budget().clone(),
            in_flight: Arc::clone(&old.rules.in_flight),
        });
        self
    }

    /// The finished stack.
    ///
    /// # Errors
    ///
    /// [`InvalidApi`] where what was asked for cannot work.
    pub fn build(self) -> Result<ApiLayer<S, K>, InvalidApi> {
        let (lease, renewal) = (self.options.lease, self.options.renewal);
        let routes = self.routes?;
        if routes.is_empty() {
            return Err(InvalidApi::NoRoute);
        }
        if self.assertions_only && self.trusted.is_none() {
            return Err(InvalidApi::NoAssertionTrusted);
        }
        // A renewal that is lost once must not cost the claim.
        if renewal * 2 >= lease {
            return Err(InvalidApi::RenewalTooLate { lease, renewal });
        }
        let mut options = self.options;
        let clock = Arc::clone(&options.clock);
        let lasting = self.lasting.unwrap_or_else(|| {
            let store = Guarded::new(self.store, Arc::clone(&clock)).observed(self.store_observer);
            Lasting {
                limiter: Limiter::new(store.clone(), self.quota, Arc::clone(&clock)),
                store,
                tasks: options.tasks.clone(),
                budget: options.budget.clone(),
                in_flight: Arc::default(),
            }
        });
        options.budget = lasting.budget.limited(options.budget.limit());
        options.tasks = lasting.tasks.clone();
        let correlate = CorrelateLayer::new()
            .clock(Arc::clone(&clock))
            .entropy(Arc::clone(&options.entropy))
            .error_format(options.error_format.clone());
        let gate = Gate {
            authenticator: self.authenticator,
            limiter: lasting
                .limiter
                .quota(self.quota)
                .when_lost(self.when_limits_lost)
                .ietf_fields(self.ietf_fields),
            executor: Executor::new(lasting.store.clone(), options),
            store: lasting.store,
        };
        let rules = Rules {
            routes,
            trusted: self.trusted,
            assertions_only: self.assertions_only,
            clock,
            in_flight_max: self.in_flight_max,
            in_flight: lasting.in_flight,
        };
        Ok(ApiLayer {
            correlate,
            rules: Arc::new(rules),
            gate: Arc::new(gate),
            tasks: lasting.tasks,
        })
    }
}

/// Contract §5.
const PER_MINUTE: u32 = 60;

/// Enough for a pod to be busy, few enough that it stays within its memory.
const IN_FLIGHT: usize = 10_000;
