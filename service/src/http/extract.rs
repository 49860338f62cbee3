//! What a request carries, read so that every fault has its own code.
//!
//! Unknown fields are ignored. A field that is absent (or null) is
//! `missing_required_field`; one of the wrong type or form has a code of its own.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use serde_json::{Map, Value};
use uuid::Uuid;
use vestibule::error::Code;
use vestibule::{ApiError, Claim, CorrelationId, Principal};

use crate::accept::{Call, Wishes};
use crate::directory::{Connection, Directory};
use crate::message::{Policy, parse_uuid};
use crate::recipient::PhoneNumber;

/// A body that was read and perhaps is JSON.
///
/// Whether it is, is only judged after what comes first in the contract's order.
#[derive(Debug)]
pub(super) struct JsonBody(Option<Value>);

/// The fields of a JSON object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

/// Who sends from where to whom.
#[derive(Debug)]
pub(super) struct Addressing {
    pub(super) agent_id: Uuid,
    pub(super) from: Connection,
    pub(super) to: PhoneNumber,
}

/// Reads a body of at most so many bytes.
pub(super) async fn read(request: Request, cap: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(request.into_body(), cap)
        .await
        .map_err(|cause| {
            let mut cause: Option<&dyn std::error::Error> = Some(&cause);
            while let Some(error) = cause {
                if error.is::<http_body_util::LengthLimitError>() {
                    return ApiError::payload_too_large(cap as u64);
                }
                cause = error.source();
            }
            ApiError::malformed_request("The body could not be read.")
        })
}

// === impl Call ===

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let who = parts.extensions.get::<Principal>();
        let correlation_id = parts.extensions.get::<CorrelationId>();
        let (Some(who), Some(correlation_id)) = (who, correlation_id) else {
            tracing::error!("a request came past the layers: this endpoint must be behind them");
            return Err(ApiError::internal());
        };
        Ok(Self {
            who: who.clone(),
            claim: parts.extensions.get::<Claim>().cloned(),
            correlation_id: correlation_id.clone(),
            traceparent: traceparent(&parts.headers),
        })
    }
}

// === impl JsonBody ===

impl JsonBody {
    /// Refuses a key that is restricted to other agents.
    ///
    /// This comes before every fault of the body, as it does in the layer that judges
    /// keyed requests, so that both answer alike.
    pub(super) fn check_agent(&self, who: &Principal) -> Result<(), ApiError> {
        let agent = self
            .0
            .as_ref()
            .and_then(|body| body.get("agent_id")?.as_str());
        match agent {
            Some(agent) if !who.may_act_for(agent) => Err(ApiError::agent_not_authorized()),
            _ => Ok(()),
        }
    }

