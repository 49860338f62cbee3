//! Believing what a signer in front asserts.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseFuture;
use super::verify::Verifier;
use crate::body::Body;
use crate::clock::SharedClock;
use crate::error::ApiError;
use crate::header::VESTIBULE_IDENTITY;
use crate::telemetry;

/// Layer that applies [`Trust`].
#[derive(Clone, Debug)]
pub struct TrustLayer {
    verifier: Verifier,
    clock: SharedClock,
    required: bool,
}

/// Middleware that puts what a valid assertion says into the request's extensions:
/// [`Principal`](crate::Principal), [`CorrelationId`](crate::CorrelationId) and, for a
/// keyed request, [`Claim`](crate::Claim).
///
/// A refused assertion is answered 503, never 401: the client's key was good.
#[derive(Clone, Debug)]
pub struct Trust<S> {
    inner: S,
    layer: TrustLayer,
}

// === impl TrustLayer ===

impl TrustLayer {
    /// Believes this verifier, at this clock's time. A request without an assertion
    /// passes on as it is, to an authentication behind.
    pub const fn new(verifier: Verifier, clock: SharedClock) -> Self {
        Self {
            verifier,
            clock,
            required: false,
        }
    }

    /// Refuses a request without an assertion, with the same 503. Default: off.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    fn admit<B>(&self, request: &mut Request<B>) -> Result<(), ApiError> {
        let line = (request.method(), request.uri());
        let now = self.clock.now();
        let examined = self.verifier.examine(request.headers(), line, now);
        if matches!(examined, Ok(None)) && !self.required {
            return Ok(());
        }
        let asserted = examined.and_then(|asserted| {
            asserted.ok_or_else(|| {
                tracing::warn!("a request came without an identity assertion");
                ApiError::auth_store_unavailable()
            })
        });
        telemetry::vouched(
            request.extensions(),
            asserted.as_ref().ok().map(|it| &it.principal),
        );
        let asserted = asserted?;
        request.headers_mut().remove(VESTIBULE_IDENTITY);
        asserted.enter(request.extensions_mut());
        Ok(())
    }
}

impl<S> Layer<S> for TrustLayer {
    type Service = Trust<S>;

    fn layer(&self, inner: S) -> Trust<S> {
        Trust {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl Trust ===

impl<S, B, R> Service<Request<B>> for Trust<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.layer.admit(&mut request) {
            Ok(()) => ResponseFuture::passed(self.inner.call(request)),
            Err(refusal) => ResponseFuture::refused(refusal),
        }
    }
}
