//! How an error is written: the contract's envelope, RFC 9457, a gRPC status, or a team's own way.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use super::{ApiError, grpc};
use crate::context::CorrelationId;

/// The body of an error response.
#[derive(Clone, Default)]
pub enum ErrorFormat {
    /// `{"error":{"type","code","message",…,"correlation_id"}}` (contract §3).
    #[default]
    Envelope,
    /// `application/problem+json` (RFC 9457), with `code` and the other fields as members.
    Problem,
    /// For gRPC calls a status of gRPC, in the headers of a response without a body; the
    /// envelope for every other request.
    Grpc,
    /// A media type and a body of a team's own.
    Custom(Arc<Writer>),
}

/// Writes an error: its media type and its body.
pub type Writer = dyn Fn(&ApiError, Option<&CorrelationId>) -> (HeaderValue, Bytes) + Send + Sync;

// === impl ErrorFormat ===

impl ErrorFormat {
    /// The media type and the body.
    pub fn write(&self, error: &ApiError, id: Option<&CorrelationId>) -> (HeaderValue, Bytes) {
        match self {
            Self::Envelope => (
                HeaderValue::from_static("application/json"),
                envelope(error, id),
            ),
            Self::Problem => (
                HeaderValue::from_static("application/problem+json"),
                problem(error, id),
            ),
            Self::Grpc => (HeaderValue::from_static(grpc::MEDIA_TYPE), Bytes::new()),
            Self::Custom(write) => write(error, id),
        }
    }

    /// How errors of a request with these headers are written.
    pub(crate) fn suited_to(&self, headers: &HeaderMap) -> Self {
        match self {
            Self::Grpc if !grpc::is_call(headers) => Self::Envelope,
            format => format.clone(),
        }
    }
}

impl fmt::Debug for ErrorFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Envelope => "Envelope",
            Self::Problem => "Problem",
            Self::Grpc => "Grpc",
            Self::Custom(_) => "Custom",
        })
    }
}

fn envelope(error: &ApiError, id: Option<&CorrelationId>) -> Bytes {
    let mut fields = Map::new();
    fields.insert("type".into(), error.code().error_type().as_str().into());
    fields.insert("code".into(), error.code().name().into());
    fields.insert("message".into(), error.message().into());
    add_common(&mut fields, error, id);
    let mut envelope = Map::new();
    envelope.insert("error".into(), fields.into());
    write(envelope)
}

fn problem(error: &ApiError, id: Option<&CorrelationId>) -> Bytes {
    let mut fields = Map::new();
    // The codes are no URIs; RFC 9457 §4.2.1 has a type for errors that are told apart
    // by other members.
    fields.insert("type".into(), "about:blank".into());
    fields.insert("title".into(), error.status().canonical_reason().into());
    fields.insert("status".into(), error.status().as_u16().into());
    fields.insert("detail".into(), error.message().into());
    fields.insert("code".into(), error.code().name().into());
    add_common(&mut fields, error, id);
    write(fields)
}

fn add_common(fields: &mut Map<String, Value>, error: &ApiError, id: Option<&CorrelationId>) {
    for (name, value) in error.extras() {
        fields.insert((*name).into(), value.clone());
    }
    if let Some(id) = id {
        fields.insert("correlation_id".into(), id.as_str().into());
    }
}

fn write(fields: Map<String, Value>) -> Bytes {
    Value::Object(fields).to_string().into()
}
