//! What can go wrong behind the sidecar, and what the caller is told of it.

use std::error::Error;
use std::fmt;

use http::Response;
use http_body_util::LengthLimitError;
use vestibule::{ApiError, Body, CapError, Effect};

/// Why there is no answer from the service, or no more of it.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct Fault {
    kind: Kind,
    source: Option<BoxError>,
}

/// The causes that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The client's body ended before its end.
    BodyCut,
    /// The client sent no more of its body in time.
    BodySlow,
    /// The client's body is longer than its cap.
    BodyTooLong,
    /// No connection was made.
    ConnectRefused,
    /// No connection was made in time.
    ConnectSlow,
    /// The connection ended before the answer did.
    Cut,
    /// As many requests are under way as may be.
    Full,
    /// The answer is not HTTP.
    Malformed,
    /// The answer, or the next piece of it, did not come in time.
    Slow,
    /// The connection ended before the whole head of the request was sent.
    Unsent,
}

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

// === impl Fault ===

impl Fault {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn because(kind: Kind, source: impl Into<BoxError>) -> Self {
        let source = Some(source.into());
        Self { kind, source }
    }

    /// The client's body failed: at its cap, or because the client left.
    pub(crate) fn body(cause: impl Into<BoxError>) -> Self {
        let cause = cause.into();
        let kind = if is_too_long(&*cause) {
            Kind::BodyTooLong
        } else {
            Kind::BodyCut
        };
        Self::because(kind, cause)
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The response in place of the service's. `body_max` is told where the body is longer.
    pub(crate) fn into_response<B>(self, body_max: u64) -> Response<Body<B>> {
        self.log();
        let mut response = self.kind.error(body_max).into_response();
        response.extensions_mut().insert(self.kind.effect());
        response
    }

    /// Logged once, where the fault becomes a response or cuts one.
    pub(crate) fn log(&self) {
        let cause = self.source.as_deref().map(|cause| cause as &dyn Error);
        if self.kind.is_the_clients() {
            tracing::debug!(fault = %self.kind, cause, "the client's request failed");
        } else {
            tracing::warn!(fault = %self.kind, cause, "the upstream failed");
        }
    }
}

// === impl Kind ===

impl Kind {
    fn error(self, body_max: u64) -> ApiError {
        match self {
            Self::BodyCut => ApiError::malformed_request("The body could not be read to its end."),
            Self::BodySlow => ApiError::request_timeout(),
            Self::BodyTooLong => ApiError::payload_too_large(body_max),
            Self::ConnectRefused | Self::Cut | Self::Malformed | Self::Unsent => {
                ApiError::bad_gateway()
            }
            Self::ConnectSlow | Self::Slow => ApiError::timeout(),
            Self::Full => ApiError::overloaded(),
        }
    }

    /// Whether the service can have executed the request.
    fn effect(self) -> Effect {
        match self {
            Self::ConnectRefused | Self::ConnectSlow | Self::Full | Self::Unsent => {
                Effect::Impossible
            }
            Self::BodyCut
            | Self::BodySlow
            | Self::BodyTooLong
            | Self::Cut
            | Self::Malformed
            | Self::Slow => Effect::Unknown,
        }
    }

    /// The word for a label or a field of a log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::BodyCut => "body_cut",
            Self::BodySlow => "body_slow",
            Self::BodyTooLong => "body_too_long",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectSlow => "connect_slow",
            Self::Cut => "cut",
            Self::Full => "full",
            Self::Malformed => "malformed",
            Self::Slow => "slow",
            Self::Unsent => "unsent",
        }
    }

    /// Whether it tells of a service that is not well.
    pub(crate) fn is_the_services(self) -> bool {
        !self.is_the_clients() && self != Self::Full
    }

    fn is_the_clients(self) -> bool {
        matches!(self, Self::BodyCut | Self::BodySlow | Self::BodyTooLong)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BodyCut => "the request's body ended before its end",
            Self::BodySlow => "the request's body stopped arriving",
            Self::BodyTooLong => "the request's body is longer than its cap",
            Self::ConnectRefused => "no connection was made",
            Self::ConnectSlow => "no connection was made in time",
            Self::Cut => "the connection ended before the answer did",
            Self::Full => "too many requests are under way",
            Self::Malformed => "the answer is not HTTP/1.1",
            Self::Slow => "the answer did not come in time",
            Self::Unsent => "the connection ended before the request was sent",
        })
    }
}

/// Whether a length limit is the cause, ours or that of a stock layer around us.
fn is_too_long(cause: &(dyn Error + 'static)) -> bool {
    if let Some(CapError::<hyper::Error>::TooLong) = cause.downcast_ref() {
        return true;
    }
    match cause.downcast_ref::<CapError<BoxError>>() {
        Some(CapError::TooLong) => true,
        Some(CapError::Inner(cause)) => is_too_long(&**cause),
        None => cause.is::<LengthLimitError>() || cause.source().is_some_and(is_too_long),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full, Limited};

    use super::*;

    #[test]
    fn each_fault_has_its_answer_and_says_whether_an_effect_is_possible() {
        for (kind, status, code, effect) in [
            (Kind::BodyCut, 400, "malformed_request", Effect::Unknown),
            (Kind::BodySlow, 408, "request_timeout", Effect::Unknown),
            (Kind::BodyTooLong, 413, "payload_too_large", Effect::Unknown),
            (
                Kind::ConnectRefused,
                502,
                "upstream_unavailable",
                Effect::Impossible,
            ),
            (Kind::ConnectSlow, 504, "timeout", Effect::Impossible),
            (Kind::Cut, 502, "upstream_unavailable", Effect::Unknown),
            (Kind::Full, 503, "overloaded", Effect::Impossible),
            (
                Kind::Malformed,
                502,
                "upstream_unavailable",
                Effect::Unknown,
            ),
            (Kind::Slow, 504, "timeout", Effect::Unknown),
            (
                Kind::Unsent,
                502,
                "upstream_unavailable",
                Effect::Impossible,
            ),
        ] {
            let response = Fault::new(kind).into_response::<Full<bytes::Bytes>>(7);
            let error = response.extensions().get::<ApiError>().unwrap();
            assert_eq!(response.status().as_u16(), status, "{kind}");
            assert_eq!(error.code().name(), code, "{kind}");
            assert_eq!(response.extensions().get(), Some(&effect), "{kind}");
            let waits = response.headers().contains_key("retry-after");
            assert_eq!(waits, status == 503, "{kind}");
        }
    }

    #[tokio::test]
    async fn a_length_limit_is_found_behind_other_errors() {
        let limited = Limited::new(Full::new(bytes::Bytes::from("long")), 1);
        let stock = limited.collect().await.unwrap_err();
        let ours: BoxError = Box::new(CapError::<BoxError>::TooLong);
        let within: BoxError = Box::new(CapError::Inner(ours));
        let other: BoxError = "the client left".into();
        for (cause, want) in [
            (stock, Kind::BodyTooLong),
            (within, Kind::BodyTooLong),
            (other, Kind::BodyCut),
        ] {
            let text = format!("{cause:?}");
            assert_eq!(Fault::body(cause).kind(), want, "{text}");
        }
    }
}
