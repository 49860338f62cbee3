//! The control plane over real sockets: users, calls, time, and webhooks held, mixed and repeated.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::run::{Run, USER, text};

#[tokio::test]
async fn whoever_comes_online_gets_what_has_not_expired() {
    let mut run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    let authentication = json!({"template": [{
        "waba": "102290129340398", "name": "code", "language": "en", "body": "1234",
        "category": "authentication",
    }]});
    run.control("world", authentication).await;
    run.control("user/16505551234", json!({"online": false}))
        .await;
    let code = json!({
        "messaging_product": "whatsapp", "to": USER, "type": "template",
        "template": {"name": "code", "language": {"code": "en"}},
    });
    let utility = json!({
        "messaging_product": "whatsapp", "to": USER, "type": "template",
        "template": {"name": "hello_world", "language": {"code": "en_US"}},
    });
    let mut wamids = Vec::new();
    for body in [code, utility] {
        let (_, answer) = run.send(body).await.unwrap();
        wamids.push(answer["messages"][0]["id"].clone());
    }
    run.control("clock", json!({"advance_ms": 600_000})).await;
    for _ in 0..2 {
        assert_eq!(run.status().await["status"], "sent");
    }
    run.control("user/16505551234", json!({"online": true}))
        .await;
    run.control("clock", json!({"advance_ms": 60_000})).await;
    let mut words = BTreeSet::new();
    for _ in 0..2 {
        let status = run.status().await;
        assert_eq!(status["id"], wamids[1], "the code has expired");
        words.insert(status["status"].as_str().unwrap().to_owned());
    }
    assert_eq!(words, ["delivered", "read"].map(str::to_owned).into());
    assert_eq!(run.look("healthz").await["waiting"], 0);
}

#[tokio::test]
async fn a_voice_message_is_played() {
    let mut run = Run::start().await;
    run.write("hi").await;
    run.webhook().await;
    let voice = json!({
        "messaging_product": "whatsapp", "to": USER, "type": "audio",
        "audio": {"id": "1", "voice": true},
    });
    run.send(voice).await.unwrap();
    let mut words = BTreeSet::new();
    for _ in 0..4 {
        words.insert(run.status().await["status"].as_str().unwrap().to_owned());
    }
    let want = ["delivered", "played", "read", "sent"];
    assert_eq!(words, want.map(str::to_owned).into());
}

#[tokio::test]
async fn a_call_opens_the_window_and_is_told() {
    let mut run = Run::start().await;
    for event in ["user_calls", "user_accepts"] {
        run.control("reset", json!({})).await;
        let answer = run
            .control("call", json!({"user": USER, "event": event}))
            .await;
        assert_eq!(answer["window_open"], true, "{event}");
        let change = run.webhook().await.change();
        assert_eq!(change["field"], "calls");
        run.send(text("m1.a.1.tag")).await.unwrap();
        assert_ne!(run.status().await["status"], "failed", "{event}");
        run.webhook().await;
        run.webhook().await;
    }
}

#[tokio::test]
async fn a_new_phone_number_is_told_and_keeps_the_window() {
    let mut run = Run::start().await;
    run.write("hi").await;
    run.webhook().await;
    run.control("user/16505551234", json!({"wa_id": "16505559999"}))
        .await;
    let value = run.webhook().await.value();
    assert_eq!(
        value["messages"][0]["system"]["type"],
        "user_changed_number"
    );
    assert!(value.get("contacts").is_none());
    let mut body = text("m1.a.1.tag");
    body["to"] = "+16505559999".into();
    run.send(body).await.unwrap();
    assert_ne!(run.status().await["status"], "failed");
}

#[tokio::test]
async fn the_clock_is_set_and_frozen() {
    let run = Run::start().await;
    let later = 4_000_000_000_000_u64;
    let set = run
        .control("clock", json!({"freeze": true, "set_ms": later}))
        .await;
    assert_eq!(set, json!({"now_ms": later, "rate": 0.0}));
    assert_eq!(run.look("healthz").await["now_ms"], later);
    let refused = run.control("clock", json!({"set_ms": 1})).await;
    assert!(refused["error"].as_str().unwrap().contains("set_ms = 1"));
    let runs = run.control("clock", json!({"freeze": false})).await;
    assert_eq!(runs["rate"], 1.0);
}

