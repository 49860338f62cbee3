//! The codes of the service, and their order.

use harness::{Draft, Mounting, OTHER_AGENT};
use serde_json::{Value, json};

use super::against_both_mountings;
use super::world::{FROM, World, template, text};

against_both_mountings![
    a_body_that_is_no_object_has_a_code_of_its_own,
    each_field_has_its_code,
    of_two_faults_the_first_field_is_named,
    the_numbers_of_an_agent_are_told,
];

async fn each_field_has_its_code(mounting: Mounting) {
    let world = World::new(mounting).await;
    for (index, (changed, code, param)) in texts().into_iter().enumerate() {
        let draft = text("full", &changed);
        told(&world, &draft, code, param, &changed).await;
        let keyed = draft.idempotency_key(&index.to_string());
        told(&world, &keyed, code, param, &changed).await;
    }
    for (changed, code, param) in templates() {
        let changed = json!({ "template": changed });
        told(&world, &template("full", &changed), code, param, &changed).await;
    }
    assert!(world.ledger().await.is_empty(), "nothing was queued");
}

async fn a_body_that_is_no_object_has_a_code_of_its_own(mounting: Mounting) {
    let world = World::new(mounting).await;
    let deep = "[".repeat(100_000);
    for body in [
        "",
        " ",
        "x",
        "[]",
        "17",
        "null",
        "\"x\"",
        "{",
        "{}}",
        "{\"a\":1,}",
        "{'a':1}",
        "\u{feff}{}",
        "{\"a\":\"\\ud800\"}",
        "{\"agent_id\":1e400}",
        &deep,
    ] {
        let draft = Draft::post("/v1/whatsapp/messages").key("full").body(body);
        let reply = world.send(&draft).await;
        assert_eq!(reply.status, 422, "{body:.40}");
        let code = reply.code();
        let fits = [
            "invalid_request_body",
            "missing_required_field",
            "invalid_agent_id",
        ];
        assert!(fits.contains(&&*code), "{code}: {body:.40}");
    }
}

async fn of_two_faults_the_first_field_is_named(mounting: Mounting) {
    let world = World::new(mounting).await;
    let faults = [
        ("agent_id", json!("x"), "invalid_agent_id"),
        ("from", json!("x"), "invalid_from_phone"),
        ("to", json!("x"), "invalid_phone_number"),
        ("text", json!({"body": ""}), "invalid_message_body"),
    ];
    for (index, (name, value, code)) in faults.iter().enumerate() {
        for (other, others, _) in &faults[index..] {
            let changed = json!({*name: value, *other: others});
            let reply = world.send(&text("full", &changed)).await;
            assert_eq!(reply.code(), *code, "{changed}");
        }
    }
}

async fn the_numbers_of_an_agent_are_told(mounting: Mounting) {
    let world = World::new(mounting).await;
    for (changed, numbers) in [
        (json!({"from": "+15550000000"}), json!([FROM])),
        (json!({"agent_id": OTHER_AGENT}), json!([])),
        (
            json!({"agent_id": "11111111-1111-4111-8111-111111111111"}),
            json!([]),
        ),
    ] {
        let reply = world.send(&text("full", &changed)).await;
        assert_eq!(
            reply.verdict(),
            "422 from_phone_not_found_for_agent",
            "{changed}"
        );
        assert_eq!(reply.error()["available_phones"], numbers, "{changed}");
    }
    let reply = world
        .send(&text("bound", &json!({"agent_id": OTHER_AGENT})))
        .await;
    assert_eq!(reply.verdict(), "403 agent_not_authorized");
}

/// What is wrong with a text message, its code and the field that is named.
fn texts() -> Vec<(Value, &'static str, &'static str)> {
    let missing = "missing_required_field";
    let (agent, from) = ("invalid_agent_id", "invalid_from_phone");
    let (phone, body) = ("invalid_phone_number", "invalid_message_body");
    vec![
        (json!({"agent_id": null}), missing, "agent_id"),
        (json!({"agent_id": "x"}), agent, "agent_id"),
        (json!({"agent_id": 17}), agent, "agent_id"),
        (json!({"from": null}), missing, "from"),
        (json!({"from": "15550783881"}), from, "from"),
        (json!({"from": "+0155507838"}), from, "from"),
        (json!({"from": 15}), from, "from"),
        (json!({"to": null}), missing, "to"),
        (json!({"to": "+1"}), phone, "to"),
        (json!({"to": "+1234567890123456"}), phone, "to"),
        (json!({"to": "+1 650 555 1234"}), phone, "to"),
        (json!({"to": "\u{ff0b}16505551234"}), phone, "to"),
        (json!({"to": ["+16505551234"]}), phone, "to"),
        (json!({"text": null}), missing, "text.body"),
        (json!({"text": {}}), missing, "text.body"),
        (json!({"text": {"body": ""}}), body, "text.body"),
        (
            json!({"text": {"body": "x".repeat(4097)}}),
            body,
            "text.body",
        ),
        (json!({"text": {"body": 1}}), body, "text.body"),
        (json!({}), "outside_24h_window", ""),
    ]
}

/// The same for a template.
fn templates() -> Vec<(Value, &'static str, &'static str)> {
    let (missing, name) = ("missing_required_field", "invalid_template_name");
    let (language, parameters) = ("invalid_template_language", "invalid_template_parameters");
    vec![
        (Value::Null, missing, "template.name"),
        (json!({"language": "en"}), missing, "template.name"),
        (json!({"name": "x"}), missing, "template.language"),
        (
            json!({"name": "Not A Name", "language": "en"}),
            name,
            "template.name",
        ),
        (
            json!({"name": "x", "language": "!"}),
            language,
            "template.language",
        ),
        (
            json!({"name": "x", "language": "en", "parameters": {"a": 1}}),
            parameters,
            "template.parameters",
        ),
    ]
}

async fn told(world: &World, draft: &Draft, code: &str, param: &str, changed: &Value) {
    let reply = world.send(draft).await;
    assert_eq!(
        reply.verdict(),
        format!("422 {code}"),
        "{changed}: {}",
        reply.text()
    );
    assert_eq!(reply.error()["type"], "validation_error", "{changed}");
    assert_eq!(
        reply.error()["param"].as_str().unwrap_or(""),
        param,
        "{changed}"
    );
    assert_eq!(
        reply.error()["correlation_id"],
        reply.one("x-correlation-id"),
        "{changed}"
    );
}
