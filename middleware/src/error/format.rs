//! How an error is written: the contract's envelope, RFC 9457, or a team's own way.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use serde_json::{Map, Value};

use super::ApiError;
use crate::context::CorrelationId;

/// The body of an error response.
#[derive(Clone, Default)]
pub enum ErrorFormat {
    /// `{"error":{"type","code","message",…,"correlation_id"}}` (contract §3).
    #[default]
    Envelope,
    /// `application/problem+json` (RFC 9457), with `code` and the other fields as members.
    Problem,
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
            Self::Custom(write) => write(error, id),
        }
    }
}

impl fmt::Debug for ErrorFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Envelope => "Envelope",
            Self::Problem => "Problem",
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
