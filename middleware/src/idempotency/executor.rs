//! From a keyed request to its claim, and from the claim to its execution.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response};
use http_body::Body as HttpBody;
use tokio::sync::oneshot;
use tower_service::Service;

use super::buffer::{self, Buffered};
use super::execution::Execution;
use super::fingerprint;
use super::key::IdempotencyKey;
use super::pending::Pending;
use super::record::{Attempt, Decision, Owner};
use super::records::Records;
use crate::body::{Body, Capped, RequestBody};
use crate::budget::{Budget, Reservation};
use crate::clock::{SharedClock, Timestamp};
use crate::context::{Claim, CorrelationId, Terms};
use crate::entropy::SharedEntropy;
use crate::error::{ApiError, ErrorFormat, StoreError, StoreErrorKind};
use crate::principal::Principal;
use crate::route::{Policy, UpstreamKind};
use crate::tasks::Tasks;
use crate::telemetry::{self, KeyedDecision, Observer};

/// Executes keyed requests once.
#[derive(Clone, Debug)]
pub struct Executor<T> {
    records: T,
    shared: Arc<Options>,
}

/// What an [`Executor`] needs beside its records.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where executions run.
    pub tasks: Tasks,
    /// What all buffered bodies may take together.
    pub budget: Budget,
    /// For the ids of requests that have none.
    pub clock: SharedClock,
    /// For tokens.
    pub entropy: SharedEntropy,
    /// How an error is written before it is kept.
    pub error_format: ErrorFormat,
    /// How long a claim holds unless it is renewed; 10 s.
    pub lease: Duration,
    /// How often it is renewed; 3 s.
    pub renewal: Duration,
    /// How long a response is replayed; 24 h.
    pub retention: Duration,
    /// The longest response that is kept; 256 KiB.
    pub kept_bytes: usize,
    /// How long after its head a response may take to be kept; 1 s.
    pub kept_within: Duration,
    /// Headers that are kept beside `Content-Type`, `Location` and `Content-Language`.
    pub kept_headers: Vec<HeaderName>,
}

/// A request that may be claimed, and the place in which it would be executed.
pub(crate) struct Keyed<B, T: Records> {
    request: Request<RequestBody<B>>,
    /// Of the request, to be judged by.
    body: Bytes,
    policy: Arc<Policy>,
    held: Reservation,
    attempt: Attempt,
    pending: Pending<T>,
}

// === impl Executor ===

impl<T: Records> Executor<T> {
    /// Executes under claims at these records.
    pub fn new(records: T, options: Options) -> Self {
        Self {
            records,
            shared: Arc::new(options),
        }
    }

    /// The same executions at other records.
    pub(crate) fn looking_at<U: Records>(&self, records: U) -> Executor<U> {
        Executor {
            records,
            shared: Arc::clone(&self.shared),
        }
    }

    /// What all buffered bodies may take together.
    pub(crate) fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    /// The key under which a request asks to be executed; none where it is not keyed.
    ///
    /// # Errors
    ///
    /// 422 where the header is not a key, or the route demands one and none was sent.
    pub(crate) fn key_of<B>(
        policy: &Policy,
        request: &Request<B>,
    ) -> Result<Option<IdempotencyKey>, ApiError> {
        if policy.upstream_kind().is_none() || request.method() != Method::POST {
            return Ok(None);
        }
        match IdempotencyKey::from_headers(request.headers()) {
            Ok(None) if policy.requires_idempotency_key() => {
                Err(ApiError::missing_idempotency_key())
            }
            Ok(key) => Ok(key),
            Err(_) => Err(ApiError::invalid_idempotency_key()),
        }
    }

