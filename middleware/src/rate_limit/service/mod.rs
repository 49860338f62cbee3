//! Middleware that charges a request before it passes.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::counters::Counters;
use super::layer::KeyBy;
use super::limiter::Limiter;
use crate::body::Body;
use crate::error::ApiError;
use crate::future::{BoxFuture, ready_clone};
use crate::guarded::Guarded;
use crate::telemetry::Observer;

/// Middleware that charges each request to its caller's budget.
///
/// See the [module docs](super) for an example.
#[derive(Clone, Debug)]
pub struct RateLimit<S, C> {
    inner: S,
    limiter: Limiter<Guarded<C>>,
    key_by: KeyBy,
}

// === impl RateLimit ===

impl<S, C> RateLimit<S, C> {
    pub(super) const fn new(inner: S, limiter: Limiter<Guarded<C>>, key_by: KeyBy) -> Self {
        Self {
            inner,
            limiter,
            key_by,
        }
    }
}

impl<S, C, B, R> Service<Request<B>> for RateLimit<S, C>
where
    S: Service<Request<B>, Response = Response<R>, Future: Send> + Clone + Send + 'static,
    S::Error: Send,
    C: Counters,
    B: Send + 'static,
    R: Send,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut inner = ready_clone(&mut self.inner);
        let (limiter, key_by) = (self.limiter.clone(), self.key_by);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Some(caller) = key_by(&parts) else {
                return Ok(inner
                    .call(Request::from_parts(parts, body))
                    .await?
                    .map(Body::inner));
            };
            let quota = limiter.quota_of(parts.extensions.get());
            let verdict = match limiter
                .charge_observed(&caller, &quota, Observer::of(&parts.extensions))
                .await
            {
                Ok(verdict) => verdict,
                Err(refusal) => return Ok(refusal.into_response()),
            };
            let mut response = if verdict.allowed {
                inner
                    .call(Request::from_parts(parts, body))
                    .await?
                    .map(Body::inner)
            } else {
                ApiError::rate_limit_exceeded(verdict.limit, verdict.wait).into_response()
            };
            limiter.tell(&verdict, response.headers_mut());
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests;
