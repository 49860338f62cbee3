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
    for (changed, code, param) in [
        (
            json!({"agent_id": null}),
            "missing_required_field",
            "agent_id",
        ),
        (json!({"agent_id": "x"}), "invalid_agent_id", "agent_id"),
        (json!({"agent_id": 17}), "invalid_agent_id", "agent_id"),
        (json!({"from": null}), "missing_required_field", "from"),
        (json!({"from": "15550783881"}), "invalid_from_phone", "from"),
        (json!({"from": "+0155507838"}), "invalid_from_phone", "from"),
        (json!({"from": 15}), "invalid_from_phone", "from"),
        (json!({"to": null}), "missing_required_field", "to"),
        (json!({"to": "+1"}), "invalid_phone_number", "to"),
        (
            json!({"to": "+1234567890123456"}),
            "invalid_phone_number",
            "to",
        ),
        (
            json!({"to": "+1 650 555 1234"}),
            "invalid_phone_number",
            "to",
        ),
        (
            json!({"to": "\u{ff0b}16505551234"}),
            "invalid_phone_number",
            "to",
        ),
        (
            json!({"to": ["+16505551234"]}),
            "invalid_phone_number",
            "to",
        ),
        (json!({"text": null}), "missing_required_field", "text.body"),
        (json!({"text": {}}), "missing_required_field", "text.body"),
        (
            json!({"text": {"body": ""}}),
            "invalid_message_body",
            "text.body",
        ),
        (
            json!({"text": {"body": "x".repeat(4097)}}),
            "invalid_message_body",
            "text.body",
        ),
        (
            json!({"text": {"body": 1}}),
            "invalid_message_body",
            "text.body",
        ),
        (json!({}), "outside_24h_window", ""),
    ] {
        for key in [None, Some(changed.to_string())] {
            let draft = text("full", &changed);
            let draft = match &key {
                // A key is at most 255 characters, and a fault is told under any.
                Some(key) => draft.idempotency_key(
                    &key.chars()
                        .filter(char::is_ascii)
                        .take(40)
                        .collect::<String>(),
                ),
                None => draft,
            };
            told(&world, &draft, code, param, &changed).await;
        }
    }
    let templates = [
        (
            json!({"template": null}),
            "missing_required_field",
            "template.name",
        ),
        (
            json!({"template": {"language": "en"}}),
            "missing_required_field",
            "template.name",
        ),
        (
            json!({"template": {"name": "x"}}),
            "missing_required_field",
            "template.language",
        ),
        (
            json!({"template": {"name": "Not A Name", "language": "en"}}),
            "invalid_template_name",
            "template.name",
        ),
        (
            json!({"template": {"name": "x", "language": "!"}}),
            "invalid_template_language",
            "template.language",
        ),
        (
            json!({"template": {"name": "x", "language": "en", "parameters": {"a": 1}}}),
            "invalid_template_parameters",
            "template.parameters",
        ),
    ];
    for (changed, code, param) in templates {
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
        assert_eq!(reply.status, 422, "{:.40}", body);
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