    /// Buffers a keyed request and works out what it asks for.
    ///
    /// # Errors
    ///
    /// 413, 408, 400 or 503 where it cannot be buffered; 503 where there is no place to
    /// execute it in.
    pub(crate) async fn prepare<B: HttpBody>(
        &self,
        request: Request<B>,
        key: IdempotencyKey,
        policy: &Arc<Policy>,
        principal: &Principal,
    ) -> Result<Keyed<B, T>, ApiError> {
        let (parts, body) = request.into_parts();
        let reservation = self.shared.budget.reserve_nothing();
        let cap = policy.bytes_allowed();
        let Buffered { bytes, held } =
            buffer::read_request(body, cap, reservation, policy.time_allowed()).await?;
        let attempt = Attempt {
            fingerprint: fingerprint::of(&parts.method, &parts.uri, &bytes),
            correlation_id: self.id_of(&parts.extensions),
            owner: Owner {
                caller: principal.caller().clone(),
                key,
                token: self.shared.entropy.draw(),
            },
            lease: self.shared.lease,
            retention: self.shared.retention,
            upstream: policy.upstream_kind().unwrap_or(UpstreamKind::Executes),
        };
        let pending = self.pending(&attempt.owner)?;
        let body = bytes.clone();
        let request = Request::from_parts(parts, Body::<Capped<B>>::full(bytes));
        Ok(Keyed {
            request,
            body,
            policy: Arc::clone(policy),
            held,
            attempt,
            pending,
        })
    }

    /// Claims the key.
    ///
    /// # Errors
    ///
    /// 503 where the store is lost or full.
    pub(crate) async fn claim<B>(&self, keyed: &mut Keyed<B, T>) -> Result<Decision, ApiError> {
        let answer = self.records.claim(keyed.ask()).await;
        keyed.settle(answer)
    }

    /// Executes a claimed request in a task of its own and waits for its response.
    pub(crate) async fn execute<S, B, R>(
        &self,
        mut inner: S,
        keyed: Keyed<B, T>,
        lease_ends: Timestamp,
    ) -> Result<Response<Body<R>>, S::Error>
    where
        S: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
            + Send
            + 'static,
        B: Send + 'static,
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
    {
        let Keyed {
            mut request,
            body: _,
            policy,
            held,
            attempt,
            pending,
        } = keyed;
        request
            .extensions_mut()
            .insert(attempt.claim(lease_ends, &self.shared));
        let (records, shared) = (self.records.clone(), Arc::clone(&self.shared));
        let format = shared.error_format.suited_to(request.headers());
        let mut execution = Execution::new(records, shared, policy, attempt, format);
        let (answer, answered) = oneshot::channel();
        pending.into_place().spawn(async move {
            // Called in here, so that a handler that panics at once is caught too.
            let call = async move { inner.call(request).await };
            let ending = execution.supervise(call).await;
            drop(held);
            // Nobody may be waiting any more: the work was done all the same.
            let _ = answer.send(execution.settle(ending).await);
            execution.catch_up().await;
        });
        answered
            .await
            .unwrap_or_else(|_| Ok(ApiError::internal().into_response()))
    }

    /// A claim is worth nothing without a place to work in, nor can it be taken back
    /// without one: the place comes first.
    fn pending(&self, owner: &Owner) -> Result<Pending<T>, ApiError> {
        let place = self.shared.tasks.reserve(&owner.caller);
        let place = place.map_err(|_saturated| ApiError::overloaded())?;
        let records = self.records.clone();
        Ok(Pending::new(
            records,
            owner.clone(),
            self.shared.lease,
            place,
        ))
    }

    fn id_of(&self, extensions: &http::Extensions) -> CorrelationId {
        let mint = || CorrelationId::mint(self.shared.clock.now(), self.shared.entropy.draw());
        extensions.get().cloned().unwrap_or_else(mint)
    }
}

// === impl Keyed ===

impl<B, T: Records> Keyed<B, T> {
    /// Judges the request by what is known of the caller.
    ///
    /// # Errors
    ///
    /// 403 where the key lacks the scope, or where the agent in the body is not its own.
    pub(crate) fn judge(&self, principal: &Principal) -> Result<(), ApiError> {
        let (method, headers) = (self.request.method(), self.request.headers());
        self.policy.judge(principal, method, headers)?;
        self.judge_agent(principal)
    }

