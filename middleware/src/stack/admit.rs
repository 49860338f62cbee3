//! Whether a request is admitted: key, limit, policy and claim, in the order of contract §3.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::admission::Admission;
use super::calling::{answered, call_capped, over_limit, uncharged};
use crate::api_key::{Authenticator, Keyring};
use crate::body::{Body, RequestBody};
use crate::context::Vouched;
use crate::error::ApiError;
use crate::future::{BoxFuture, ready_clone};
use crate::guarded::Guarded;
use crate::header::VESTIBULE_REPLAYED;
use crate::idempotency::{Decision, Executor, IdempotencyKey, Keyed};
use crate::principal::Principal;
use crate::rate_limit::{Limiter, Verdict};
use crate::route::{Policy, RouteMatch};
use crate::telemetry::{self, KeyDecision, Observer};

/// Middleware that asks who is calling, charges the request, holds it against its route
/// and claims its Idempotency-Key.
#[derive(Debug)]
pub struct Admit<T, S, K> {
    inner: T,
    gate: Arc<Gate<S, K>>,
}

/// What an [`Admit`] asks.
#[derive(Debug)]
pub(super) struct Gate<S, K> {
    pub(super) authenticator: Authenticator<K>,
    pub(super) store: Guarded<S>,
    pub(super) limiter: Limiter<Guarded<S>>,
    pub(super) executor: Executor<Guarded<S>>,
}

// === impl Admit ===

impl<T, S, K> Admit<T, S, K> {
    pub(super) const fn new(inner: T, gate: Arc<Gate<S, K>>) -> Self {
        Self { inner, gate }
    }
}

impl<T: Clone, S, K> Clone for Admit<T, S, K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            gate: Arc::clone(&self.gate),
        }
    }
}

impl<T, S, K, B, R> Service<Request<B>> for Admit<T, S, K>
where
    T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
        + Clone
        + Send
        + 'static,
    S: Admission,
    K: Keyring,
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
        Box::pin(Arc::clone(&self.gate).pass(inner, request))
    }
}

// === impl Gate ===

