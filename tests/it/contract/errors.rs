//! Contract §3: the envelope, and each code with its status, its type and its extras.
//!
//! The codes of the messaging service are among its own tests.

use harness::{Draft, Mounted, Mounting, OTHER_AGENT, Setup};
use serde_json::json;

use super::against_both_mountings;

against_both_mountings![
    a_fault_shows_neither_cause_nor_place,
    each_code_has_its_status_type_and_extras,
    revoked_and_expired_keys_have_codes_of_their_own_where_that_is_on,
    the_envelope_has_its_four_fields_first,
    the_fault_of_the_upstream_has_its_code,
];

async fn each_code_has_its_status_type_and_extras(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let post = || Draft::post("/v1/charges").key("full");
    let (get, key) = (|| Draft::get("/v1/charges/17"), "Idempotency-Key");
    occupy(&api).await;
    for (draft, status, of_type, code, extras) in [
        (get(), 401, AUTHENTICATION, "invalid_api_key", json!({})),
        (
            get().key("unheard-of"),
            401,
            AUTHENTICATION,
            "invalid_api_key",
            json!({}),
        ),
        (
            get().key("revoked"),
            401,
            AUTHENTICATION,
            "invalid_api_key",
            json!({}),
        ),
        (
            get().key("expired"),
            401,
            AUTHENTICATION,
            "invalid_api_key",
            json!({}),
        ),
        (
            get().key("narrow"),
            403,
            "permission_error",
            "insufficient_scope",
            json!({"required_scope": "charges:read"}),
        ),
        (
            for_other_agent(),
            403,
            "permission_error",
            "agent_not_authorized",
            json!({}),
        ),
        (
            post().field(key, ""),
            422,
            IDEMPOTENCY,
            "invalid_idempotency_key",
            json!({"param": key}),
        ),
        (
            Draft::post("/v1/strict").key("full"),
            422,
            IDEMPOTENCY,
            "invalid_idempotency_key",
            json!({"param": key}),
        ),
        (
            post().idempotency_key("running"),
            409,
            IDEMPOTENCY,
            "idempotency_key_in_progress",
            json!({"original_correlation_id": "running"}),
        ),
        (
            post().idempotency_key("done").json("[1]"),
            422,
            IDEMPOTENCY,
            "idempotency_key_in_use_with_different_params",
            json!({"original_correlation_id": "done"}),
        ),
        (
            post().idempotency_key("lost"),
            409,
            IDEMPOTENCY,
            "idempotency_outcome_unknown",
            json!({"original_correlation_id": "lost"}),
        ),
        (
            post().idempotency_key("huge"),
            409,
            IDEMPOTENCY,
            "idempotency_response_not_stored",
            json!({"original_correlation_id": "huge"}),
        ),
        (
            get().key("limited"),
            429,
            "rate_limit_error",
            "rate_limit_exceeded",
            json!({}),
        ),
        (
            Draft::get("/v1/a").key("full"),
            404,
            "not_found_error",
            "endpoint_not_found",
            json!({}),
        ),
        (
            Draft::new("DELETE", "/v1/charges").key("full"),
            405,
            VALIDATION,
            "method_not_allowed",
            json!({}),
        ),
        (
            post().without("content-type"),
            415,
            VALIDATION,
            "unsupported_media_type",
            json!({}),
        ),
        (
            Draft::post("/v1/small").key("full").body("01234567890"),
            413,
            VALIDATION,
            "payload_too_large",
            json!({}),
        ),
    ] {
        let reply = api.send(&draft.correlation_id("mine")).await;
        let mut want = json!({"type": of_type, "code": code, "correlation_id": "mine"});
        let extras = extras.as_object().expect("extras are an object").clone();
        want.as_object_mut()
            .expect("it is an object")
            .extend(extras);
        let mut found = reply.error();
        let message = found
            .as_object_mut()
            .and_then(|error| error.remove("message"));
        assert!(
            message.is_some_and(|text| text.as_str().is_some_and(|text| !text.is_empty())),
            "{code}"
        );
        assert_eq!((reply.status, found), (status, want), "{code}");
        assert_eq!(reply.one("content-type"), "application/json", "{code}");
    }
    api.origin.open("end");
}

