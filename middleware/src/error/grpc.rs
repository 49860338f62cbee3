//! An error as a gRPC status, for clients that know no other.
//!
//! The status of a call stands in its trailers; a call without messages is answered by these
//! alone, in the place of the head ("Trailers-Only"), under the HTTP status 200. Beside the
//! code and the message there are the details of Google's error model (AIP-193), which the
//! libraries of most languages read: `ErrorInfo` with our own code as its reason, `RetryInfo`
//! where it is worth coming back, `RequestInfo` with the correlation id.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::{ApiError, Code, ErrorType};
use crate::body::Body;
use crate::context::CorrelationId;
use crate::header;

/// Protocol Buffers, as far as these messages need them.
#[derive(Default)]
struct Message(Vec<u8>);

/// Turns a response that carries an error into the end of a gRPC call. Its other headers stay:
/// a client reads them as metadata.
pub(super) fn render<B>(
    response: &mut Response<Body<B>>,
    error: &ApiError,
    id: Option<&CorrelationId>,
) {
    let code = code_of(error.code());
    let details = details(code, error, id, retry_seconds(response.headers()));
    *response.status_mut() = StatusCode::OK;
    *response.body_mut() = Body::empty();
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    headers.insert(GRPC_MESSAGE, visible(&percent_encoded(error.message())));
    headers.insert(GRPC_DETAILS, visible(&STANDARD_NO_PAD.encode(details)));
}

/// Whether a request is a gRPC call.
pub(super) fn is_call(headers: &HeaderMap) -> bool {
    header::single(headers, &CONTENT_TYPE)
        .is_some_and(|value| header::is_media_type(value, MEDIA_TYPE))
}

/// The code of gRPC that asks the same of a client.
///
/// `ABORTED` and `UNAVAILABLE` are worth another attempt, `FAILED_PRECONDITION` never is.
fn code_of(code: Code) -> u16 {
    match (code.status().as_u16(), code.error_type()) {
        _ if code == Code::ENDPOINT_NOT_FOUND => UNIMPLEMENTED,
        _ if code == Code::IDEMPOTENCY_KEY_IN_PROGRESS => ABORTED,
        _ if code == Code::IDEMPOTENCY_RESPONSE_NOT_STORED => ALREADY_EXISTS,
        _ if code == Code::OUTSIDE_24H_WINDOW => FAILED_PRECONDITION,
        (401, _) => UNAUTHENTICATED,
        (402 | 413 | 429, _) => RESOURCE_EXHAUSTED,
        (403, _) => PERMISSION_DENIED,
        (404, _) => NOT_FOUND,
        (405, _) => UNIMPLEMENTED,
        (408 | 504, _) => DEADLINE_EXCEEDED,
        (409, _) => FAILED_PRECONDITION,
        (400..=499, _) => INVALID_ARGUMENT,
        (_, ErrorType::Upstream) => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// A `google.rpc.Status` that repeats code and message and has the details.
fn details(code: u16, error: &ApiError, id: Option<&CorrelationId>, wait: Option<u64>) -> Vec<u8> {
    let mut info = Message::default()
        .text(1, &error.code().name().to_uppercase())
        .text(2, DOMAIN);
    for (name, value) in error.extras() {
        let value = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        info = info.message(3, &Message::default().text(1, name).text(2, &value));
    }
    let mut status = Message::default()
        .number(1, code.into())
        .text(2, error.message())
        .detail("google.rpc.ErrorInfo", &info);
    if let Some(seconds) = wait {
        let delay = Message::default().number(1, seconds);
        status = status.detail(
            "google.rpc.RetryInfo",
            &Message::default().message(1, &delay),
        );
    }
    if let Some(id) = id {
        let request = Message::default().text(1, id.as_str());
        status = status.detail("google.rpc.RequestInfo", &request);
    }
    status.0
}

// === impl Message ===

impl Message {
    fn number(mut self, field: u8, number: u64) -> Self {
        self.0.push(field << 3);
        self.varint(number);
        self
    }

    fn text(self, field: u8, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn message(self, field: u8, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }

    /// As a `google.protobuf.Any` among the details of a status.
    fn detail(self, name: &str, message: &Self) -> Self {
        let any = Self::default()
            .text(1, &format!("type.googleapis.com/{name}"))
            .message(2, message);
        self.message(3, &any)
    }

    fn bytes(mut self, field: u8, bytes: &[u8]) -> Self {
        self.0.push(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut number: u64) {
        while number > 0x7f {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }
}

fn retry_seconds(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

/// Percent-encoding as gRPC has it: spaces stay.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => encoded.push_str("%25"),
            b' '..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn visible(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("what was encoded is visible ASCII")
}

pub(super) const MEDIA_TYPE: &str = "application/grpc";

/// Whose reasons they are: a client may meet those of other services on the way.
const DOMAIN: &str = "vestibule";

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

const INVALID_ARGUMENT: u16 = 3;
const DEADLINE_EXCEEDED: u16 = 4;
const NOT_FOUND: u16 = 5;
const ALREADY_EXISTS: u16 = 6;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const FAILED_PRECONDITION: u16 = 9;
const ABORTED: u16 = 10;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;
