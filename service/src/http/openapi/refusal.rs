//! What each endpoint may refuse, made of the very errors that callers get: status, code,
//! headers and text cannot drift from them.

use http::Method;
use vestibule::ApiError;
use vestibule::error::Code;
use vestibule::route::Policy;

use super::super::webhook;

/// A refusal, and what a caller does about it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) error: ApiError,
    pub(super) advice: &'static str,
    /// Whether the request was charged before, so that the answer tells the budget.
    pub(super) is_charged: bool,
}

/// What the layers, and a sidecar that holds them, may say of a request to this route.
pub(super) fn of_layers(policy: &Policy, method: &Method) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if !policy.is_public() {
        refusals.extend(of_keys());
        if let Some(scope) = policy.scopes().last() {
            refusals.push(Refusal::new(
                ApiError::insufficient_scope(scope),
                "Use a key that has the scope, or have it added to this one.",
            ));
        }
        refusals.push(Refusal::new(
            ApiError::rate_limit_exceeded(60, WAIT),
            "Wait for as many seconds as `Retry-After` says, then repeat the request.",
        ));
    }
    if method == Method::POST {
        refusals.extend(of_bodies(policy));
    }
    if policy.upstream_kind().is_some() {
        refusals.extend(of_idempotency());
    }
    refusals.extend(of_faults());
    refusals
}

/// What both sending endpoints refuse.
pub(super) fn of_sending() -> Vec<Refusal> {
    let mut refusals = vec![agent_not_authorized(), invalid_agent_id()];
    refusals.extend([
        Refusal::new(
            ApiError::new(
                Code::INVALID_FROM_PHONE,
                "'from' must be an E.164 number such as +15551234567.",
            )
            .param("from"),
            "Write the number with `+`, country code and no spaces.",
        ),
        Refusal::new(
            ApiError::new(
                Code::FROM_PHONE_NOT_FOUND,
                "This agent has no active connection with the number in 'from'.",
            )
            .param("from")
            .extra("available_phones", vec!["+15550783881"]),
            "Send from one of `available_phones`; where there is none, check the agent.",
        ),
        invalid_phone_number(),
        Refusal::new(
            ApiError::missing_required_field("to"),
            "Send the field that `param` names.",
        ),
        Refusal::new(
            ApiError::invalid_request_body("The body is not JSON."),
            "Send a JSON object in UTF-8.",
        ),
    ]);
    refusals
}

/// What is refused of a text.
pub(super) fn of_text() -> Vec<Refusal> {
    vec![
        Refusal::new(
            ApiError::new(
                Code::INVALID_MESSAGE_BODY,
                "'text.body' must have 1 to 4096 characters.",
            )
            .param("text.body"),
            "Shorten the text, or split it.",
        ),
        Refusal::new(
            ApiError::new(
                Code::OUTSIDE_24H_WINDOW,
                "The customer has not written in the last 24 hours: only a template may be sent.",
            ),
            "Send a template instead. Nothing was queued.",
        ),
    ]
}

/// What is refused of a template.
pub(super) fn of_template() -> Vec<Refusal> {
    vec![
        Refusal::new(
            ApiError::new(
                Code::INVALID_TEMPLATE_NAME,
                "'template.name' must be 1 to 512 lower-case letters, digits and '_'.",
            )
            .param("template.name"),
            "Use the name that Meta approved.",
        ),
        Refusal::new(
            ApiError::new(
                Code::INVALID_TEMPLATE_LANGUAGE,
                "'template.language' must be a code such as en or pt_BR.",
            )
            .param("template.language"),
            "Use the language that Meta approved.",
        ),
        Refusal::new(
            ApiError::new(
                Code::INVALID_TEMPLATE_PARAMETERS,
                "'template.parameters' is not what a template takes.",
            )
            .param("template.parameters"),
            "Correct the field that `param` names.",
        ),
    ]
}

/// What is refused of a question for one message.
pub(super) fn of_message() -> Vec<Refusal> {
    vec![
        agent_not_authorized(),
        Refusal::new(
            ApiError::new(Code::MESSAGE_NOT_FOUND, "There is no message with this id."),
            "Check the id, and that the key is of the account that sent the message.",
        ),
        // An id with a dot segment or an encoded slash is no such path.
        Refusal::new(
            ApiError::endpoint_not_found(),
            "Check the path: an id has no `/`, and no `.` alone.",
        ),
    ]
}

/// What is refused of a question for windows.
pub(super) fn of_windows() -> Vec<Refusal> {
    vec![
        agent_not_authorized(),
        invalid_agent_id(),
        invalid_phone_number(),
        Refusal::new(
            ApiError::missing_required_field("agent_id"),
            "Send the parameter that `param` names.",
        ),
    ]
}

