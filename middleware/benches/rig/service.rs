//! What answers: the bare service, our stack over it, and the hand-made stack of today over it.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use axum::body::Body;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use tower::{Service, ServiceBuilder};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use vestibule::clock::SystemClock;
use vestibule::route::Policy;
use vestibule::stack::Api;
use vestibule::{ApiLayer, api_key, memory};

use super::{PER_MINUTE, Rig, Sent};

/// The innermost service: it does nothing, and answers at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Noop;

/// Counts by the bearer token, as a team would with tower_governor.
#[derive(Clone, Copy, Debug)]
struct ByBearer;

/// Our whole stack, for all callers of this rig.
pub(crate) fn ours(rig: &Rig) -> Api<Noop, memory::Store, api_key::Keys> {
    let store = memory::Store::new(SystemClock::shared())
        .records(RECORDS)
        .record_bytes(usize::MAX);
    let api = ApiLayer::builder(store, rig.keys())
        .route(
            "GET /v1/messages/{id}",
            Policy::any_scope(["messages:send", "messages:read"]),
        )
        .route(
            "POST /v1/messages",
            Policy::scope("messages:send").idempotent(),
        )
        .build()
        .expect("the routes are well-formed");
    ServiceBuilder::new().layer(api).service(Noop)
}

/// A request id and a limit with headers, which is half of what our stack does.
pub(crate) fn theirs()
-> impl Service<Sent, Response = Response<Body>, Error = Infallible, Future: Send> + Clone {
    let limit = GovernorConfigBuilder::default()
        .per_nanosecond(1)
        .burst_size(PER_MINUTE)
        .key_extractor(ByBearer)
        .use_headers()
        .finish()
        .expect("neither period nor burst is zero");
    ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(GovernorLayer::new(limit))
        .service(Noop)
}

// === impl Noop ===

impl<B> Service<Request<B>> for Noop {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(Body::empty())))
    }
}

// === impl ByBearer ===

impl KeyExtractor for ByBearer {
    type Key = String;

    fn extract<T>(&self, request: &Request<T>) -> Result<Self::Key, GovernorError> {
        request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .map(str::to_owned)
            .ok_or(GovernorError::UnableToExtractKey)
    }
}

/// Room for every keyed request of a run.
const RECORDS: usize = 100_000_000;
