//! What a caller sees when a request is refused, and the one place that renders it.
//!
//! # Example
//!
//! ```
//! use vestibule::error::ApiError;
//! use vestibule::Body;
//!
//! let refusal = ApiError::missing_required_field("to");
//! let response: http::Response<Body<http_body_util::Full<bytes::Bytes>>> = refusal.into_response();
//! assert_eq!(response.status(), 422);
//! ```
//!
//! An [`ApiError`] is built through a named constructor, which takes its status, type
//! and code from [the one table](Code). It becomes a response with
//! [`into_response`](ApiError::into_response) (or by being returned from an axum handler
//! with feature `axum`) and carries itself along in the response's extensions, so that
//! [`render`] can write the correlation id, and the team's own [`ErrorFormat`], into the
//! body once both are known.
//!
//! A message is safe to show: it names what the caller sent or may do, never a cause, a
//! path or a store.

mod code;
mod constructors;
mod format;
mod grpc;
mod store;

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

pub(crate) use self::code::is_passing;
pub use self::code::{Code, ErrorType};
pub use self::format::{ErrorFormat, Writer};
pub use self::store::{StoreError, StoreErrorKind};
use crate::body::Body;
use crate::context::CorrelationId;
use crate::header;

/// A refusal or a fault, as the caller sees it.
#[derive(Clone, Debug)]
pub struct ApiError {
    code: Code,
    message: Cow<'static, str>,
    /// Boxed, so that a `Result<_, ApiError>` stays small on the way that succeeds.
    details: Option<Box<Details>>,
}

#[derive(Clone, Debug, Default)]
struct Details {
    extras: Vec<(&'static str, Value)>,
    headers: HeaderMap,
}

/// Writes the correlation id and the chosen format into a response that carries an
/// [`ApiError`]; any other response is left as it is.
pub fn render<B>(response: &mut Response<Body<B>>, format: &ErrorFormat, id: &CorrelationId) {
    let Some(error) = response.extensions_mut().remove::<ApiError>() else {
        return;
    };
    if matches!(format, ErrorFormat::Grpc) {
        return grpc::render(response, &error, Some(id));
    }
    let (media_type, text) = format.write(&error, Some(id));
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = Body::full(text);
}

// === impl ApiError ===

impl ApiError {
    /// An error of a team's own, in the same envelope.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
        }
    }

    /// Adds a field beside `code` and `message`.
    #[must_use]
    pub fn extra(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.details
            .get_or_insert_default()
            .extras
            .push((name, value.into()));
        self
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.details
            .get_or_insert_default()
            .headers
            .append(name, value);
        self
    }

    /// Names the field of the request that is at fault.
    #[must_use]
    pub fn param(self, param: &'static str) -> Self {
        self.extra("param", param)
    }

    /// Says after how long a repetition may succeed.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.header(RETRY_AFTER, header::retry_after(wait))
    }

    /// Status, type and code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// The fields beside type, code and message.
    pub fn extras(&self) -> &[(&'static str, Value)] {
        self.details.as_ref().map_or(&[], |details| &details.extras)
    }

    /// The response, with the envelope as its body until [`render`] knows better.
    pub fn into_response<B>(mut self) -> Response<Body<B>> {
        let (media_type, text) = ErrorFormat::Envelope.write(&self, None);
        let mut response = Response::new(Body::full(text));
        *response.status_mut() = self.status();
        if let Some(details) = &mut self.details {
            *response.headers_mut() = std::mem::take(&mut details.headers);
        }
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(feature = "axum")]
impl axum::response::IntoResponse for ApiError {
    fn into_response(self) -> axum::response::Response {
        Self::into_response::<axum::body::Body>(self).map(axum::body::Body::new)
    }
}

#[cfg(test)]
mod tests;
