//! Contract §4: which keys are taken, and that a change of a key holds on the next request.

use harness::{AGENT, Draft, Mounting, OTHER_AGENT, Setup, token};
use vestibule::clock::Clock;

use super::against_both_mountings;

against_both_mountings![
    a_key_expires_at_its_very_moment,
    a_malformed_key_is_refused_before_any_look_up,
    a_restricted_key_acts_for_its_agents_alone,
    a_revocation_holds_on_the_next_request,
    a_scope_is_exact_and_a_star_is_all,
    keys_of_another_make_are_taken_where_that_is_on,
    the_message_tells_which_of_the_refusals_it_is,
];

async fn the_message_tells_which_of_the_refusals_it_is(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let mistyped = token("full").replace("mk_live", "mk_life");
    for (credentials, want) in [
        (None, "Send your API key"),
        (Some("Basic abc".to_owned()), "scheme"),
        (Some("Bearer abc".to_owned()), "shaped"),
        (Some(format!("Bearer {mistyped}")), "checksum"),
        (Some(format!("Bearer {}", token("unheard-of"))), "not known"),
        (Some(format!("Bearer {}", token("revoked"))), "revoked"),
        (Some(format!("Bearer {}", token("expired"))), "expired"),
    ] {
        let draft = Draft::get("/v1/charges/17");
        let draft = match &credentials {
            Some(value) => draft.field("Authorization", value),
            None => draft,
        };
        let reply = api.send(&draft).await;
        assert_eq!(reply.verdict(), "401 invalid_api_key", "{want}");
        let message = reply.error()["message"].to_string();
        assert!(message.contains(want), "{message} without {want:?}");
    }
}

async fn a_malformed_key_is_refused_before_any_look_up(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let good = token("full");
    for index in 0..good.len() {
        let replacement = if good.as_bytes()[index] == b'a' {
            "b"
        } else {
            "a"
        };
        let mut mistyped = good.clone();
        mistyped.replace_range(index..=index, replacement);
        let draft = Draft::get("/v1/charges/17");
        let draft = draft.field("Authorization", &format!("Bearer {mistyped}"));
        assert_eq!(api.send(&draft).await.status, 401, "position {index}");
    }
    assert_eq!(api.keys.asked(), 0);
}

async fn a_scope_is_exact_and_a_star_is_all(mounting: Mounting) {
    let api = Setup::new()
        .key("sender", |key| key.scopes(["whatsapp:send"]))
        .key("reader", |key| key.scopes(["whatsapp:read"]))
        .key("wild", |key| key.scopes(["whatsapp:*"]))
        .key("none", |key| key.scopes([""; 0]))
        .mount(mounting)
        .await;
    for (key, send, read, required) in [
        ("full", 200, 200, ""),
        ("sender", 200, 200, ""),
        ("reader", 403, 200, "whatsapp:send"),
        ("wild", 403, 403, "whatsapp:send"),
        ("none", 403, 403, "whatsapp:send"),
    ] {
        let sent = api
            .send(&Draft::post("/v1/whatsapp/messages").key(key))
            .await;
        let found = api
            .send(&Draft::get("/v1/whatsapp/messages/17").key(key))
            .await;
        assert_eq!((sent.status, found.status), (send, read), "{key}");
        assert_eq!(
            sent.error()["required_scope"].as_str().unwrap_or(""),
            required,
            "{key}"
        );
    }
}

async fn a_restricted_key_acts_for_its_agents_alone(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let upper = AGENT.to_uppercase();
    for (key, body, want) in [
        ("bound", format!(r#"{{"agent_id":"{AGENT}"}}"#), "200"),
        ("bound", format!(r#"{{"agent_id":"{upper}"}}"#), "200"),
        (
            "bound",
            format!(r#"{{"agent_id":"{OTHER_AGENT}"}}"#),
            "403 agent_not_authorized",
        ),
        ("full", format!(r#"{{"agent_id":"{OTHER_AGENT}"}}"#), "200"),
        // What is wrong with the field is for the service to say.
        ("bound", r#"{"agent_id":17}"#.to_owned(), "200"),
        ("bound", "{}".to_owned(), "200"),
        ("bound", "no JSON".to_owned(), "200"),
    ] {
        let draft = Draft::post("/v1/agents").key(key).json(&body);
        let reply = api
            .send(&draft.idempotency_key(&body.replace('"', "")))
            .await;
        assert_eq!(reply.verdict(), want, "{key} {body}");
    }
}

async fn a_key_expires_at_its_very_moment(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("ending");
    api.clock.advance(std::time::Duration::from_millis(59_999));
    assert_eq!(api.send(&draft).await.status, 200);
    api.clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(api.send(&draft).await.verdict(), "401 invalid_api_key");
}

async fn a_revocation_holds_on_the_next_request(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges")
        .key("default")
        .idempotency_key("k");
    assert_eq!(api.send(&draft).await.status, 200);
    assert_eq!(api.send(&draft).await.one("idempotent-replayed"), "true");

    let held = api.keys.keys().get("default").expect("the key is there");
    let narrowed = held.to_builder().scopes(["whatsapp:read"]).build();
    api.keys
        .keys()
        .insert(narrowed)
        .expect("it replaces the other");
    let reply = api.send(&draft).await;
    assert_eq!(
        reply.verdict(),
        "403 insufficient_scope",
        "no kept reply for a narrowed key"
    );

    assert!(api.keys.keys().revoke("default", api.clock.now()));
    let reply = api.send(&draft).await;
    assert_eq!(
        reply.verdict(),
        "401 invalid_api_key",
        "nor for a revoked one"
    );
}

async fn keys_of_another_make_are_taken_where_that_is_on(mounting: Mounting) {
    let opaque = Draft::get("/v1/charges/17").key("opaque-17");
    let closed = Setup::new()
        .key("opaque-17", |key| key)
        .mount(mounting)
        .await;
    assert_eq!(closed.send(&opaque).await.verdict(), "401 invalid_api_key");
    let open = Setup::new()
        .key("opaque-17", |key| key)
        .opaque()
        .mount(mounting)
        .await;
    assert_eq!(open.send(&opaque).await.status, 200);
    assert_eq!(
        open.send(&Draft::get("/v1/charges/17").key("full"))
            .await
            .status,
        200
    );
    let unknown = open
        .send(&Draft::get("/v1/charges/17").key("opaque-18"))
        .await;
    assert_eq!(unknown.verdict(), "401 invalid_api_key");
}