#[tokio::test]
async fn webhooks_are_held_and_let_go() {
    let mut run = Run::start().await;
    run.control("webhooks/hold", json!({})).await;
    for number in 0..3 {
        run.write(&number.to_string()).await;
    }
    let held = run
        .eventually("webhooks", |webhooks| webhooks["parked"] == 3)
        .await;
    assert_eq!((&held["held"], &held["total"]), (&json!(true), &json!(0)));
    let flushed = run.control("webhooks/flush", json!({})).await;
    assert_eq!(flushed, json!({"held": false, "flushed": 3}));
    let came = BTreeSet::from([run.words().await, run.words().await, run.words().await]);
    assert_eq!(came, BTreeSet::from(["0", "1", "2"].map(str::to_owned)));
    run.write("later").await;
    assert_eq!(run.words().await, "later");
}

#[tokio::test]
async fn a_flush_brings_a_retry_forward() {
    let mut run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.answer_with([500, 500]);
    run.write("hi").await;
    for _ in 0..2 {
        run.webhook().await;
    }
    run.eventually("healthz", |health| health["waiting"] == 1)
        .await;
    run.control("webhooks/flush", json!({})).await;
    assert_eq!(run.words().await, "hi");
}

#[tokio::test]
async fn shuffled_webhooks_all_come() {
    let mut run = Run::start().await;
    run.control("webhooks/hold", json!({})).await;
    let words: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    for word in &words {
        run.write(word).await;
    }
    run.eventually("webhooks", |webhooks| webhooks["parked"] == 20)
        .await;
    let shuffled = run.control("webhooks/shuffle", json!({})).await;
    assert_eq!(shuffled["flushed"], 20);
    let mut came = BTreeSet::new();
    for _ in 0..20 {
        came.insert(run.words().await);
    }
    assert_eq!(came, words.into_iter().collect());
}

#[tokio::test]
async fn what_was_taken_is_posted_again_byte_for_byte() {
    let mut run = Run::start().await;
    let mut bodies = Vec::new();
    for word in ["one", "two"] {
        run.write(word).await;
        bodies.push(run.webhook().await.body);
    }
    run.eventually("webhooks", |webhooks| webhooks["total"] == 2)
        .await;
    let replayed = run.control("webhooks/replay", json!({"last": 1})).await;
    assert_eq!(replayed, json!({"replayed": 1}));
    let again = run.webhook().await;
    assert!(again.is_signed);
    assert_eq!(again.body, bodies[1]);
}

#[tokio::test]
async fn an_attempt_shows_its_bytes_and_whether_it_was_signed() {
    let mut run = Run::start().await;
    run.control("faults", json!({"fault": "no_signature"}))
        .await;
    run.write("hi").await;
    let length = run.webhook().await.body.len();
    let log = run
        .eventually("webhooks", |webhooks| webhooks["total"] == 1)
        .await;
    let attempt = &log["attempts"][0];
    assert_eq!(attempt["bytes"], length);
    assert_eq!(attempt["is_signed"], false);
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let run = Run::start().await;
    run.send(text("m1.a.1.tag")).await.unwrap();
    run.control("faults", json!({"fault": "graph", "code": 131016}))
        .await;
    run.send(text("m1.b.1.tag")).await.unwrap();
    let metrics = run.page("metrics").await;
    for want in [
        "cloud_api_simulator_accepted_total 1",
        "cloud_api_simulator_refused_total{code=\"131016\"} 1",
        "cloud_api_simulator_faults_struck_total 1",
    ] {
        assert!(
            metrics.lines().any(|line| line == want),
            "{want}\n{metrics}"
        );
    }
}

#[tokio::test]
async fn what_the_control_plane_lacks_is_not_asked_of_the_graph_plane() {
    let run = Run::start().await;
    for path in ["nothing", "ledger/nothing", "a/b/c/d"] {
        let seen = run.look(path).await;
        let error = seen["error"].as_str().unwrap_or_default();
        assert!(
            error.contains("not part of the control plane"),
            "{path}: {seen}"
        );
    }
    let seen: Value = run.look("healthz").await;
    assert_eq!(seen["status"], "ok");
}
