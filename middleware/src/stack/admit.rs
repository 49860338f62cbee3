//! Whether a request is admitted: limit, policy and claim, in the order of contract §3.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::admission::Admission;
use crate::body::{Body, Capped, RequestBody, Tripwire};
use crate::context::Vouched;
use crate::error::ApiError;
use crate::future::{BoxFuture, ready_clone};
use crate::guarded::Guarded;
use crate::header::VESTIBULE_REPLAYED;
use crate::idempotency::{Attempt, Decision, Executor, Keyed};
use crate::principal::Principal;
use crate::rate_limit::{Limiter, Verdict};
use crate::route::{Policy, RouteMatch};

/// Middleware that charges a request, holds it against its route and claims its key.
#[derive(Debug)]
pub struct Admit<T, S> {
    inner: T,
    gate: Arc<Gate<S>>,
}

/// What an [`Admit`] asks.
#[derive(Debug)]
pub(super) struct Gate<S> {
    pub(super) store: Guarded<S>,
    pub(super) limiter: Limiter<Guarded<S>>,
    pub(super) executor: Executor<Guarded<S>>,
}

/// A request, judged by everything that needs no store.
enum Judged<B> {
    Refused(ApiError),
    Plain(Request<B>, Arc<Policy>),
    Keyed(Box<Keyed<B>>),
}

// === impl Admit ===

impl<T, S> Admit<T, S> {
    pub(super) const fn new(inner: T, gate: Arc<Gate<S>>) -> Self {
        Self { inner, gate }
    }
}

impl<T: Clone, S> Clone for Admit<T, S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            gate: Arc::clone(&self.gate),
        }
    }
}

impl<T, S, B, R> Service<Request<B>> for Admit<T, S>
where
    T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
        + Clone
        + Send
        + 'static,
    S: Admission,
    B: HttpBody<Data: Send, Error: Send> + Send + 'static,
    R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
{
    type Response = Response<Body<R>>;
    type Error = T::Error;
    type Future = BoxFuture<Result<Self::Response, T::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = ready_clone(&mut self.inner);
        let gate = Arc::clone(&self.gate);
        Box::pin(async move { gate.pass(inner, request).await })
    }
}

// === impl Gate ===

impl<S: Admission> Gate<S> {
    async fn pass<T, B, R>(
        &self,
        inner: T,
        request: Request<B>,
    ) -> Result<Response<Body<R>>, T::Error>
    where
        T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
            + Send
            + 'static,
        B: HttpBody<Data: Send, Error: Send> + Send + 'static,
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
    {
        let found = request
            .extensions()
            .get()
            .cloned()
            .unwrap_or(RouteMatch::Unmatched);
        let is_vouched = request.extensions().get::<Vouched>().is_some();
        if is_vouched || found.is_public() {
            return uncharged(inner, request, &found, is_vouched).await;
        }
        let Some(principal) = request.extensions().get::<Principal>().cloned() else {
            tracing::error!("a request came through authentication without a principal");
            return Ok(ApiError::internal().into_response());
        };
        let judged = self.judge(request, &found, &principal).await;
        let (verdict, decision) = match self.ask(&principal, judged.attempt()).await {
            Ok(answers) => answers,
            Err(refusal) => return Ok(refusal.into_response()),
        };
        let mut response = if verdict.allowed {
            self.answer(inner, judged, decision).await?
        } else {
            ApiError::rate_limit_exceeded(verdict.limit, verdict.wait).into_response()
        };
        verdict.write(response.headers_mut());
        Ok(response)
    }

    /// Everything that can be said before the store is asked. It is told only after the
    /// charge: whoever is over the limit learns nothing else.
    async fn judge<B: HttpBody>(
        &self,
        request: Request<B>,
        found: &RouteMatch,
        principal: &Principal,
    ) -> Judged<B> {
        let judged = async {
            let policy = found.found()?;
            policy.judge(principal, request.method(), request.headers())?;
            let key = Executor::<Guarded<S>>::key_of(policy, &request)?;
            match key {
                None => Ok(Judged::Plain(request, Arc::clone(policy))),
                Some(key) => {
                    let keyed = self
                        .executor
                        .prepare(request, key, policy, principal)
                        .await?;
                    Ok(Judged::Keyed(Box::new(keyed)))
                }
            }
        };
        judged.await.unwrap_or_else(Judged::Refused)
    }

