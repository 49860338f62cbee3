//! What the control plane answers to orders that it cannot follow.

use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An order that cannot be followed, and why.
#[derive(Debug)]
pub(super) struct Refused(String);

// === impl Refused ===

impl Refused {
    /// Refuses with a sentence.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it is what `map_err` hands over"
    )]
    pub(super) fn because(reason: impl ToString) -> Self {
        Self(reason.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, Json(json!({"error": self.0}))).into_response()
    }
}

/// Answers for what is not there.
pub(super) async fn not_found(uri: Uri) -> Response {
    let error = format!("/__sim{} is not part of the control plane", uri.path());
    (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response()
}
