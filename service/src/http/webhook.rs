//! `GET|POST /webhooks/whatsapp`: Meta's side of the conversation.
//!
//! A body is verified, appended and acknowledged, in this order; what it says is done
//! afterwards. Meta repeats whatever is not answered with 200.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Uri};
use tracing::{info, warn};
use vestibule::ApiError;
use vestibule::error::{Code, ErrorType};

use super::App;
use super::extract::read;
use crate::accept::unavailable;
use crate::cloud_api::webhook;
use crate::store::Store;

/// Answers Meta's challenge, if Meta shows the token that it was given.
pub(super) async fn verify<S: Store>(
    State(app): State<Arc<App<S>>>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query(uri.query().unwrap_or_default());
    let is_verified = query.value("hub.mode").as_deref() == Some("subscribe")
        && query
            .value("hub.verify_token")
            .is_some_and(|token| webhook::is_verified(&token, &app.webhook.verify_token));
    let challenge = query.value("hub.challenge").filter(|_| is_verified);
    let Some(challenge) = challenge else {
        warn!("somebody failed to verify the webhook");
        return Err(ApiError::new(
            WRONG_VERIFY_TOKEN,
            "The verify token is not the one that was configured.",
        ));
    };
    info!("the webhook was verified");
    let text = HeaderValue::from_static("text/plain");
    Ok(([(CONTENT_TYPE, text)], challenge).into_response())
}

/// Takes a body in.
pub(super) async fn take_in<S: Store>(
    State(app): State<Arc<App<S>>>,
    request: Request,
) -> Result<(), ApiError> {
    let began = app.clock.elapsed();
    let signature = request.headers().get(SIGNATURE).cloned();
    let body = read(request, BODY_MAX).await?;
    let signature = signature.as_ref().map(HeaderValue::as_bytes);
    if !webhook::is_genuine(signature, &body, &app.webhook.app_secrets) {
        app.metrics.forged();
        warn!("a webhook with a wrong signature was refused");
        return Err(ApiError::new(
            INVALID_SIGNATURE,
            "The signature does not match the body.",
        ));
    }
    app.store
        .append(body)
        .await
        .map_err(|cause| unavailable(&cause))?;
    app.taken_in.notify_one();
    let took = app.clock.elapsed().saturating_sub(began);
    app.metrics.acknowledged(took);
    Ok(())
}

/// The layers let every method of a public route pass.
pub(super) async fn other_method() -> ApiError {
    ApiError::method_not_allowed(HeaderValue::from_static("GET, HEAD, POST"))
}

/// A query string.
struct Query<'a>(&'a str);

impl Query<'_> {
    /// The first value of this name, decoded.
    fn value(&self, name: &str) -> Option<String> {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| (decoded(key)? == name).then(|| decoded(value)).flatten())
    }
}

/// Undoes `application/x-www-form-urlencoded`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let digits = rest.first_chunk::<2>()?;
                rest = &rest[2..];
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).ok()?;
                byte[0]
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// Statuses are taken from the contract's table, where statuses are kept.
pub(super) const INVALID_SIGNATURE: Code = Code::new(
    Code::INVALID_API_KEY.status(),
    ErrorType::Authentication,
    "invalid_signature",
);

pub(super) const WRONG_VERIFY_TOKEN: Code = Code::new(
    Code::AGENT_NOT_AUTHORIZED.status(),
    ErrorType::Permission,
    "wrong_verify_token",
);

/// Meta sends 3 MB at most.
pub(super) const BODY_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query = Query("hub.mode=subscribe&hub%2Echallenge=a%20b+c&x=%f&y=%zz&z=1&z=2");
        for (name, want) in [
            ("hub.mode", Some("subscribe")),
            ("hub.challenge", Some("a b c")),
            ("x", None),
            ("y", None),
            ("z", Some("1")),
            ("absent", None),
        ] {
            assert_eq!(query.value(name).as_deref(), want, "{name}");
        }
    }
}
