//! A constructor for each refusal: what the caller is told, and with which headers.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;
use http::header::{ALLOW, WWW_AUTHENTICATE};

use super::{ApiError, Code};

/// Authentication and permission.
impl ApiError {
    /// 401: no credentials were sent; the challenge then says nothing of an error
    /// (RFC 6750 §3.1).
    pub fn missing_api_key() -> Self {
        Self::new(
            Code::INVALID_API_KEY,
            "Send your API key as 'Authorization: Bearer KEY'.",
        )
        .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 401: the credentials that were sent are not good; the message tells why.
    pub fn invalid_api_key(message: &'static str) -> Self {
        Self::new(Code::INVALID_API_KEY, message).challenge()
    }

    /// 401 with a code of its own, where that option is on.
    pub fn revoked_api_key() -> Self {
        Self::new(Code::REVOKED_API_KEY, "This API key has been revoked.").challenge()
    }

    /// 401 with a code of its own, where that option is on.
    pub fn expired_api_key() -> Self {
        Self::new(Code::EXPIRED_API_KEY, "This API key has expired.").challenge()
    }

    /// 403: the key lacks the scope.
    pub fn insufficient_scope(scope: &str) -> Self {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        let challenge =
            HeaderValue::from_str(&challenge).expect("a route's scope is visible ASCII");
        Self::new(
            Code::INSUFFICIENT_SCOPE,
            format!("This API key lacks the scope '{scope}'."),
        )
        .extra("required_scope", scope)
        .header(WWW_AUTHENTICATE, challenge)
    }

    /// 403: the key is restricted to other agents.
    pub fn agent_not_authorized() -> Self {
        Self::new(
            Code::AGENT_NOT_AUTHORIZED,
            "This API key may not act for this agent.",
        )
    }

    /// 429: too many failed authentications from one address.
    pub fn too_many_failed_attempts(wait: Duration) -> Self {
        Self::new(
            Code::TOO_MANY_FAILED_ATTEMPTS,
            "Too many failed authentications from this address.",
        )
        .retry_after(wait)
    }

    /// 503: nobody can tell now whether the key is good.
    pub fn auth_store_unavailable() -> Self {
        Self::new(
            Code::AUTH_STORE_UNAVAILABLE,
            "Your API key cannot be checked at the moment. Try again.",
        )
        .retry_after(SOON)
    }

    /// 422: key records were not changed; `reason` is a word for it, and `id` whose it is.
    pub fn key_change_refused(message: String, reason: &'static str, id: &str) -> Self {
        Self::new(Code::KEY_CHANGE_REFUSED, message)
            .extra("reason", reason)
            .extra("id", id)
    }

    fn challenge(self) -> Self {
        self.header(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer error=\"invalid_token\""),
        )
    }
}

/// The shape of a request.
impl ApiError {
    /// 400.
    pub fn malformed_request(message: &'static str) -> Self {
        Self::new(Code::MALFORMED_REQUEST, message)
    }

    /// 408.
    pub fn request_timeout() -> Self {
        Self::new(Code::REQUEST_TIMEOUT, "The request did not arrive in time.")
    }

    /// 404: no such path.
    pub fn endpoint_not_found() -> Self {
        Self::new(Code::ENDPOINT_NOT_FOUND, "There is no such endpoint.")
    }

    /// 405: the path has other methods.
    pub fn method_not_allowed(allow: HeaderValue) -> Self {
        Self::new(
            Code::METHOD_NOT_ALLOWED,
            "This endpoint does not have this method.",
        )
        .header(ALLOW, allow)
    }

    /// 413: the body is over the route's cap.
    pub fn payload_too_large(cap: u64) -> Self {
        Self::new(
            Code::PAYLOAD_TOO_LARGE,
            format!("The body may have {cap} bytes at most."),
        )
    }

    /// 415: the body is not JSON.
    pub fn unsupported_media_type() -> Self {
        Self::other_media_type("application/json")
    }

    /// 415: the body is not of the media type that the route takes.
    pub fn other_media_type(wanted: &str) -> Self {
        Self::new(
            Code::UNSUPPORTED_MEDIA_TYPE,
            format!("Send the body as 'Content-Type: {wanted}'."),
        )
    }

    /// 422: the body is not what the endpoint takes; the message tells what is wrong.
    pub fn invalid_request_body(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::INVALID_REQUEST_BODY, message)
    }

    /// 422: a required field is absent.
    pub fn missing_required_field(param: &'static str) -> Self {
        Self::new(
            Code::MISSING_REQUIRED_FIELD,
            format!("The field '{param}' is required."),
        )
        .param(param)
    }
}

