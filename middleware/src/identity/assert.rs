//! Telling the upstream who is calling.

use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::claims::Asserted;
use super::future::ResponseFuture;
use super::sign::Signer;
use crate::body::Body;
use crate::clock::SharedClock;
use crate::context::{Claim, CorrelationId};
use crate::error::ApiError;
use crate::header::{VESTIBULE_IDENTITY, X_CORRELATION_ID};
use crate::principal::Principal;

/// Layer that applies [`Assert`].
#[derive(Clone, Debug)]
pub struct AssertLayer {
    signer: Signer,
    clock: SharedClock,
}

/// Middleware that sends a signed assertion along with each request that has a
/// [`Principal`], in the place of its credentials.
///
/// It belongs innermost, right before the upstream. `X-Correlation-ID` goes along with
/// every request that has a [`CorrelationId`]; public routes carry no assertion, and
/// their `Authorization` is not touched.
#[derive(Clone, Debug)]
pub struct Assert<S> {
    inner: S,
    signer: Signer,
    clock: SharedClock,
}

// === impl AssertLayer ===

impl AssertLayer {
    /// Signs with this signer, at this clock's time.
    pub const fn new(signer: Signer, clock: SharedClock) -> Self {
        Self { signer, clock }
    }
}

impl<S> Layer<S> for AssertLayer {
    type Service = Assert<S>;

    fn layer(&self, inner: S) -> Assert<S> {
        Assert {
            inner,
            signer: self.signer.clone(),
            clock: self.clock.clone(),
        }
    }
}

// === impl Assert ===

impl<S> Assert<S> {
    fn assert<B>(&self, request: &mut Request<B>) -> Result<(), ApiError> {
        // Nobody in front may speak in our name.
        request.headers_mut().remove(VESTIBULE_IDENTITY);
        let id = request.extensions().get::<CorrelationId>().cloned();
        if let Some(principal) = request.extensions().get::<Principal>().cloned() {
            let now = self.clock.now();
            let asserted = Asserted {
                correlation_id: id.clone().unwrap_or_else(|| self.signer.mint_id(now)),
                claim: request.extensions().get::<Claim>().cloned(),
                principal,
            };
            let token = self
                .signer
                .sign(&asserted, request.method(), request.uri(), now)
                .map_err(|error| unsigned(&error, &asserted.principal))?;
            request.headers_mut().remove(AUTHORIZATION);
            request.headers_mut().insert(VESTIBULE_IDENTITY, token);
        }
        if let Some(id) = id {
            let id = id.as_header_value().clone();
            request.headers_mut().insert(X_CORRELATION_ID, id);
        }
        Ok(())
    }
}

impl<S, B, R> Service<Request<B>> for Assert<S>
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
        match self.assert(&mut request) {
            Ok(()) => ResponseFuture::passed(self.inner.call(request)),
            Err(refusal) => ResponseFuture::refused(refusal),
        }
    }
}

/// A fault of the configuration or of the key's record, not of the request.
fn unsigned(error: &super::SignError, principal: &Principal) -> ApiError {
    tracing::error!(%error, key = principal.key_id(), "no identity assertion can be made");
    ApiError::internal()
}
