//! Correlation ids: one on every request, and the same one on its response.
//!
//! # Example
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt};
//! use vestibule::correlation_id::CorrelateLayer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(CorrelateLayer::new())
//!     .service_fn(|_: Request<()>| async { Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default())) });
//!
//! let request = Request::get("/").header("x-correlation-id", "mine").body(()).unwrap();
//! let response = service.clone().oneshot(request).await.unwrap();
//! assert_eq!(response.headers()["x-correlation-id"], "mine");
//!
//! let response = service.oneshot(Request::new(())).await.unwrap();
//! assert!(response.headers()["x-correlation-id"].to_str().unwrap().starts_with("req_"));
//! # }
//! ```
//!
//! An id that a caller sends is taken over where it is one value of 1 to 128 characters
//! of `[A-Za-z0-9._:-]`; anything else is ignored and a new id minted, never an error
//! (contract §2). The id goes into the request's header and extensions, into the span
//! around the inner service, and into the response. Being outermost, this layer also
//! writes the id and the chosen [`ErrorFormat`] into errors.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::Entry;
use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

use crate::body::Body;
use crate::clock::{SharedClock, SystemClock};
use crate::context::CorrelationId;
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::error::{self, ApiError, ErrorFormat};
use crate::header::X_CORRELATION_ID;
use crate::telemetry::{self, IdDecision, Observer};

/// Layer that applies [`Correlate`].
///
/// See the [module docs](self) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct CorrelateLayer {
    clock: SharedClock,
    entropy: SharedEntropy,
    error_format: ErrorFormat,
}

/// Middleware that gives every request and its response a correlation id.
///
/// See the [module docs](self) for an example.
#[derive(Clone, Debug)]
pub struct Correlate<S> {
    inner: S,
    layer: CorrelateLayer,
}

pin_project! {
    /// Response future for [`Correlate`].
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        id: Option<CorrelationId>,
        error_format: ErrorFormat,
        span: Span,
        observer: Option<Observer>,
    }
}

// === impl CorrelateLayer ===

impl CorrelateLayer {
    /// Ids of the machine's clock and entropy, errors in the contract's envelope.
    pub fn new() -> Self {
        Self {
            clock: SystemClock::shared(),
            entropy: SystemEntropy::shared(),
            error_format: ErrorFormat::default(),
        }
    }

    /// The clock of minted ids.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// The entropy of minted ids.
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// How errors are written.
    pub fn error_format(mut self, format: ErrorFormat) -> Self {
        self.error_format = format;
        self
    }

    /// The id that was sent, or a new one in its place. The header is looked up once.
    fn identify(&self, headers: &mut HeaderMap) -> (CorrelationId, IdDecision) {
        let mint = || CorrelationId::mint(self.clock.now(), self.entropy.draw());
        match headers.entry(X_CORRELATION_ID) {
            Entry::Occupied(mut sent) => {
                let is_single = sent.iter().nth(1).is_none();
                let good = is_single
                    .then(|| CorrelationId::parse(sent.get()))
                    .flatten();
                if let Some(id) = good {
                    return (id, IdDecision::Taken);
                }
                let id = mint();
                sent.insert(id.as_header_value().clone());
                (id, IdDecision::Minted)
            }
            Entry::Vacant(place) => {
                let id = mint();
                place.insert(id.as_header_value().clone());
                (id, IdDecision::Minted)
            }
        }
    }
}

impl Default for CorrelateLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CorrelateLayer {
    type Service = Correlate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Correlate {
            inner,
            layer: self.clone(),
        }
    }
}

// === impl Correlate ===

impl<S, B, R> Service<Request<B>> for Correlate<S>
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
        let (id, decision) = self.layer.identify(request.headers_mut());
        let observer = Observer::of(request.extensions()).cloned();
        telemetry::note(observer.as_ref(), |seen| {
            seen.id = Some(decision);
            seen.correlation_id = Some(id.clone());
        });
        let error_format = self.layer.error_format.suited_to(request.headers());
        let span = tracing::info_span!("request", correlation_id = %id, method = %request.method());
        request.extensions_mut().insert(id.clone());
        let inside = span.enter();
        let inner = self.inner.call(request);
        drop(inside);
        ResponseFuture {
            inner,
            id: Some(id),
            error_format,
            span,
            observer,
        }
    }
}

// === impl ResponseFuture ===

impl<F> ResponseFuture<F> {
    /// Polls the inner service; the body of its answer becomes one that the layers made, or
    /// is one already.
    pub(crate) fn poll_as<R, B, E>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        body: impl FnOnce(R) -> Body<B>,
    ) -> Poll<Result<Response<Body<B>>, E>>
    where
        F: Future<Output = Result<Response<R>, E>>,
    {
        let this = self.project();
        let _inside = this.span.enter();
        let mut response = ready!(this.inner.poll(cx))?.map(body);
        let id = this
            .id
            .take()
            .expect("a future is not polled after it ended");
        telemetry::note(this.observer.as_ref(), |seen| {
            let refusal: Option<&ApiError> = response.extensions().get();
            seen.refusal = refusal.map(ApiError::code);
        });
        error::render(&mut response, this.error_format, &id);
        response
            .headers_mut()
            .insert(X_CORRELATION_ID, id.into_header_value());
        Poll::Ready(Ok(response))
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<Body<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_as(cx, Body::inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::clock::{Clock, Timestamp};

    #[derive(Debug)]
    struct Fixed;

    #[tokio::test]
    async fn takes_over_a_good_id_and_mints_one_in_place_of_any_other() {
        for (sent, want) in [
            (vec!["good.id"], "good.id"),
            (vec![], "req_0000000000000000000000000A"),
            (vec!["no good"], "req_0000000000000000000000000A"),
            (vec!["one", "two"], "req_0000000000000000000000000A"),
        ] {
            let mut request = Request::new(());
            for value in &sent {
                request
                    .headers_mut()
                    .append(X_CORRELATION_ID, value.parse().unwrap());
            }
            let response = layer()
                .layer(service_fn(echo))
                .oneshot(request)
                .await
                .unwrap();
            assert_eq!(response.headers()[X_CORRELATION_ID], want, "{sent:?}");
            assert_eq!(text(response).await, format!("{want} {want}"), "{sent:?}");
        }
    }

    #[tokio::test]
    async fn writes_the_id_into_the_errors_of_whatever_is_inside() {
        let inner = service_fn(|_: Request<()>| async {
            Ok::<_, Infallible>(ApiError::internal().into_response::<Full<Bytes>>())
        });
        let request = Request::builder()
            .header(X_CORRELATION_ID, "mine")
            .body(())
            .unwrap();
        let response = layer()
            .layer(inner)
            .oneshot(request)
            .await
            .unwrap()
            .map(Body::flatten);
        assert!(
            text(response)
                .await
                .ends_with(r#""correlation_id":"mine"}}"#)
        );
    }

    async fn echo(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
        let header = request.headers()[X_CORRELATION_ID].to_str().unwrap();
        let extension: &CorrelationId = request.extensions().get().unwrap();
        Ok(Response::new(Full::from(format!("{header} {extension}"))))
    }

    async fn text(response: Response<Body<Full<Bytes>>>) -> String {
        String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap()
    }

    fn layer() -> CorrelateLayer {
        let fixed = std::sync::Arc::new(Fixed);
        CorrelateLayer::new().clock(fixed.clone()).entropy(fixed)
    }

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::EPOCH
        }

        fn elapsed(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }

    impl crate::entropy::Entropy for Fixed {
        fn draw(&self) -> u128 {
            10
        }
    }
}
