//! The layer that builds the idempotency service.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use tower_layer::Layer;

use super::executor::{Executor, Options};
use super::records::Records;
use super::service::Idempotency;
use crate::clock::{SharedClock, SystemClock};
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::error::ErrorFormat;
use crate::guarded::Guarded;
use crate::route::Policy;
use crate::tasks::Tasks;

/// Layer that applies [`Idempotency`].
///
/// See the [module docs](super) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct IdempotencyLayer<T> {
    records: T,
    options: Options,
    policy: Arc<Policy>,
}

// === impl IdempotencyLayer ===

impl<T: Records> IdempotencyLayer<T> {
    /// Keeps what became of keyed requests at this store, for a handler that executes
    /// whatever it is sent.
    pub fn new(records: T) -> Self {
        let options = Options::new(SystemClock::shared(), SystemEntropy::shared());
        Self {
            records,
            options,
            policy: Arc::new(Policy::authenticated().idempotent()),
        }
    }

    /// The policy of requests to which no route has given one.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// How long a claim holds, and how often it is renewed while the work runs.
    pub fn lease(mut self, lease: Duration, renewal: Duration) -> Self {
        self.options.lease = lease;
        self.options.renewal = renewal;
        self
    }

    /// How long a response is replayed.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.options.retention = retention;
        self
    }

    /// The longest response that is kept, and how long after its head it may take.
    pub fn kept(mut self, bytes: usize, within: Duration) -> Self {
        self.options.kept_bytes = bytes;
        self.options.kept_within = within;
        self
    }

    /// Keeps these headers too.
    pub fn kept_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.options.kept_headers = names.into_iter().collect();
        self
    }

    /// Where executions run, to be drained before the process ends.
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.options.tasks = tasks;
        self
    }

    /// How an error is written before it is kept.
    pub fn error_format(mut self, format: ErrorFormat) -> Self {
        self.options.error_format = format;
        self
    }

    /// The clock of the ids of requests that have none.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.options.clock = clock;
        self
    }

    /// The source of tokens.
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.options.entropy = entropy;
        self
    }
}

impl<S, T: Records> Layer<S> for IdempotencyLayer<T> {
    type Service = Idempotency<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        let guarded = Guarded::new(self.records.clone(), Arc::clone(&self.options.clock));
        Idempotency::new(
            inner,
            Executor::new(guarded, self.options.clone()),
            Arc::clone(&self.policy),
        )
    }
}
