//! One execution under a claim: detached, renewed, ended by a deadline, kept.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method, Request, Response};
use http_body::Body as HttpBody;
use tokio::time::Instant;
use tower_service::Service;

use super::buffer::{self, Buffered, Reading};
use super::fingerprint;
use super::key::IdempotencyKey;
use super::record::{Attempt, Decision, Outcome, Owner};
use super::records::Records;
use super::replay::{Disposal, KeptResponse, mark_replayed};
use crate::body::{Body, Capped, RequestBody};
use crate::budget::{Budget, Reservation};
use crate::clock::{SharedClock, Timestamp};
use crate::context::{Claim, CorrelationId, Effect};
use crate::entropy::SharedEntropy;
use crate::error::{self, ApiError, ErrorFormat, StoreError, StoreErrorKind};
use crate::header::VESTIBULE_REPLAYED;
use crate::principal::Principal;
use crate::route::{Policy, UpstreamKind};
use crate::tasks::Tasks;

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

/// A request that may be claimed.
#[derive(Debug)]
pub(crate) struct Keyed<B> {
    request: Request<RequestBody<B>>,
    policy: Arc<Policy>,
    held: Reservation,
    pub(crate) attempt: Attempt,
}

/// How a call of the inner service ended.
enum Ending<T> {
    Answered(T),
    Late,
    Panicked,
}

/// A claim that is being worked under.
struct Execution<T> {
    records: T,
    shared: Arc<Options>,
    policy: Arc<Policy>,
    attempt: Attempt,
    claimed: Instant,
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
    /// 413, 408, 400 or 503 where it cannot be buffered; 403 where its agent is not the key's.
    pub(crate) async fn prepare<B: HttpBody>(
        &self,
        request: Request<B>,
        key: IdempotencyKey,
        policy: &Arc<Policy>,
        principal: &Principal,
    ) -> Result<Keyed<B>, ApiError> {
        let (parts, body) = request.into_parts();
        let reservation = self.shared.budget.reserve_nothing();
        let cap = policy.bytes_allowed();
        let Buffered { bytes, held } =
            buffer::read_request(body, cap, reservation, policy.time_allowed()).await?;
        policy.judge_agent(principal, &bytes)?;
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
        let request = Request::from_parts(parts, Body::<Capped<B>>::full(bytes));
        Ok(Keyed {
            request,
            policy: Arc::clone(policy),
            held,
            attempt,
        })
    }

    /// Claims the key.
    ///
    /// # Errors
    ///
    /// 503 where the store is lost or full.
    pub(crate) async fn claim(&self, attempt: &Attempt) -> Result<Decision, ApiError> {
        let answer = self.records.claim(attempt).await;
        self.settle_claim(attempt, answer)
    }

    /// What a store's answer to a claim means for the request. A claim that may have
    /// gone through is taken back in the background.
    pub(crate) fn settle_claim(
        &self,
        attempt: &Attempt,
        answer: Result<Decision, StoreError>,
    ) -> Result<Decision, ApiError> {
        let cause = match answer {
            Ok(decision) => return Ok(decision),
            Err(cause) => cause,
        };
        tracing::warn!(%cause, "a claim failed; nothing is executed");
        if cause.kind() == StoreErrorKind::Unanswered {
            self.take_back(&attempt.owner);
        }
        Err(match cause.kind() {
            StoreErrorKind::Full => ApiError::idempotency_store_full(),
            StoreErrorKind::NotSent | StoreErrorKind::Unanswered => {
                ApiError::idempotency_store_unavailable()
            }
        })
    }