async fn the_envelope_has_its_four_fields_first(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17")
        .key("narrow")
        .correlation_id("mine");
    let text = api.send(&draft).await.text();
    let want = r#"{"error":{"type":"permission_error","code":"insufficient_scope","message":"This API key lacks the scope 'charges:read'.","required_scope":"charges:read","correlation_id":"mine"}}"#;
    assert_eq!(text, want);
}

async fn revoked_and_expired_keys_have_codes_of_their_own_where_that_is_on(mounting: Mounting) {
    let setup = Setup::new().layers(|api| api.separate_codes());
    let api = setup.mount(mounting).await;
    for (key, want) in [
        ("revoked", "401 revoked_api_key"),
        ("expired", "401 expired_api_key"),
        ("unheard-of", "401 invalid_api_key"),
    ] {
        let reply = api.send(&Draft::get("/v1/charges/17").key(key)).await;
        assert_eq!(reply.verdict(), want, "{key}");
    }
}

async fn the_fault_of_the_upstream_has_its_code(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let brief = Draft::post("/v1/brief").key("full");
    for keyed in [false, true] {
        let draft = brief.clone().origin("never");
        let draft = if keyed {
            draft.idempotency_key("a")
        } else {
            draft
        };
        let late = api.send(&draft).await;
        assert_eq!(late.verdict(), "504 timeout", "keyed: {keyed}");
        assert_eq!(late.error()["type"], "upstream_error", "keyed: {keyed}");

        let draft = brief.clone().origin("panic");
        let draft = if keyed {
            draft.idempotency_key("b")
        } else {
            draft
        };
        let panicked = api.send(&draft).await;
        // A process that is cut off by its own panic is, from outside, one that was cut.
        let want = match mounting {
            Mounting::InProcess => ("500 internal_error", "internal_error"),
            Mounting::Sidecar => ("502 upstream_unavailable", "upstream_error"),
        };
        assert_eq!(panicked.verdict(), want.0, "keyed: {keyed}");
        assert_eq!(panicked.error()["type"], want.1, "keyed: {keyed}");
    }
}

async fn a_fault_shows_neither_cause_nor_place(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let canaries = [
        "told to",
        "panic",
        "memory",
        "store",
        "127.0.0.1",
        ".rs",
        "origin",
    ];
    api.keys.lose(true);
    let lost = api.send(&Draft::get("/v1/charges/17").key("full")).await;
    api.keys.lose(false);
    let draft = Draft::post("/v1/charges").key("full").origin("panic");
    let faults = [
        lost,
        api.send(&draft).await,
        api.send(&draft.idempotency_key("k")).await,
    ];
    for reply in faults {
        let message = reply.error()["message"].to_string();
        for canary in canaries {
            assert!(!message.contains(canary), "{canary:?} in {message}");
        }
    }
}

/// Brings about what the codes of idempotency and of the limit say.
async fn occupy(api: &Mounted) {
    let post = |key: &str| {
        Draft::post("/v1/charges")
            .key("full")
            .idempotency_key(key)
            .correlation_id(key)
    };
    let mut running = api.wire().await;
    running
        .send(&post("running").origin("wait end").to_bytes())
        .await;
    api.origin.executes(1).await;
    api.send(&post("done")).await;
    api.send(&post("lost").origin("panic")).await;
    api.send(&post("huge").origin("bytes 262145")).await;
    for _ in 0..5 {
        api.send(&Draft::get("/v1/charges/17").key("limited")).await;
    }
    // The connection may go: the work does not hang on it.
    running.cut();
}

fn for_other_agent() -> Draft {
    let bound = Draft::post("/v1/agents").key("bound").idempotency_key("a");
    bound.json(&format!(r#"{{"agent_id":"{OTHER_AGENT}"}}"#))
}

const AUTHENTICATION: &str = "authentication_error";
const IDEMPOTENCY: &str = "idempotency_error";
const VALIDATION: &str = "validation_error";
