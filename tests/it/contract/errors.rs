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
    occupy(&api).await;
    for (draft, want, extra, value) in callers().into_iter().chain(shapes()).chain(repetitions()) {
        let reply = api.send(&draft.correlation_id("mine")).await;
        let mut fields = reply.error();
        let mut take = |name: &str| {
            let taken = fields.as_object_mut().and_then(|error| error.remove(name));
            taken
                .and_then(|value| value.as_str().map(str::to_owned))
                .unwrap_or_default()
        };
        let found = format!("{} {} {}", reply.status, take("type"), take("code"));
        assert_eq!(found, want);
        assert!(!take("message").is_empty(), "{want}");
        assert_eq!(take("correlation_id"), "mine", "{want}");
        assert_eq!(
            if extra.is_empty() {
                String::new()
            } else {
                take(extra)
            },
            value,
            "{want}"
        );
        assert_eq!(fields, json!({}), "{want}");
        assert_eq!(reply.one("content-type"), "application/json", "{want}");
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

/// A request, its status, type and code, and the one field beside the usual ones.
type Row = (Draft, &'static str, &'static str, &'static str);

fn callers() -> Vec<Row> {
    let get = || Draft::get("/v1/charges/17");
    let refused = "401 authentication_error invalid_api_key";
    let scope = "403 permission_error insufficient_scope";
    let agent = "403 permission_error agent_not_authorized";
    let spent = "429 rate_limit_error rate_limit_exceeded";
    vec![
        (get(), refused, "", ""),
        (get().key("unheard-of"), refused, "", ""),
        (get().key("revoked"), refused, "", ""),
        (get().key("expired"), refused, "", ""),
        (get().key("narrow"), scope, "required_scope", "charges:read"),
        (for_other_agent(), agent, "", ""),
        (get().key("limited"), spent, "", ""),
    ]
}

fn shapes() -> Vec<Row> {
    let on = |method: &str, path: &str| Draft::new(method, path).json("{}").key("full");
    let bad_key = "422 idempotency_error invalid_idempotency_key";
    let keyless = on("POST", "/v1/charges").idempotency_key("");
    let typeless = on("POST", "/v1/charges").without("content-type");
    let long = on("POST", "/v1/small").body("01234567890");
    vec![
        (
            on("GET", "/v1/a"),
            "404 not_found_error endpoint_not_found",
            "",
            "",
        ),
        (
            on("DELETE", "/v1/charges"),
            "405 validation_error method_not_allowed",
            "",
            "",
        ),
        (
            typeless,
            "415 validation_error unsupported_media_type",
            "",
            "",
        ),
        (long, "413 validation_error payload_too_large", "", ""),
        (keyless, bad_key, "param", "Idempotency-Key"),
        (
            on("POST", "/v1/strict"),
            bad_key,
            "param",
            "Idempotency-Key",
        ),
    ]
}

fn repetitions() -> Vec<Row> {
    let again = |key: &str| Draft::post("/v1/charges").key("full").idempotency_key(key);
    let original = "original_correlation_id";
    let in_use = "422 idempotency_error idempotency_key_in_use_with_different_params";
    let unkept = "409 idempotency_error idempotency_response_not_stored";
    vec![
        (
            again("running"),
            "409 idempotency_error idempotency_key_in_progress",
            original,
            "running",
        ),
        (again("done").json("[1]"), in_use, original, "done"),
        (
            again("lost"),
            "409 idempotency_error idempotency_outcome_unknown",
            original,
            "lost",
        ),
        (again("huge"), unkept, original, "huge"),
    ]
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
