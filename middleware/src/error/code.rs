//! The one table from a cause to its status, type and code (contract §3).

use http::StatusCode;

/// The family of an error; a client that does not know a code may branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorType {
    /// 401.
    Authentication,
    /// 409, and the two 422 of idempotency.
    Idempotency,
    /// 500.
    Internal,
    /// 404.
    NotFound,
    /// 403.
    Permission,
    /// 402.
    Quota,
    /// 429.
    RateLimit,
    /// 502, 503, 504.
    Upstream,
    /// 400, 405, 408, 413, 414, 415, 431 and the other 422.
    Validation,
}

/// A row of the table: status, type and the word that clients branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    status: StatusCode,
    error_type: ErrorType,
    name: &'static str,
}

/// Whether this is the status of a refusal in front of the handler, which may end without
/// the request being another one: it is never kept (contract §6).
pub(crate) const fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403 | 409 | 429)
}

// === impl ErrorType ===

impl ErrorType {
    /// The word in the envelope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication_error",
            Self::Idempotency => "idempotency_error",
            Self::Internal => "internal_error",
            Self::NotFound => "not_found_error",
            Self::Permission => "permission_error",
            Self::Quota => "quota_error",
            Self::RateLimit => "rate_limit_error",
            Self::Upstream => "upstream_error",
            Self::Validation => "validation_error",
        }
    }
}

// === impl Code ===

impl Code {
    /// A code of a team's own.
    pub const fn new(status: StatusCode, error_type: ErrorType, name: &'static str) -> Self {
        Self {
            status,
            error_type,
            name,
        }
    }

    /// The status of the response.
    pub const fn status(self) -> StatusCode {
        self.status
    }

    /// The family of the error.
    pub const fn error_type(self) -> ErrorType {
        self.error_type
    }

    /// The word that clients branch on.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// Declares the rows and the list of them, so that no row can be missing from the list.
macro_rules! table {
    ($($row:ident = $status:ident $error_type:ident $name:literal;)*) => {
        /// The contract's own codes.
        impl Code {
            $(
                #[doc = concat!("`", $name, "`")]
                pub const $row: Self = Self::new(StatusCode::$status, ErrorType::$error_type, $name);
            )*

            /// Every code of the contract.
            pub const ALL: &[Self] = &[$(Self::$row),*];
        }
    };
}

table! {
    MALFORMED_REQUEST = BAD_REQUEST Validation "malformed_request";
    EXPIRED_API_KEY = UNAUTHORIZED Authentication "expired_api_key";
    INVALID_API_KEY = UNAUTHORIZED Authentication "invalid_api_key";
    REVOKED_API_KEY = UNAUTHORIZED Authentication "revoked_api_key";
    QUOTA_EXCEEDED = PAYMENT_REQUIRED Quota "quota_exceeded";
    AGENT_NOT_AUTHORIZED = FORBIDDEN Permission "agent_not_authorized";
    INSUFFICIENT_SCOPE = FORBIDDEN Permission "insufficient_scope";
    ENDPOINT_NOT_FOUND = NOT_FOUND NotFound "endpoint_not_found";
    MESSAGE_NOT_FOUND = NOT_FOUND NotFound "message_not_found";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED Validation "method_not_allowed";
    REQUEST_TIMEOUT = REQUEST_TIMEOUT Validation "request_timeout";
    IDEMPOTENCY_KEY_IN_PROGRESS = CONFLICT Idempotency "idempotency_key_in_progress";
    IDEMPOTENCY_OUTCOME_UNKNOWN = CONFLICT Idempotency "idempotency_outcome_unknown";
    IDEMPOTENCY_RESPONSE_NOT_STORED = CONFLICT Idempotency "idempotency_response_not_stored";
    PAYLOAD_TOO_LARGE = PAYLOAD_TOO_LARGE Validation "payload_too_large";
    URI_TOO_LONG = URI_TOO_LONG Validation "uri_too_long";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE Validation "unsupported_media_type";
    FROM_PHONE_NOT_FOUND = UNPROCESSABLE_ENTITY Validation "from_phone_not_found_for_agent";
    IDEMPOTENCY_KEY_IN_USE = UNPROCESSABLE_ENTITY Idempotency "idempotency_key_in_use_with_different_params";
    INVALID_AGENT_ID = UNPROCESSABLE_ENTITY Validation "invalid_agent_id";
    INVALID_FROM_PHONE = UNPROCESSABLE_ENTITY Validation "invalid_from_phone";
    INVALID_IDEMPOTENCY_KEY = UNPROCESSABLE_ENTITY Idempotency "invalid_idempotency_key";
    INVALID_MESSAGE_BODY = UNPROCESSABLE_ENTITY Validation "invalid_message_body";
    INVALID_PHONE_NUMBER = UNPROCESSABLE_ENTITY Validation "invalid_phone_number";
    INVALID_REQUEST_BODY = UNPROCESSABLE_ENTITY Validation "invalid_request_body";
    INVALID_TEMPLATE_LANGUAGE = UNPROCESSABLE_ENTITY Validation "invalid_template_language";
    INVALID_TEMPLATE_NAME = UNPROCESSABLE_ENTITY Validation "invalid_template_name";
    INVALID_TEMPLATE_PARAMETERS = UNPROCESSABLE_ENTITY Validation "invalid_template_parameters";
    KEY_CHANGE_REFUSED = UNPROCESSABLE_ENTITY Validation "key_change_refused";
    MISSING_REQUIRED_FIELD = UNPROCESSABLE_ENTITY Validation "missing_required_field";
    OUTSIDE_24H_WINDOW = UNPROCESSABLE_ENTITY Validation "outside_24h_window";
    TEMPLATE_NOT_FOUND = UNPROCESSABLE_ENTITY Validation "template_not_found";
    RATE_LIMIT_EXCEEDED = TOO_MANY_REQUESTS RateLimit "rate_limit_exceeded";
    TOO_MANY_FAILED_ATTEMPTS = TOO_MANY_REQUESTS RateLimit "too_many_failed_attempts";
    HEADERS_TOO_LARGE = REQUEST_HEADER_FIELDS_TOO_LARGE Validation "headers_too_large";
    INTERNAL_ERROR = INTERNAL_SERVER_ERROR Internal "internal_error";
    BAD_GATEWAY = BAD_GATEWAY Upstream "upstream_unavailable";
    AUTH_STORE_UNAVAILABLE = SERVICE_UNAVAILABLE Upstream "auth_store_unavailable";
    IDEMPOTENCY_STORE_FULL = SERVICE_UNAVAILABLE Upstream "idempotency_store_full";
    IDEMPOTENCY_STORE_UNAVAILABLE = SERVICE_UNAVAILABLE Upstream "idempotency_store_unavailable";
    OVERLOADED = SERVICE_UNAVAILABLE Upstream "overloaded";
    UPSTREAM_UNAVAILABLE = SERVICE_UNAVAILABLE Upstream "upstream_unavailable";
    TIMEOUT = GATEWAY_TIMEOUT Upstream "timeout";
}