    /// See [`Policy::judge_agent`].
    pub(crate) fn judge_agent(&self, principal: &Principal) -> Result<(), ApiError> {
        self.policy.judge_agent(principal, &self.body)
    }

    /// Tells the handler of a caller whose record has changed meanwhile.
    pub(crate) fn enter(&mut self, principal: &Principal) {
        self.request.extensions_mut().insert(principal.clone());
    }

    /// What is to be claimed. From now on the claim may stand at the store.
    pub(crate) fn ask(&mut self) -> &Attempt {
        self.pending.ask();
        &self.attempt
    }

    /// No claim was made: there is nothing to be taken back.
    pub(crate) fn close(&mut self) {
        self.pending.close();
    }

    /// What a store's answer to the claim means for the request. A claim that may have
    /// gone through is taken back in the background once the request is dropped.
    ///
    /// # Errors
    ///
    /// 503 where the store is lost or full.
    pub(crate) fn settle(
        &mut self,
        answer: Result<Decision, StoreError>,
    ) -> Result<Decision, ApiError> {
        let is_open = match &answer {
            Ok(decision) => matches!(decision, Decision::Execute { .. }),
            Err(cause) => cause.kind() == StoreErrorKind::Unanswered,
        };
        if !is_open {
            self.close();
        }
        telemetry::note(Observer::of(self.request.extensions()), |seen| {
            seen.idempotency = Some(told(&answer));
        });
        answer.map_err(|cause| {
            tracing::warn!(%cause, "a claim failed; nothing is executed");
            match cause.kind() {
                StoreErrorKind::Full => ApiError::idempotency_store_full(),
                StoreErrorKind::NotSent | StoreErrorKind::Unanswered => {
                    ApiError::idempotency_store_unavailable()
                }
            }
        })
    }
}

impl<B, T: Records> fmt::Debug for Keyed<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// The word for what a store said to a claim.
fn told(answer: &Result<Decision, StoreError>) -> KeyedDecision {
    match answer {
        Ok(Decision::Execute { .. }) => KeyedDecision::Executed,
        Ok(Decision::InProgress { .. }) => KeyedDecision::InProgress,
        Ok(Decision::InUse { .. }) => KeyedDecision::Mismatch,
        Ok(Decision::Replay(_)) => KeyedDecision::Replayed,
        Ok(Decision::NotStored { .. }) => KeyedDecision::NotStored,
        Ok(Decision::Unknown { .. }) => KeyedDecision::Unknown,
        Err(cause) if cause.kind() == StoreErrorKind::Full => KeyedDecision::Full,
        Err(_) => KeyedDecision::Unavailable,
    }
}

// === impl Options ===

impl Options {
    /// The defaults of the contract, with this clock and this entropy.
    pub fn new(clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self {
            tasks: Tasks::default(),
            budget: Budget::default(),
            clock,
            entropy,
            error_format: ErrorFormat::default(),
            lease: Duration::from_secs(10),
            renewal: Duration::from_secs(3),
            retention: Duration::from_secs(24 * 3600),
            kept_bytes: 256 << 10,
            kept_within: Duration::from_secs(1),
            kept_headers: Vec::new(),
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// What the handler and the upstream learn of the claim.
    pub(crate) fn claim(&self, lease_ends: Timestamp, options: &Options) -> Claim {
        Claim {
            idempotency_key: self.owner.key.as_bytes().clone(),
            fingerprint: self.fingerprint,
            // Earlier than at the store, by as much as the upstream's clock may be behind.
            lease_ends: lease_ends.before(Timestamp::SKEW),
            token: self.owner.token,
            terms: Some(Terms {
                caller: self.owner.caller.clone(),
                correlation_id: self.correlation_id.clone(),
                retention: self.retention,
                kept_bytes: options.kept_bytes,
                kept_headers: options.kept_headers.clone(),
                clock: options.clock.clone(),
            }),
        }
    }
}
