//! The one table of routes: the layers go by it, and the OpenAPI document shows it.

use vestibule::route::Policy;

use super::webhook;

/// Each route with what it asks of a request.
pub(crate) fn routes() -> [(&'static str, Policy); 9] {
    let send = || {
        Policy::scope("whatsapp:send")
            .deduplicated()
            .agent("/agent_id")
    };
    [
        ("POST /v1/whatsapp/messages", send()),
        ("POST /v1/whatsapp/templates", send()),
        (
            "GET /v1/whatsapp/messages/{id}",
            Policy::any_scope(["whatsapp:send", "whatsapp:read"]),
        ),
        ("GET /v1/whatsapp/windows", Policy::scope("whatsapp:read")),
        // Every method, so that Meta is never asked for a key.
        (
            "* /webhooks/whatsapp",
            Policy::public().body_max(webhook::BODY_MAX as u64),
        ),
        ("GET /healthz", Policy::public()),
        ("GET /readyz", Policy::public()),
        ("GET /openapi.json", Policy::public()),
        ("GET /docs", Policy::public()),
    ]
}
