//! What is sent.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use vestibule::header::{IDEMPOTENCY_KEY, X_CORRELATION_ID};

use super::Sent;

/// A kind of request, by what our stack does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// No correlation id is sent, so that one is minted.
    Minted,
    /// The same, of all callers in turn: every one is cold in the processor's caches.
    Crowd,
    /// The caller sends its own.
    TakenOver,
    /// A POST without an Idempotency-Key.
    Unkeyed,
    /// A new Idempotency-Key.
    Executed,
    /// The same Idempotency-Key for every request of a caller.
    Replayed,
    /// A mistyped key: 401.
    Unauthenticated,
    /// A caller whose budget is spent: 429.
    OverLimit,
}

// === impl Case ===

impl Case {
    pub(crate) const ALL: [Self; 8] = [
        Self::Minted,
        Self::Crowd,
        Self::TakenOver,
        Self::Unkeyed,
        Self::Executed,
        Self::Replayed,
        Self::Unauthenticated,
        Self::OverLimit,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Minted => "GET, id minted",
            Self::Crowd => "GET, 10,000 callers",
            Self::TakenOver => "GET, id taken over",
            Self::Unkeyed => "POST, unkeyed",
            Self::Executed => "POST, keyed, executed",
            Self::Replayed => "POST, keyed, replayed",
            Self::Unauthenticated => "GET, 401",
            Self::OverLimit => "GET, 429",
        }
    }

    /// The request number so-and-so.
    pub(super) fn request(self, bearer: &HeaderValue, number: usize) -> Sent {
        let mut request = match self {
            Self::Unkeyed | Self::Executed | Self::Replayed => {
                let mut request = Request::new(Full::from(PAYLOAD));
                *request.method_mut() = http::Method::POST;
                *request.uri_mut() = http::Uri::from_static("/v1/messages");
                let json = HeaderValue::from_static("application/json");
                request.headers_mut().insert(CONTENT_TYPE, json);
                request
            }
            _ => {
                let mut request = Request::new(Full::default());
                *request.uri_mut() = http::Uri::from_static("/v1/messages/0191");
                request
            }
        };
        let bearer = match self {
            Self::Unauthenticated => HeaderValue::from_static(MISTYPED),
            _ => bearer.clone(),
        };
        request.headers_mut().insert(AUTHORIZATION, bearer);
        if let Some((name, value)) = self.named(number) {
            let value = HeaderValue::try_from(value).expect("it is visible ASCII");
            request.headers_mut().insert(name, value);
        }
        request
    }

    fn named(self, number: usize) -> Option<(HeaderName, String)> {
        match self {
            Self::TakenOver => Some((X_CORRELATION_ID, format!("of-the-caller-{number}"))),
            Self::Executed => Some((IDEMPOTENCY_KEY, format!("order-{number}"))),
            Self::Replayed => Some((IDEMPOTENCY_KEY, "order".to_owned())),
            _ => None,
        }
    }
}

/// The contract's own example of a key whose checksum does not match.
const MISTYPED: &str = "Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_a1b2c3d4e5";

const PAYLOAD: &str = r#"{"agent_id":"4b6f","to":"+31612345678","text":{"body":"Hello"}}"#;