impl<S: Admission, K: Keyring> Gate<S, K> {
    /// Every request is moved into this future, so whatever is not the usual way of one
    /// has a box of its own.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice, and a box over 1 KiB costs twice as much"
    )]
    fn pass<T, B, R>(
        self: Arc<Self>,
        mut inner: T,
        mut request: Request<B>,
    ) -> impl Future<Output = Result<Response<Body<R>>, T::Error>> + Send
    where
        T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
            + Send
            + 'static,
        B: HttpBody<Data: Send, Error: Send> + Send + 'static,
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
    {
        async move {
            let known = request.extensions();
            let is_vouched = known.get::<Vouched>().is_some();
            let found = known.get().cloned().unwrap_or(RouteMatch::Unmatched);
            let principal = known.get::<Principal>().cloned();
            // Looked for once: each look costs what it costs to find nothing.
            let observer = Observer::of(known).cloned();
            let observer = observer.as_ref();
            if is_vouched || found.is_public() {
                if principal.is_none() {
                    telemetry::note(observer, |seen| {
                        seen.key = Some(KeyDecision::Public);
                    });
                    self.authenticator.strip(request.headers_mut());
                }
                return Box::pin(uncharged(inner, request, found, is_vouched)).await;
            }
            let principal = match principal {
                Some(principal) => {
                    telemetry::note(observer, |seen| {
                        seen.key.get_or_insert(KeyDecision::Given);
                        seen.caller = Some(principal.clone());
                    });
                    principal
                }
                None => match self.authenticator.introduce(&mut request, observer).await {
                    Ok(principal) => principal,
                    Err(refusal) => return Ok(refusal.into_response()),
                },
            };
            let judged = match judge::<S, B>(&request, found, &principal) {
                Ok((policy, Some(key))) => {
                    let passed = self.pass_keyed(inner, request, policy, key, principal, observer);
                    return Box::pin(passed).await;
                }
                Ok((policy, None)) => Ok(policy),
                Err(refusal) => Err(refusal),
            };
            let quota = self.limiter.quota_of(Some(&principal));
            let charged = self.limiter.charge_current(&principal, &quota, observer);
            let verdict = match charged.await {
                Ok(Some(verdict)) => verdict,
                Ok(None) => return self.pass_anew(inner, request, principal).await,
                Err(refusal) => return Ok(refusal.into_response()),
            };
            let mut response = match judged {
                _ if !verdict.allowed => over_limit(&verdict),
                Ok(policy) => {
                    let (call, wire) = call_capped(&mut inner, request, &policy);
                    answered(call.await, wire.as_ref(), &policy)?
                }
                Err(refusal) => refusal.into_response(),
            };
            response.headers_mut().remove(VESTIBULE_REPLAYED);
            self.limiter.tell(&verdict, response.headers_mut());
            Ok(response)
        }
    }

    /// Judges a request again whose key record turned out to be another one by now.
    ///
    /// It ends: each round needs another change of the record in the meantime.
    fn pass_anew<T, B, R>(
        self: Arc<Self>,
        inner: T,
        mut request: Request<B>,
        outdated: Principal,
    ) -> BoxFuture<Result<Response<Body<R>>, T::Error>>
    where
        T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
            + Send
            + 'static,
        B: HttpBody<Data: Send, Error: Send> + Send + 'static,
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            let observer = Observer::of(request.extensions());
            match self.authenticator.renew(&outdated, observer).await {
                Ok(principal) => request.extensions_mut().insert(principal),
                Err(refusal) => return Ok(refusal.into_response()),
            };
            self.pass(inner, request).await
        })
    }

    async fn pass_keyed<T, B, R>(
        &self,
        inner: T,
        request: Request<B>,
        policy: Arc<Policy>,
        key: IdempotencyKey,
        mut principal: Principal,
        observer: Option<&Observer>,
    ) -> Result<Response<Body<R>>, T::Error>
    where
        T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
            + Send
            + 'static,
        B: HttpBody<Data: Send, Error: Send> + Send + 'static,
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
    {
        let prepare = self.executor.prepare(request, key, &policy, &principal);
        let mut keyed = match prepare.await {
            Ok(keyed) => keyed,
            Err(refusal) => return Ok(self.refuse(principal, refusal, observer).await),
        };
        let (verdict, decision) = loop {
            match self.ask(&principal, &mut keyed, observer).await {
                Ok(Some(answers)) => break answers,
                // The key record is another one by now: the request is judged by that.
                Ok(None) => match self.authenticator.renew(&principal, observer).await {
                    Ok(renewed) => principal = renewed,
                    Err(refusal) => return Ok(refusal.into_response()),
                },
                Err(refusal) => return Ok(refusal.into_response()),
            }
            keyed.enter(&principal);
        };
        let mut response = match decision {
            Some(Ok(decision)) => self.answer(inner, keyed, decision).await?,
            Some(Err(refusal)) => refusal.into_response(),
            None => over_limit(&verdict),
        };
        self.limiter.tell(&verdict, response.headers_mut());
        Ok(response)
    }

    /// Charges a request that cannot be executed, and tells why.
    async fn refuse<R>(
        &self,
        mut principal: Principal,
        refusal: ApiError,
        observer: Option<&Observer>,
    ) -> Response<Body<R>> {
        let verdict = loop {
            let quota = self.limiter.quota_of(Some(&principal));
            let charged = self.limiter.charge_current(&principal, &quota, observer);
            match charged.await {
                Ok(Some(verdict)) => break verdict,
                Ok(None) => match self.authenticator.renew(&principal, observer).await {
                    Ok(renewed) => principal = renewed,
                    Err(refusal) => return refusal.into_response(),
                },
                Err(refusal) => return refusal.into_response(),
            }
        };
        let mut response = match verdict.allowed {
            true => refusal.into_response(),
            false => over_limit(&verdict),
        };
        self.limiter.tell(&verdict, response.headers_mut());
        response
    }

    /// Charges the request and claims its key, unless it is not to be executed anyway; none
    /// where the key record has changed.
    async fn ask<B>(
        &self,
        principal: &Principal,
        keyed: &mut Keyed<B, Guarded<S>>,
        observer: Option<&Observer>,
    ) -> Result<Option<Asked>, ApiError> {
        let (caller, quota) = (principal.caller(), self.limiter.quota_of(Some(principal)));
        if let Err(refusal) = keyed.judge(principal) {
            let charged = self.limiter.charge_current(principal, &quota, observer);
            let verdict = charged.await?;
            let told = |verdict: Verdict| (verdict, verdict.allowed.then_some(Err(refusal)));
            return Ok(verdict.map(told));
        }
        let key = principal.tracked_version();
        let (charge, claim) = self.store.admit(caller, &quota, key, keyed.ask()).await;
        if claim.is_none() {
            keyed.close();
        }
        let Some(verdict) = self
            .limiter
            .settle_current(caller, &quota, charge, observer)?
        else {
            return Ok(None);
        };
        let decision = match claim {
            Some(answer) => Some(keyed.settle(answer)),
            // The charge failed and was made up here; the claim has not been tried.
            None if verdict.allowed => Some(self.executor.claim(keyed).await),
            None => None,
        };
        Ok(Some((verdict, decision)))
    }

    async fn answer<T, B, R>(
        &self,
        inner: T,
        keyed: Keyed<B, Guarded<S>>,
        decision: Decision,
    ) -> Result<Response<Body<R>>, T::Error>
    where
        T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
            + Send
            + 'static,
        B: HttpBody<Data: Send, Error: Send> + Send + 'static,
        R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
    {
        match decision {
            Decision::Execute { lease_ends } => {
                self.executor.execute(inner, keyed, lease_ends).await
            }
            decision => Ok(decision
                .answer()
                .expect("every other decision is an answer")),
        }
    }
}

/// What became of the charge of a keyed request, and of its claim where it passed.
type Asked = (Verdict, Option<Result<Decision, ApiError>>);

/// Everything that can be said before the store is asked. It is told only after the
/// charge: whoever is over the limit learns nothing else.
fn judge<S: Admission, B>(
    request: &Request<B>,
    found: RouteMatch,
    principal: &Principal,
) -> Result<(Arc<Policy>, Option<IdempotencyKey>), ApiError> {
    let policy = found.into_policy()?;
    policy.judge(principal, request.method(), request.headers())?;
    let key = Executor::<Guarded<S>>::key_of(&policy, request)?;
    Ok((policy, key))
}
