//! A message is made once, whatever becomes of the request.

use futures_util::future::{FutureExt, join_all};
use harness::{Answer, Mounting};
use serde_json::{Value, json};

use super::against_both_mountings;
use super::world::{USER, World, template, text};

against_both_mountings![
    a_client_that_leaves_finds_its_message_when_it_comes_back,
    a_message_goes_to_meta_and_comes_back_as_delivered,
    a_template_needs_no_window,
    fifty_at_once_with_one_key_are_one_message,
    the_key_belongs_to_the_whole_request,
];

async fn a_message_goes_to_meta_and_comes_back_as_delivered(mounting: Mounting) {
    let world = World::new(mounting).await;
    let closed = world.send(&text("full", &json!({}))).await;
    assert_eq!(closed.verdict(), "422 outside_24h_window");
    world.open_window().await;
    let sent = world.send(&text("full", &json!({}))).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    let message = sent.json();
    for (field, want) in [
        ("status", json!("queued")),
        ("type", json!("text")),
        ("to", json!(USER)),
        ("platform_message_id", Value::Null),
        ("sent_at", Value::Null),
        ("failed_at", Value::Null),
    ] {
        assert_eq!(message[field], want, "{field}: {message}");
    }
    let created = message["created_at"].as_str().unwrap_or_default();
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    let id = message["id"].as_str().unwrap_or_default();
    let delivered = world.reaches(id, "delivered").await;
    let wamid = delivered["platform_message_id"]
        .as_str()
        .unwrap_or_default();
    assert!(wamid.starts_with("wamid."), "{delivered}");
    assert_eq!(delivered["to"], "", "a read does not tell the recipient");
    assert_eq!(world.ledger().await.len(), 1);
}

async fn a_template_needs_no_window(mounting: Mounting) {
    let world = World::new(mounting).await;
    let sent = world.send(&template("full", &json!({}))).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    let message = sent.json();
    assert_eq!(message["type"], "template");
    world
        .reaches(message["id"].as_str().unwrap_or_default(), "delivered")
        .await;
}

async fn fifty_at_once_with_one_key_are_one_message(mounting: Mounting) {
    let world = World::new(mounting).await;
    world.open_window().await;
    let bytes = text("full", &json!({})).idempotency_key("k").to_bytes();
    let mut wires = join_all((0..50).map(|_| world.wire())).await;
    join_all(wires.iter_mut().map(|wire| wire.send(&bytes).boxed())).await;
    let answers = join_all(wires.iter_mut().map(|wire| wire.answer(false).boxed())).await;
    let mut made: Vec<(String, Vec<u8>)> = Vec::new();
    for answer in answers {
        let Answer::Reply(reply) = answer else {
            panic!("every request is answered: {answer:?}")
        };
        match &*reply.verdict() {
            "202" => made.push((reply.one("idempotent-replayed").to_owned(), reply.body)),
            "409 idempotency_key_in_progress" => {}
            other => panic!("{other}"),
        }
    }
    let first = made
        .iter()
        .filter(|(replayed, _)| replayed.is_empty())
        .count();
    assert_eq!(first, 1, "one is the first, the others are replays");
    assert!(made.iter().all(|(_, body)| *body == made[0].1));
    let message: Value = serde_json::from_slice(&made[0].1).expect("it is JSON");
    world
        .reaches(message["id"].as_str().unwrap_or_default(), "delivered")
        .await;
    assert_eq!(world.ledger().await.len(), 1);
}

async fn a_client_that_leaves_finds_its_message_when_it_comes_back(mounting: Mounting) {
    let world = World::new(mounting).await;
    world.open_window().await;
    let draft = text("full", &json!({})).idempotency_key("k");
    let mut wire = world.wire().await;
    wire.send(&draft.to_bytes()).await;
    wire.cut();
    let message = loop {
        let reply = world.send(&draft).await;
        match &*reply.verdict() {
            "202" => break reply.json(),
            "409 idempotency_key_in_progress" => {}
            other => panic!("{other}"),
        }
    };
    let again = world.send(&draft).await;
    assert_eq!(
        (again.one("idempotent-replayed"), again.json()),
        ("true", message.clone())
    );
    world
        .reaches(message["id"].as_str().unwrap_or_default(), "delivered")
        .await;
    assert_eq!(world.ledger().await.len(), 1);
}

async fn the_key_belongs_to_the_whole_request(mounting: Mounting) {
    let world = World::new(mounting).await;
    world.open_window().await;
    let first = text("full", &json!({}))
        .idempotency_key("k")
        .correlation_id("first");
    assert_eq!(world.send(&first).await.status, 202);
    let replayed = text("full", &json!({}))
        .idempotency_key("k")
        .correlation_id("second");
    let replayed = world.send(&replayed).await;
    assert_eq!(replayed.one("x-original-correlation-id"), "first");
    let other = text("full", &json!({"text": {"body": "Ho"}})).idempotency_key("k");
    let other = world.send(&other).await;
    assert_eq!(
        other.verdict(),
        "422 idempotency_key_in_use_with_different_params"
    );
    assert_eq!(other.error()["original_correlation_id"], "first");
}
