//! Who may read a message, and who is told that there is none.

use harness::{Draft, Mounting};
use serde_json::json;

use super::against_both_mountings;
use super::world::{World, template};

against_both_mountings![a_message_is_read_by_its_account_alone];

async fn a_message_is_read_by_its_account_alone(mounting: Mounting) {
    let world = World::new(mounting).await;
    let sent = world.send(&template("full", &json!({}))).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    let id = sent.json()["id"].as_str().unwrap_or_default().to_owned();
    let upper = id.to_uppercase();
    for (key, id, want) in [
        ("full", &*id, "200"),
        ("narrow", &id, "200"),
        ("bound", &id, "200"),
        ("full", &upper, "200"),
        ("stranger", &id, "404 message_not_found"),
        (
            "full",
            "11111111-1111-4111-8111-111111111111",
            "404 message_not_found",
        ),
        ("full", "17", "404 message_not_found"),
        ("full", "%27%20OR%201=1", "404 message_not_found"),
    ] {
        let reply = world
            .send(&Draft::get(&format!("/v1/whatsapp/messages/{id}")).key(key))
            .await;
        assert_eq!(reply.verdict(), want, "{key} {id}");
    }
}