    /// The body's fields.
    pub(super) fn fields(&self) -> Result<Fields<'_>, ApiError> {
        match &self.0 {
            Some(Value::Object(fields)) => Ok(Fields(fields)),
            Some(_) => Err(ApiError::invalid_request_body(
                "The body must be a JSON object.",
            )),
            None => Err(ApiError::invalid_request_body("The body is not JSON.")),
        }
    }
}

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = axum::response::Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let body = read(request, BODY_MAX)
            .await
            .map_err(IntoResponse::into_response)?;
        Ok(Self(serde_json::from_slice(&body).ok()))
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The fields of this object.
    pub(super) const fn new(fields: &'a Map<String, Value>) -> Self {
        Self(fields)
    }

    /// A field that may be absent; null is.
    pub(super) fn optional(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A field that must be there, and is called `param` where it is not.
    pub(super) fn required(self, name: &str, param: &'static str) -> Result<&'a Value, ApiError> {
        self.optional(name)
            .ok_or_else(|| ApiError::missing_required_field(param))
    }

    /// The fields that both endpoints begin with.
    pub(super) fn addressing(
        self,
        who: &Principal,
        directory: &Directory,
    ) -> Result<Addressing, ApiError> {
        let agent_id = self
            .required("agent_id", "agent_id")?
            .as_str()
            .and_then(parse_uuid)
            .ok_or_else(|| {
                ApiError::new(Code::INVALID_AGENT_ID, "'agent_id' must be a UUID.")
                    .param("agent_id")
            })?;
        let from = self.phone("from", Code::INVALID_FROM_PHONE)?;
        let from = connection(directory.connections(who.account(), agent_id), &from)?;
        let to = self.phone("to", Code::INVALID_PHONE_NUMBER)?;
        Ok(Addressing { agent_id, from, to })
    }

    /// `delivery`, which may be absent: how the message is to be delivered.
    pub(super) fn wishes(self) -> Result<Wishes, ApiError> {
        let Some(delivery) = self.optional("delivery") else {
            return Ok(Wishes::default());
        };
        let Value::Object(delivery) = delivery else {
            return Err(invalid_wish("delivery", "'delivery' must be an object."));
        };
        let fields = Fields(delivery);
        Ok(Wishes {
            policy: fields.wish(
                "policy",
                "delivery.policy",
                "'delivery.policy' must be at_most_once or at_least_once.",
                |value| value.as_str().and_then(Policy::parse),
            )?,
            in_order: fields
                .wish(
                    "in_order",
                    "delivery.in_order",
                    "'delivery.in_order' must be true or false.",
                    Value::as_bool,
                )?
                .unwrap_or_default(),
            expires_after: fields.wish(
                "expires_after_seconds",
                "delivery.expires_after_seconds",
                "'delivery.expires_after_seconds' must be 1 to 86400.",
                |value| {
                    let seconds = whole(value).filter(|seconds| EXPIRY.contains(seconds));
                    seconds.map(Duration::from_secs)
                },
            )?,
        })
    }

    fn wish<T>(
        self,
        name: &str,
        param: &'static str,
        message: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        self.optional(name)
            .map(|value| read(value).ok_or_else(|| invalid_wish(param, message)))
            .transpose()
    }

    fn phone(self, name: &'static str, code: Code) -> Result<PhoneNumber, ApiError> {
        self.required(name, name)?
            .as_str()
            .and_then(PhoneNumber::parse)
            .ok_or_else(|| {
                let message = format!("'{name}' must be an E.164 number such as +15551234567.");
                ApiError::new(code, message).param(name)
            })
    }
}

fn connection(connections: &[Connection], from: &PhoneNumber) -> Result<Connection, ApiError> {
    connections
        .iter()
        .find(|connection| connection.number == *from)
        .cloned()
        .ok_or_else(|| {
            let available: Vec<&str> = connections
                .iter()
                .map(|connection| connection.number.as_str())
                .collect();
            ApiError::new(
                Code::FROM_PHONE_NOT_FOUND,
                "This agent has no active connection with the number in 'from'.",
            )
            .param("from")
            .extra("available_phones", available)
        })
}

fn invalid_wish(param: &'static str, message: &'static str) -> ApiError {
    ApiError::invalid_request_body(message).param(param)
}

/// A whole number as JSON may write it: `7`, and `7.0` too.
fn whole(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    let is_whole = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    is_whole.then_some(number as u64)
}

/// A well-formed `traceparent`, as it is kept with the message (W3C Trace Context §3.2):
/// four fields of lower-case hexadecimal, neither id all zeros.
fn traceparent(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let fields: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = fields[..] else {
        return None;
    };
    let is_hex = |field: &str, length: usize| {
        field.len() == length
            && field
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |field: &str| field.bytes().any(|byte| byte != b'0');
    let fits = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && is_id(trace)
        && is_id(parent);
    fits.then(|| text.into())
}

/// A second to a day: a text's window is no longer.
const EXPIRY: std::ops::RangeInclusive<u64> = 1..=86_400;

/// The contract's cap on bodies under /v1; the layers have judged it before.
const BODY_MAX: usize = 1 << 20;