    /// Executes a claimed request in a task of its own and waits for its response.
    pub(crate) async fn execute<S, B, R>(
        &self,
        mut inner: S,
        keyed: Keyed<B>,
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
            policy,
            held,
            attempt,
        } = keyed;
        request.extensions_mut().insert(attempt.claim(lease_ends));
        let owner = attempt.owner.clone();
        let execution = Execution {
            records: self.records.clone(),
            shared: Arc::clone(&self.shared),
            policy,
            attempt,
            claimed: Instant::now(),
        };
        let work = async move {
            let ending = execution.supervise(inner.call(request)).await;
            drop(held);
            execution.settle(ending).await
        };
        match self.shared.tasks.spawn(&owner.caller, work) {
            Ok(running) => running
                .await
                .unwrap_or_else(|_| Ok(ApiError::internal().into_response())),
            Err(_saturated) => {
                self.take_back(&owner);
                Ok(ApiError::overloaded().into_response())
            }
        }
    }

    fn id_of(&self, extensions: &http::Extensions) -> CorrelationId {
        let mint = || CorrelationId::mint(self.shared.clock.now(), self.shared.entropy.draw());
        extensions.get().cloned().unwrap_or_else(mint)
    }

    fn take_back(&self, owner: &Owner) {
        let (records, owner, lease) = (self.records.clone(), owner.clone(), self.shared.lease);
        // Where no task can be had, the lease ends by itself.
        let _ = self.shared.tasks.spawn(&owner.caller.clone(), async move {
            repeat(lease, || records.release(&owner)).await;
        });
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

// === impl Execution ===

impl<T: Records> Execution<T> {
    /// Polls the call until it ends, its deadline passes or it panics, and renews the
    /// lease meanwhile.
    async fn supervise<F: Future>(&self, call: F) -> Ending<F::Output> {
        tokio::select! {
            biased;
            ended = AssertUnwindSafe(call).catch_unwind() => match ended {
                Ok(answer) => Ending::Answered(answer),
                Err(_panic) => Ending::Panicked,
            },
            () = tokio::time::sleep(self.policy.time_allowed()) => Ending::Late,
            never = self.keep_renewing() => match never {},
        }
    }

    async fn keep_renewing(&self) -> Infallible {
        loop {
            tokio::time::sleep(self.shared.renewal).await;
            match self
                .records
                .renew(&self.attempt.owner, self.shared.lease)
                .await
            {
                Ok(true) => {}
                // The effect may be there already: the work goes on, and its end will
                // be refused by the store.
                Ok(false) => tracing::warn!("the lease of a running request was taken over"),
                Err(cause) => {
                    tracing::warn!(%cause, "the lease of a running request was not renewed")
                }
            }
        }
    }

    /// Ends the claim and gives the response back.
    async fn settle<R, E>(
        &self,
        ending: Ending<Result<Response<R>, E>>,
    ) -> Result<Response<Body<R>>, E>
    where
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin,
    {
        let made_up = match ending {
            Ending::Answered(Ok(response)) => {
                return Ok(self.settle_response(response.map(Body::inner)).await);
            }
            Ending::Answered(Err(error)) => Err(error),
            Ending::Late => Ok(ApiError::timeout().into_response()),
            Ending::Panicked => {
                tracing::error!("a handler panicked under a claim");
                self.end_panicked().await;
                return Ok(ApiError::internal().into_response());
            }
        };
        self.end_unanswered().await;
        made_up
    }

    async fn settle_response<R>(&self, response: Response<Body<R>>) -> Response<Body<R>>
    where
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin,
    {
        let id = &self.attempt.correlation_id;
        let mut response = error::render(response, &self.shared.error_format, id);
        let replayed = self.take_replay_mark(&mut response);
        let effect = response.extensions().get::<Effect>().copied();
        let original = replayed.as_ref().unwrap_or(id);
        match Disposal::of(
            &self.policy,
            self.attempt.upstream,
            response.status(),
            effect,
        ) {
            Disposal::Keep => response = self.keep(response, original).await,
            Disposal::Release => self.release().await,
            Disposal::Unanswered => self.end_unanswered().await,
        }
        if let Some(original) = &replayed {
            mark_replayed(response.headers_mut(), original);
        }
        response
    }

    /// Keeps a response before it is released, or notes that it could not be kept.
    async fn keep<R>(
        &self,
        response: Response<Body<R>>,
        original: &CorrelationId,
    ) -> Response<Body<R>>
    where
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin,
    {
        let (head, body) = response.into_parts();
        if is_endless(&head) || body.size_hint().lower() > self.shared.kept_bytes as u64 {
            self.finish(Outcome::NotStored).await;
            return Response::from_parts(head, body);
        }
        let held = self.shared.budget.reserve_nothing();
        match buffer::read_response(body, self.shared.kept_bytes, held, self.shared.kept_within)
            .await
        {
            Reading::Whole(bytes) => {
                let kept = KeptResponse::new(
                    &head,
                    bytes.clone(),
                    &self.shared.kept_headers,
                    original.clone(),
                );
                self.finish(Outcome::Done(Arc::new(kept))).await;
                Response::from_parts(head, Body::full(bytes))
            }
            Reading::Started(body) => {
                self.finish(Outcome::NotStored).await;
                Response::from_parts(head, body.flatten())
            }
            Reading::Cut => {
                self.end_unanswered().await;
                ApiError::bad_gateway().into_response()
            }
        }
    }

    /// Only a de-duplicating upstream may say that its answer is an earlier one's.
    fn take_replay_mark<R>(&self, response: &mut Response<Body<R>>) -> Option<CorrelationId> {
        let mark = response.headers_mut().remove(VESTIBULE_REPLAYED)?;
        let trusted = self.attempt.upstream == UpstreamKind::Deduplicates;
        trusted.then(|| CorrelationId::parse(&mark)).flatten()
    }

    /// The request was sent, and nobody can know what became of it.
    ///
    /// It may still be on its way to an upstream that de-duplicates, which takes it only
    /// while the lease that was sent along runs. Until then a repetition could be told
    /// "no" and the first one succeed after that, so the claim is left to lapse by itself.
    async fn end_unanswered(&self) {
        match self.attempt.upstream {
            UpstreamKind::Executes => self.finish(Outcome::Unknown).await,
            UpstreamKind::Deduplicates if self.claimed.elapsed() < self.attempt.lease => {}
            UpstreamKind::Deduplicates => self.release().await,
        }
    }

    /// The handler is gone, and with it whatever it had not committed.
    async fn end_panicked(&self) {
        match self.attempt.upstream {
            UpstreamKind::Executes => self.finish(Outcome::Unknown).await,
            UpstreamKind::Deduplicates => self.release().await,
        }
    }

    async fn finish(&self, outcome: Outcome) {
        let (records, owner) = (self.records.clone(), self.attempt.owner.clone());
        let retention = self.attempt.retention;
        match records.finish(&owner, &outcome, retention).await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                outcome = outcome.as_str(),
                "the claim was taken over before it ended"
            ),
            Err(cause) => {
                tracing::warn!(%cause, outcome = outcome.as_str(), "an outcome was not kept yet");
                let lease = self.shared.lease;
                let _ = self.shared.tasks.spawn(&owner.caller.clone(), async move {
                    repeat(lease, || records.finish(&owner, &outcome, retention)).await;
                });
            }
        }
    }

    async fn release(&self) {
        let (records, owner, lease) = (
            self.records.clone(),
            self.attempt.owner.clone(),
            self.shared.lease,
        );
        if let Err(cause) = records.release(&owner).await {
            tracing::warn!(%cause, "a claim was not released yet");
            let _ = self.shared.tasks.spawn(&owner.caller.clone(), async move {
                repeat(lease, || records.release(&owner)).await;
            });
        }
    }
}

