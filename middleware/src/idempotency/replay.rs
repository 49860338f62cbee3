//! What is kept of a response, and how it is answered again.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::record::{Decision, Outcome};
use crate::body::Body;
use crate::context::{CorrelationId, Effect};
use crate::error::{self, ApiError};
use crate::header::{self, IDEMPOTENT_REPLAYED, X_ORIGINAL_CORRELATION_ID};
use crate::route::{Policy, UpstreamKind};

/// The first response to a keyed request.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptResponse {
    /// Its status.
    pub status: StatusCode,
    /// Those of its headers that are worth repeating, repeated ones in their order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body.
    pub body: Bytes,
    /// The id of the request that was executed.
    pub original: CorrelationId,
}

/// What becomes of a claim when its execution has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposal {
    /// The response is kept.
    Keep,
    /// The key may be used again.
    Release,
    /// Nobody can know yet.
    Unanswered,
}

// === impl KeptResponse ===

impl KeptResponse {
    /// Keeps the status, the body and the headers worth repeating: `Content-Type`,
    /// `Location`, `Content-Language` and those that are allowed beside them.
    pub(crate) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        body: Bytes,
        also: &[HeaderName],
        original: CorrelationId,
    ) -> Self {
        let worth = |name: &HeaderName| {
            let usual = [CONTENT_TYPE, LOCATION, CONTENT_LANGUAGE];
            (usual.contains(name) || also.contains(name)) && !header::is_reserved(name)
        };
        let headers = headers.iter().filter(|(name, _)| worth(name));
        let headers = headers
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Self {
            status,
            headers,
            body,
            original,
        }
    }

    /// Answers it again.
    pub(crate) fn replay<B>(&self) -> Response<Body<B>> {
        let mut response = Response::new(Body::full(self.body.clone()));
        *response.status_mut() = self.status;
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        mark_replayed(response.headers_mut(), &self.original);
        response
    }

    /// How many bytes it holds.
    pub fn weight(&self) -> usize {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        headers.sum::<usize>() + self.body.len() + self.original.as_str().len()
    }
}

impl fmt::Debug for KeptResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a handler answered is the caller's and nobody else's: its size is shown.
        f.debug_struct("KeptResponse")
            .field("status", &self.status)
            .field("headers", &self.headers.len())
            .field("body", &self.body.len())
            .field("original", &self.original)
            .finish()
    }
}

// === impl Disposal ===

impl Disposal {
    /// Decides by the table of contract §6.
    pub(crate) fn of(
        policy: &Policy,
        kind: UpstreamKind,
        status: StatusCode,
        effect: Option<Effect>,
    ) -> Self {
        match (kind, effect) {
            (_, Some(Effect::Impossible)) => Self::Release,
            (_, Some(Effect::Unknown)) => Self::Unanswered,
            (kind, None) => Self::of_answer(policy, kind, status),
        }
    }

    fn of_answer(policy: &Policy, kind: UpstreamKind, status: StatusCode) -> Self {
        let kept = match kind {
            _ if error::is_passing(status) => false,
            UpstreamKind::Executes if status.is_client_error() => policy.keeps_client_errors(),
            UpstreamKind::Executes => true,
            UpstreamKind::Deduplicates => !status.is_client_error() && !status.is_server_error(),
        };
        if kept { Self::Keep } else { Self::Release }
    }
}

// === impl Decision ===

impl Decision {
    /// The answer to an attempt that is not to be executed; nothing for one that is.
    pub(crate) fn answer<B>(&self) -> Option<Response<Body<B>>> {
        let refusal = match self {
            Self::Execute { .. } => return None,
            Self::Replay(kept) => return Some(kept.replay()),
            Self::InProgress { original, wait } => {
                // A lease is renewed while the work runs, so its end says little of the work's.
                ApiError::idempotency_key_in_progress(original.as_str(), (*wait).min(POLL))
            }
            Self::InUse { original } => ApiError::idempotency_key_in_use(original.as_str()),
            Self::NotStored { original } => {
                ApiError::idempotency_response_not_stored(original.as_str())
            }
            Self::Unknown { original } => ApiError::idempotency_outcome_unknown(original.as_str()),
        };
        Some(refusal.into_response())
    }
}

// === impl Outcome ===

impl Outcome {
    /// A word for the log.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::NotStored => "not stored",
            Self::Unknown => "unknown",
        }
    }
}

/// Says that a response is the first one again, and whose it was.
pub(crate) fn mark_replayed(headers: &mut HeaderMap, original: &CorrelationId) {
    headers.insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    headers.insert(
        X_ORIGINAL_CORRELATION_ID,
        original.as_header_value().clone(),
    );
}

/// How soon it is worth asking again while the first request runs.
const POLL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_the_contract_says() {
        use Disposal::{Keep, Release, Unanswered};
        let (plain, keeping) = (
            Policy::authenticated(),
            Policy::authenticated().keep_client_errors(),
        );
        let (executes, deduplicates) = (UpstreamKind::Executes, UpstreamKind::Deduplicates);
        for (policy, kind, status, effect, want) in [
            (&plain, executes, 200, None, Keep),
            (&plain, executes, 302, None, Keep),
            (&plain, executes, 422, None, Release),
            (&keeping, executes, 422, None, Keep),
            (&keeping, executes, 409, None, Release),
            (&plain, executes, 500, None, Keep),
            (&plain, executes, 429, None, Release),
            (&plain, executes, 502, Some(Effect::Unknown), Unanswered),
            (&plain, executes, 502, Some(Effect::Impossible), Release),
            (&plain, deduplicates, 202, None, Keep),
            (&keeping, deduplicates, 422, None, Release),
            (&plain, deduplicates, 500, None, Release),
            (&plain, deduplicates, 502, Some(Effect::Unknown), Unanswered),
            (&plain, deduplicates, 502, Some(Effect::Impossible), Release),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                Disposal::of(policy, kind, status, effect),
                want,
                "{kind:?} {status} {effect:?}"
            );
        }
    }
}