    /// Charges the request and, where it is keyed, claims its key.
    async fn ask(
        &self,
        principal: &Principal,
        attempt: Option<&Attempt>,
    ) -> Result<(Verdict, Option<Result<Decision, ApiError>>), ApiError> {
        let (caller, quota) = (principal.caller(), self.limiter.quota_of(Some(principal)));
        let Some(attempt) = attempt else {
            return Ok((self.limiter.charge(caller, &quota).await?, None));
        };
        let (charge, claim) = self.store.admit(caller, &quota, attempt).await;
        let verdict = self.limiter.settle(caller, &quota, charge)?;
        let decision = match claim {
            Some(answer) => Some(self.executor.settle_claim(attempt, answer)),
            // The charge failed and was made up here; the claim has not been tried.
            None if verdict.allowed => Some(self.executor.claim(attempt).await),
            None => None,
        };
        Ok((verdict, decision))
    }

    async fn answer<T, B, R>(
        &self,
        inner: T,
        judged: Judged<B>,
        decision: Option<Result<Decision, ApiError>>,
    ) -> Result<Response<Body<R>>, T::Error>
    where
        T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
            + Send
            + 'static,
        B: HttpBody<Data: Send, Error: Send> + Send + 'static,
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
    {
        let keyed = match judged {
            Judged::Refused(refusal) => return Ok(refusal.into_response()),
            Judged::Plain(request, policy) => {
                let mut response = forward(inner, request, &policy).await?;
                response.headers_mut().remove(VESTIBULE_REPLAYED);
                return Ok(response);
            }
            Judged::Keyed(keyed) => *keyed,
        };
        match decision.expect("a keyed request that passed its limit was claimed") {
            Ok(Decision::Execute { lease_ends }) => {
                self.executor.execute(inner, keyed, lease_ends).await
            }
            Ok(decision) => Ok(decision
                .answer()
                .expect("every other decision is an answer")),
            Err(refusal) => Ok(refusal.into_response()),
        }
    }
}

// === impl Judged ===

impl<B> Judged<B> {
    /// What is to be claimed.
    fn attempt(&self) -> Option<&Attempt> {
        match self {
            Self::Keyed(keyed) => Some(&keyed.attempt),
            Self::Plain(..) | Self::Refused(_) => None,
        }
    }
}

/// Passes on a request that is not charged here: of a public route, or charged and
/// claimed already by the layers that vouch for it.
async fn uncharged<T, B, R>(
    inner: T,
    request: Request<B>,
    found: &RouteMatch,
    is_vouched: bool,
) -> Result<Response<Body<R>>, T::Error>
where
    T: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: HttpBody,
{
    let judged = found.found().and_then(|policy| {
        policy.judge_length(request.headers())?;
        Ok(policy)
    });
    let policy = match judged {
        Ok(policy) => policy,
        Err(refusal) => return Ok(refusal.into_response()),
    };
    let mut response = forward(inner, request, policy).await?;
    if !is_vouched {
        response.headers_mut().remove(VESTIBULE_REPLAYED);
    }
    Ok(response)
}

/// Calls the inner service with a streaming body, within the route's cap and deadline.
async fn forward<T, B, R>(
    mut inner: T,
    request: Request<B>,
    policy: &Policy,
) -> Result<Response<Body<R>>, T::Error>
where
    T: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: HttpBody,
{
    let (request, tripwire) = capped(request, policy.bytes_allowed());
    // Caught here, an answer to a panic still tells the caller's budget.
    let call = AssertUnwindSafe(async { inner.call(request).await }).catch_unwind();
    let answer = tokio::time::timeout(policy.time_allowed(), call).await;
    if tripwire.is_some_and(|wire| wire.is_tripped()) {
        return Ok(ApiError::payload_too_large(policy.bytes_allowed()).into_response());
    }
    match answer {
        Ok(Ok(answer)) => Ok(answer?.map(Body::inner)),
        Ok(Err(_panic)) => {
            tracing::error!("a handler panicked");
            Ok(ApiError::internal().into_response())
        }
        Err(_late) => Ok(ApiError::timeout().into_response()),
    }
}

/// A body of a known length has been judged by it; only the others need a wire.
fn capped<B: HttpBody>(
    request: Request<B>,
    cap: u64,
) -> (Request<RequestBody<B>>, Option<Tripwire>) {
    let (parts, body) = request.into_parts();
    let (body, wire) = if body.size_hint().upper().is_some_and(|most| most <= cap) {
        (Capped::new(body, cap), None)
    } else {
        let (body, wire) = Capped::tripping(body, cap);
        (body, Some(wire))
    };
    (Request::from_parts(parts, Body::inner(body)), wire)
}