// === impl Attempt ===

impl Attempt {
    /// What the handler and the upstream learn of the claim.
    pub(crate) fn claim(&self, lease_ends: Timestamp) -> Claim {
        Claim {
            idempotency_key: self.owner.key.as_bytes().clone(),
            fingerprint: self.fingerprint,
            // Earlier than at the store, by as much as the upstream's clock may be behind.
            lease_ends: lease_ends.before(Timestamp::SKEW),
            token: self.owner.token,
        }
    }
}

/// Repeats a step until the store has answered it or the lease it belongs to has ended.
async fn repeat<F, T>(lease: Duration, mut step: impl FnMut() -> F)
where
    F: Future<Output = Result<T, StoreError>>,
{
    let repeated = async {
        loop {
            tokio::time::sleep(AGAIN).await;
            if step().await.is_ok() {
                return;
            }
        }
    };
    if tokio::time::timeout(lease, repeated).await.is_err() {
        tracing::error!("a store did not come back before a lease ended");
    }
}

/// A response that is made to go on: an event stream, or one that ends in trailers (gRPC).
fn is_endless(head: &http::response::Parts) -> bool {
    let Some(value) = head.headers.get(CONTENT_TYPE) else {
        return false;
    };
    [&b"text/event-stream"[..], b"application/grpc"]
        .iter()
        .any(|kind| {
            value
                .as_bytes()
                .get(..kind.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(kind))
        })
}

/// Often enough to be done soon after the store is back, seldom enough not to add to its load.
const AGAIN: Duration = Duration::from_millis(250);