/// What is refused when the webhook is verified.
pub(super) fn of_verification() -> Vec<Refusal> {
    vec![Refusal::new(
        ApiError::new(
            webhook::WRONG_VERIFY_TOKEN,
            "The verify token is not the one that was configured.",
        ),
        "Enter the same verify token at Meta and in the configuration.",
    )]
}

/// What is refused of a webhook.
pub(super) fn of_webhook() -> Vec<Refusal> {
    vec![Refusal::new(
        ApiError::new(
            webhook::INVALID_SIGNATURE,
            "The signature does not match the body.",
        ),
        "Configure the app secret that Meta signs with.",
    )]
}

fn of_keys() -> Vec<Refusal> {
    vec![
        Refusal::new(
            ApiError::missing_api_key(),
            "Send a key that is valid; `message` says what is wrong with this one.",
        )
        .uncharged(),
        Refusal::new(
            ApiError::auth_store_unavailable(),
            "Repeat the request after `Retry-After` seconds.",
        )
        .uncharged(),
    ]
}

fn of_bodies(policy: &Policy) -> Vec<Refusal> {
    let mut refusals = vec![
        Refusal::new(
            ApiError::malformed_request("The body broke off."),
            "Send the body to its end.",
        ),
        Refusal::new(
            ApiError::request_timeout(),
            "Send the body without long pauses.",
        ),
        Refusal::new(
            ApiError::payload_too_large(policy.bytes_allowed()),
            "Send less.",
        ),
    ];
    if !policy.is_public() {
        refusals.push(Refusal::new(
            ApiError::unsupported_media_type(),
            "Send `Content-Type: application/json`.",
        ));
    }
    refusals
}

fn of_idempotency() -> Vec<Refusal> {
    vec![
        Refusal::new(
            ApiError::invalid_idempotency_key(),
            "Send the header once, with a value such as a UUID.",
        ),
        Refusal::new(
            ApiError::idempotency_key_in_progress(ORIGINAL, WAIT),
            "Repeat the request after `Retry-After` seconds: it then gets the first answer.",
        ),
        Refusal::new(
            ApiError::idempotency_key_in_use(ORIGINAL),
            "Use a new key for a new request, and the same body for a repetition.",
        ),
        Refusal::new(
            ApiError::idempotency_outcome_unknown(ORIGINAL),
            "Find out whether the first request had its effect before you use a new key.",
        ),
        Refusal::new(
            ApiError::idempotency_response_not_stored(ORIGINAL),
            "Take the first request as executed; its answer cannot be had again.",
        ),
        Refusal::new(
            ApiError::idempotency_store_unavailable(),
            "Repeat the request with the same key after `Retry-After` seconds.",
        ),
        Refusal::new(
            ApiError::idempotency_store_full(),
            "Repeat the request with the same key after `Retry-After` seconds.",
        ),
    ]
}

/// What may happen to any request.
fn of_faults() -> Vec<Refusal> {
    vec![
        Refusal::new(
            ApiError::overloaded(),
            "Repeat the request after `Retry-After` seconds, and then at longer intervals.",
        )
        .uncharged(),
        Refusal::new(
            ApiError::internal(),
            "Repeat a keyed request with the same key. Report the correlation id.",
        ),
        Refusal::new(
            ApiError::bad_gateway(),
            "Repeat a keyed request with the same key, at longer and longer intervals.",
        ),
        Refusal::new(
            ApiError::upstream_unavailable(),
            "Repeat the request after `Retry-After` seconds.",
        ),
        Refusal::new(
            ApiError::timeout(),
            "Repeat a keyed request with the same key, at longer and longer intervals.",
        ),
    ]
}

fn agent_not_authorized() -> Refusal {
    Refusal::new(
        ApiError::agent_not_authorized(),
        "Use a key that may act for this agent.",
    )
}

fn invalid_agent_id() -> Refusal {
    Refusal::new(
        ApiError::new(Code::INVALID_AGENT_ID, "'agent_id' must be a UUID.").param("agent_id"),
        "Send the agent's id in its hyphenated form.",
    )
}

fn invalid_phone_number() -> Refusal {
    Refusal::new(
        ApiError::new(
            Code::INVALID_PHONE_NUMBER,
            "'to' must be an E.164 number such as +15551234567.",
        )
        .param("to"),
        "Write the number with `+`, country code and no spaces.",
    )
}

// === impl Refusal ===

impl Refusal {
    const fn new(error: ApiError, advice: &'static str) -> Self {
        Self {
            error,
            advice,
            is_charged: true,
        }
    }

    const fn uncharged(mut self) -> Self {
        self.is_charged = false;
        self
    }
}

/// An id as the layers mint them.
pub(super) const ORIGINAL: &str = "req_01KB7Z8Q4W3V5X6Y7Z8A9B0C1D";

const WAIT: std::time::Duration = std::time::Duration::from_secs(7);
