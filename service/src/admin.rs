//! What operators look at, on a listener of its own: health, readiness, metrics.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use vestibule::ApiError;

use crate::http::{App, healthy, ready};
use crate::store::Store;

/// The endpoints; nobody shows a key here, so that the listener must be where only operators
/// get.
pub(crate) fn router<S: Store>(app: App<S>) -> Router {
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready::<S>))
        .route("/metrics", get(metrics::<S>))
        .fallback(|| async { ApiError::endpoint_not_found() })
        .with_state(Arc::new(app))
}

async fn metrics<S: Store>(State(app): State<Arc<App<S>>>) -> Response {
    let openmetrics =
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, openmetrics)], app.metrics.text()).into_response()
}