/// Limits.
impl ApiError {
    /// 429: the caller's budget is spent.
    pub fn rate_limit_exceeded(limit: u32, wait: Duration) -> Self {
        Self::new(
            Code::RATE_LIMIT_EXCEEDED,
            format!("The limit of {limit} requests a minute is reached."),
        )
        .retry_after(wait)
    }

    /// 402, reserved.
    pub fn quota_exceeded() -> Self {
        Self::new(
            Code::QUOTA_EXCEEDED,
            "The quota of this account is used up.",
        )
    }

    /// 503: a limit of this process is reached.
    pub fn overloaded() -> Self {
        Self::new(Code::OVERLOADED, "The server is at its limit. Try again.").retry_after(SOON)
    }
}

/// Idempotency.
impl ApiError {
    /// 422: the `Idempotency-Key` is not one.
    pub fn invalid_idempotency_key() -> Self {
        Self::new(
            Code::INVALID_IDEMPOTENCY_KEY,
            "Send one Idempotency-Key of 1 to 255 printable ASCII characters.",
        )
        .param("Idempotency-Key")
    }

    /// 422: the route demands an `Idempotency-Key` and none was sent.
    pub fn missing_idempotency_key() -> Self {
        Self::new(
            Code::INVALID_IDEMPOTENCY_KEY,
            "This endpoint requires an Idempotency-Key.",
        )
        .param("Idempotency-Key")
    }

    /// 409: the first request with this key still runs.
    pub fn idempotency_key_in_progress(original: &str, wait: Duration) -> Self {
        Self::new(
            Code::IDEMPOTENCY_KEY_IN_PROGRESS,
            "The first request with this Idempotency-Key is still running.",
        )
        .extra("original_correlation_id", original)
        .retry_after(wait)
    }

    /// 422: the key was used for another request.
    pub fn idempotency_key_in_use(original: &str) -> Self {
        Self::new(
            Code::IDEMPOTENCY_KEY_IN_USE,
            "This Idempotency-Key was used with another method, path, query or body.",
        )
        .extra("original_correlation_id", original)
    }

    /// 409: nobody can know whether the first request was executed.
    pub fn idempotency_outcome_unknown(original: &str) -> Self {
        Self::new(
            Code::IDEMPOTENCY_OUTCOME_UNKNOWN,
            "It is not known whether the first request with this Idempotency-Key was executed. \
             It will not be executed again.",
        )
        .extra("original_correlation_id", original)
    }

    /// 409: it was executed, and its response could not be kept.
    pub fn idempotency_response_not_stored(original: &str) -> Self {
        Self::new(
            Code::IDEMPOTENCY_RESPONSE_NOT_STORED,
            "The first request with this Idempotency-Key was executed; its response was not kept.",
        )
        .extra("original_correlation_id", original)
    }

    /// 503: whether the request was executed before cannot be looked up.
    pub fn idempotency_store_unavailable() -> Self {
        Self::new(
            Code::IDEMPOTENCY_STORE_UNAVAILABLE,
            "Idempotency-Keys cannot be honoured at the moment; nothing was executed. Try again.",
        )
        .retry_after(SOON)
    }

    /// 503: there is no room for another key.
    pub fn idempotency_store_full() -> Self {
        Self::new(
            Code::IDEMPOTENCY_STORE_FULL,
            "There is no room for another Idempotency-Key at the moment; nothing was executed.",
        )
        .retry_after(LATER)
    }
}

/// The upstream, and ourselves.
impl ApiError {
    /// 502: the upstream could not be reached, or its answer was cut.
    pub fn bad_gateway() -> Self {
        Self::new(
            Code::BAD_GATEWAY,
            "The service behind this API did not answer properly.",
        )
    }

    /// 503: the upstream takes no requests now; nothing was sent.
    pub fn upstream_unavailable() -> Self {
        Self::new(
            Code::UPSTREAM_UNAVAILABLE,
            "The service behind this API is not available. Try again.",
        )
        .retry_after(SOON)
    }

    /// 504: the upstream did not answer in time.
    pub fn timeout() -> Self {
        Self::new(
            Code::TIMEOUT,
            "The service behind this API did not answer in time.",
        )
    }

    /// 500: a fault of ours, of which the caller learns the correlation id and no more.
    pub fn internal() -> Self {
        Self::new(Code::INTERNAL_ERROR, "Something went wrong on our side.")
    }
}

/// When a limit or a fault of this process has most often passed.
const SOON: Duration = Duration::from_secs(1);

/// When a full store may have let go of something.
const LATER: Duration = Duration::from_secs(60);
