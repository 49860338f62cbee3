//! The edge: which route a request takes, who vouches for it, what it may not say, and what
//! becomes of a panic.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::Body;
use crate::clock::SharedClock;
use crate::context::Vouched;
use crate::error::{ApiError, ErrorType};
use crate::header;
use crate::identity::Verifier;
use crate::route::Routes;
use crate::telemetry::{self, Observer};

/// Middleware that finds the route of a request, trusts an assertion, strips the headers that
/// only the layers may set, bounds what runs at one time and answers for a panic.
#[derive(Clone, Debug)]
pub struct Edge<T> {
    inner: T,
    rules: Arc<Rules>,
}

/// Refuses the request that it is put into the extensions of, by a layer further out.
///
/// The refusal gets its id and its format like any other, before a key is looked at or
/// anything is asked of a store.
#[derive(Clone, Debug)]
pub struct Refusal(pub ApiError);

/// In the extensions of a response that is an error of authentication of this house, so that
/// a layer further out can count it. An upstream's own 401 has none.
#[derive(Clone, Copy, Debug)]
pub struct Unauthenticated;

/// What an [`Edge`] goes by.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) routes: Routes,
    pub(super) trusted: Option<Verifier>,
    pub(super) assertions_only: bool,
    pub(super) clock: SharedClock,
    pub(super) in_flight_max: usize,
    /// Shared with the rules that these have taken the place of.
    pub(super) in_flight: Arc<Places>,
}

pin_project! {
    /// Response future for [`Edge`].
    pub struct EdgeFuture<F> {
        #[pin]
        state: State<F>,
        is_public: bool,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Passed { #[pin] inner: F, place: Places },
        Refused { refusal: Option<ApiError> },
    }
}

/// The places of requests in flight. Whoever holds a clone holds a place, so that the
/// count of references is the count of requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<()>);

// === impl Edge ===

impl<T> Edge<T> {
    pub(super) const fn new(inner: T, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }
}

impl<T, B, R> Service<Request<B>> for Edge<T>
where
    T: Service<Request<B>, Response = Response<Body<R>>>,
{
    type Response = Response<Body<R>>;
    type Error = T::Error;
    type Future = EdgeFuture<T::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let found = self
            .rules
            .routes
            .find(request.method(), request.uri().path());
        let is_public = found.is_public();
        telemetry::note(Observer::of(request.extensions()), |seen| {
            seen.route = found.policy().and_then(|policy| policy.path().cloned());
        });
        let refusal = request.extensions_mut().remove::<Refusal>();
        let refused = refusal.map_or(Ok(()), |Refusal(refusal)| Err(refusal));
        let admitted = refused.and_then(|()| self.rules.take_place());
        let admitted = admitted.and_then(|place| {
            self.rules.trust(&mut request, is_public)?;
            Ok(place)
        });
        let state = match admitted {
            Ok(place) => {
                header::strip_reserved(request.headers_mut());
                request.extensions_mut().insert(found);
                let inner = self.inner.call(request);
                State::Passed { inner, place }
            }
            Err(refusal) => State::Refused {
                refusal: Some(refusal),
            },
        };
        EdgeFuture { state, is_public }
    }
}

// === impl Rules ===

impl Rules {
    fn take_place(&self) -> Result<Places, ApiError> {
        let place = Places::clone(&self.in_flight);
        // One reference is that of the rules, one the clone's.
        let others = Arc::strong_count(&place.0) - 2;
        if others < self.in_flight_max {
            Ok(place)
        } else {
            Err(ApiError::overloaded())
        }
    }

    /// Lets a valid assertion vouch for the request. One that is refused is a fault
    /// between the mountings and not the caller's: 503, never 401 (design D6).
    fn trust<B>(&self, request: &mut Request<B>, is_public: bool) -> Result<(), ApiError> {
        let Some(verifier) = &self.trusted else {
            return Ok(());
        };
        let line = (request.method(), request.uri());
        let examined = verifier.examine(request.headers(), line, self.clock.now());
        if matches!(examined, Ok(None)) && (!self.assertions_only || is_public) {
            return Ok(());
        }
        let asserted = examined.and_then(|asserted| {
            asserted.ok_or_else(|| {
                tracing::warn!("a request came without an assertion");
                ApiError::auth_store_unavailable()
            })
        });
        telemetry::vouched(
            request.extensions(),
            asserted.as_ref().ok().map(|it| &it.principal),
        );
        asserted?.enter(request.extensions_mut());
        request.extensions_mut().insert(Vouched);
        Ok(())
    }
}

// === impl EdgeFuture ===

impl<F, R, E> Future for EdgeFuture<F>
where
    F: Future<Output = Result<Response<Body<R>>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.state.project() {
            StateProj::Passed { inner, .. } => {
                match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
                    Ok(Poll::Ready(answer)) => answer?,
                    Ok(Poll::Pending) => return Poll::Pending,
                    Err(_panic) => {
                        tracing::error!("a panic was caught at the edge");
                        ApiError::internal().into_response()
                    }
                }
            }
            StateProj::Refused { refusal } => refusal
                .take()
                .expect("a future is not polled after it ended")
                .into_response(),
        };
        let error = response.extensions().get::<ApiError>();
        if error.is_some_and(|error| error.code().error_type() == ErrorType::Authentication) {
            response.extensions_mut().insert(Unauthenticated);
        }
        if !*this.is_public {
            // Answers depend on the key (contract §2).
            response
                .headers_mut()
                .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> std::fmt::Debug for EdgeFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeFuture")
            .field("is_public", &self.is_public)
            .finish_non_exhaustive()
    }
}
