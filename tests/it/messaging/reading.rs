//! Who may read a message, and who is told that there is none.

use harness::{AGENT, Draft, Mounting, OTHER_AGENT};
use serde_json::json;

use super::against_both_mountings;
use super::world::{FROM, USER, World, template};

against_both_mountings![
    a_message_is_read_by_its_account_alone,
    a_window_says_until_when_it_is_open,
];

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

async fn a_window_says_until_when_it_is_open(mounting: Mounting) {
    let world = World::new(mounting).await;
    world.open_window().await;
    let ask = async |key: &str, query: String| {
        let target = format!("/v1/whatsapp/windows?{query}");
        world.send(&Draft::get(&target).key(key)).await
    };
    let open = ask("full", format!("agent_id={AGENT}&to=%2B{}", digits(USER))).await;
    let window = open.json()["windows"][0].clone();
    assert_eq!(
        (&window["from"], &window["state"], &window["is_open"]),
        (&json!(FROM), &json!("open"), &json!(true))
    );
    assert!(
        window["open_until"]
            .as_str()
            .is_some_and(|until| until.ends_with('Z')),
        "{window}"
    );
    // In a query a bare '+' is a space; it is understood all the same.
    let bare = ask("full", format!("agent_id={AGENT}&to={USER}")).await;
    assert_eq!(bare.json()["windows"][0], window);
    let closed = ask("full", format!("agent_id={AGENT}&to=%2B15550009999")).await;
    // A deployment that is younger than a day cannot know.
    let want = json!({"from": FROM, "state": "unknown", "is_open": false, "open_until": null});
    assert_eq!(closed.json()["windows"], json!([want]));
    let user = digits(USER);
    for (key, query, want) in [
        ("stranger", format!("agent_id={AGENT}&to=%2B{user}"), "200"),
        (
            "bound",
            format!("agent_id={OTHER_AGENT}&to=%2B{user}"),
            "403 agent_not_authorized",
        ),
        (
            "full",
            format!("agent_id=17&to=%2B{user}"),
            "422 invalid_agent_id",
        ),
        (
            "full",
            format!("agent_id={AGENT}&to=17"),
            "422 invalid_phone_number",
        ),
        (
            "full",
            format!("to=%2B{user}"),
            "422 missing_required_field",
        ),
        (
            "full",
            format!("agent_id={AGENT}"),
            "422 missing_required_field",
        ),
        ("full", String::new(), "422 missing_required_field"),
    ] {
        let reply = ask(key, query.clone()).await;
        assert_eq!(reply.verdict(), want, "{key} {query}");
        // An agent of another account has no numbers.
        assert!(
            key != "stranger" || reply.json()["windows"] == json!([]),
            "{}",
            reply.text()
        );
    }
}

fn digits(number: &str) -> &str {
    number.trim_start_matches('+')
}
