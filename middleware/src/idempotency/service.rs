//! Middleware that executes a keyed request once.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::executor::Executor;
use super::record::Decision;
use super::records::Records;
use crate::body::{Body, Capped, RequestBody};
use crate::future::{BoxFuture, ready_clone};
use crate::guarded::Guarded;
use crate::principal::Principal;
use crate::route::{Policy, RouteMatch};

/// Middleware that executes a keyed request once and replays its response.
///
/// See the [module docs](super) for an example. A request without a key, or without a
/// [`Principal`], passes; its body is capped and never buffered.
#[derive(Clone, Debug)]
pub struct Idempotency<S, T> {
    inner: S,
    executor: Executor<Guarded<T>>,
    policy: Arc<Policy>,
}

// === impl Idempotency ===

impl<S, T> Idempotency<S, T> {
    pub(super) const fn new(inner: S, executor: Executor<Guarded<T>>, policy: Arc<Policy>) -> Self {
        Self {
            inner,
            executor,
            policy,
        }
    }
}

impl<S, T, B, R> Service<Request<B>> for Idempotency<S, T>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
        + Clone
        + Send
        + 'static,
    T: Records,
    B: HttpBody<Data: Send, Error: Send> + Send + 'static,
    R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = ready_clone(&mut self.inner);
        let executor = self.executor.clone();
        let found = request.extensions().get().and_then(RouteMatch::policy);
        let policy = Arc::clone(found.unwrap_or(&self.policy));
        Box::pin(async move {
            let principal = request.extensions().get::<Principal>().cloned();
            let key = match Executor::<T>::key_of(&policy, &request) {
                Ok(key) => key,
                Err(refusal) => return Ok(refusal.into_response()),
            };
            let (Some(key), Some(principal)) = (key, principal) else {
                let cap = policy.bytes_allowed();
                let request = request.map(|body| Body::inner(Capped::new(body, cap)));
                return Ok(inner.call(request).await?.map(Body::inner));
            };
            let claimed = async {
                let mut keyed = executor.prepare(request, key, &policy, &principal).await?;
                keyed.judge_agent(&principal)?;
                let decision = executor.claim(&mut keyed).await?;
                Ok((keyed, decision))
            };
            match claimed.await {
                Ok((keyed, Decision::Execute { lease_ends })) => {
                    executor.execute(inner, keyed, lease_ends).await
                }
                Ok((_, decision)) => Ok(decision
                    .answer()
                    .expect("every other decision is an answer")),
                Err(refusal) => Ok(crate::error::ApiError::into_response(refusal)),
            }
        })
    }
}
