//! Extractors for axum: what the layers know of a request, as arguments of its handler.
//!
//! A handler that asks for a [`Principal`] or a [`CorrelationId`] where no layer put one
//! answers 500 and logs the fault: that is a mistake in the wiring, not of the caller.
//! [`Claim`] by itself demands an `Idempotency-Key`; `Option<Claim>` takes both kinds.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::context::{Claim, CorrelationId};
use crate::error::ApiError;
use crate::principal::Principal;

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let principal = parts.extensions.get().cloned();
        principal.ok_or_else(|| unwired("Principal"))
    }
}

/// None on public routes.
impl<S: Sync> OptionalFromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ApiError> {
        Ok(parts.extensions.get().cloned())
    }
}

impl<S: Sync> FromRequestParts<S> for CorrelationId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let id = parts.extensions.get().cloned();
        id.ok_or_else(|| unwired("CorrelationId"))
    }
}

impl<S: Sync> FromRequestParts<S> for Claim {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let claim = parts.extensions.get().cloned();
        claim.ok_or_else(ApiError::missing_idempotency_key)
    }
}

/// None where no `Idempotency-Key` was sent.
impl<S: Sync> OptionalFromRequestParts<S> for Claim {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ApiError> {
        Ok(parts.extensions.get().cloned())
    }
}

fn unwired(what: &'static str) -> ApiError {
    tracing::error!(
        what,
        "a handler asks for what no layer in front of it provides"
    );
    ApiError::internal()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::get;
    use bytes::Bytes;
    use http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;
    use crate::clock::Timestamp;
    use crate::context::Fingerprint;

    #[tokio::test]
    async fn a_handler_gets_what_the_layers_put_there() {
        for (path, wired, want) in [
            ("/all", true, StatusCode::OK),
            ("/all", false, StatusCode::INTERNAL_SERVER_ERROR),
            ("/id", false, StatusCode::INTERNAL_SERVER_ERROR),
            ("/claim", true, StatusCode::OK),
            ("/claim", false, StatusCode::UNPROCESSABLE_ENTITY),
            ("/optional", true, StatusCode::ACCEPTED),
            ("/optional", false, StatusCode::OK),
        ] {
            let mut request = Request::get(path).body(Body::empty()).unwrap();
            if wired {
                request
                    .extensions_mut()
                    .insert(Principal::builder("a", "k").build());
                request
                    .extensions_mut()
                    .insert(CorrelationId::mint(Timestamp::EPOCH, 1));
                request.extensions_mut().insert(claim());
            }
            let response = app().oneshot(request).await.unwrap();
            assert_eq!(response.status(), want, "{path} {wired}");
        }
    }

    fn app() -> Router {
        Router::new()
            .route("/all", get(|_: Principal, _: CorrelationId| async {}))
            .route("/id", get(|_: CorrelationId| async {}))
            .route("/claim", get(|_: Claim| async {}))
            .route(
                "/optional",
                get(|who: Option<Principal>, claim: Option<Claim>| async move {
                    match (who, claim) {
                        (Some(_), Some(_)) => StatusCode::ACCEPTED,
                        _ => StatusCode::OK,
                    }
                }),
            )
    }

    fn claim() -> Claim {
        let (key, fingerprint) = (Bytes::from_static(b"k"), Fingerprint::from_bytes([0; 32]));
        Claim::new(key, fingerprint, Timestamp::EPOCH, 0)
    }
}
