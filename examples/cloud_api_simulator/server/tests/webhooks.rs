//! Faults of webhooks over real sockets: whether, when, how often and in what shape they come.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::run::{Run, text};

#[tokio::test]
async fn a_dropped_webhook_never_comes() {
    let mut run = Run::start().await;
    run.control("faults", json!({"fault": "drop"})).await;
    run.write("lost").await;
    run.write("heard").await;
    assert_eq!(run.words().await, "heard");
    let log = run.eventually("webhooks", |log| log["total"] == 1).await;
    assert_eq!(log["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(run.look("healthz").await["waiting"], 0);
}

#[tokio::test]
async fn a_delayed_webhook_comes_later_and_tells_when_it_happened() {
    let mut run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("faults", json!({"fault": "delay", "ms": [60_000, 60_000]}))
        .await;
    let answer = run.write("first").await;
    run.write("second").await;
    assert_eq!(run.words().await, "second");
    run.control("clock", json!({"advance_ms": 60_000})).await;
    let late = run.webhook().await.value()["messages"][0].clone();
    assert_eq!(late["text"]["body"], "first");
    assert_eq!(late["timestamp"], answer["timestamp"]);
}

#[tokio::test]
async fn webhooks_of_a_window_change_places() {
    let mut run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control(
        "faults",
        json!({"fault": "reorder", "window_ms": 10_000, "times": 0}),
    )
    .await;
    for number in 0..8 {
        run.write(&number.to_string()).await;
    }
    // A message a second comes out, so that the order is the one of the drawn moments.
    let mut came = Vec::new();
    for _ in 0..=100 {
        run.control("clock", json!({"advance_ms": 100})).await;
        run.eventually("healthz", |health| health["due"] == 0).await;
    }
    for _ in 0..8 {
        came.push(run.words().await);
    }
    assert_eq!(came.iter().collect::<BTreeSet<_>>().len(), 8, "{came:?}");
    assert!(!came.is_sorted(), "{came:?}");
}

#[tokio::test]
async fn an_outage_ends_in_a_burst() {
    let mut run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("faults", json!({"fault": "outage", "ms": 60_000}))
        .await;
    for number in 0..3 {
        run.write(&number.to_string()).await;
    }
    run.eventually("healthz", |health| health["parked"] == 3)
        .await;
    assert_eq!(run.look("webhooks").await["total"], 0);
    run.control("clock", json!({"advance_ms": 60_000})).await;
    let came = BTreeSet::from([run.words().await, run.words().await, run.words().await]);
    assert_eq!(came, BTreeSet::from(["0", "1", "2"].map(str::to_owned)));

    run.control("faults", json!({"fault": "outage"})).await;
    run.write("after").await;
    run.eventually("healthz", |health| health["parked"] == 1)
        .await;
    run.forget_faults().await;
    assert_eq!(run.words().await, "after");
}

#[tokio::test]
async fn a_signature_can_be_missing_old_or_of_another_body() {
    let mut run = Run::start().await;
    run.control(
        "apps",
        json!({"secrets": ["demo-app-secret", "old-secret"]}),
    )
    .await;
    for (fault, signed_by, is_json) in [
        (json!({"fault": "no_signature"}), "nobody", true),
        (json!({"fault": "old_secret"}), "old-secret", true),
        (json!({"fault": "tampered_body"}), "a stranger", true),
        (json!({"fault": "unescaped_body"}), "a stranger", true),
        (
            json!({"fault": "unescaped_body", "signed_anew": true}),
            "demo-app-secret",
            true,
        ),
    ] {
        run.control("faults", fault.clone()).await;
        run.write("Grüße").await;
        let webhook = run.webhook().await;
        let signer = webhook.signer(&["demo-app-secret", "old-secret"]);
        assert_eq!(signer, signed_by, "{fault}");
        let parsed: Result<Value, _> = serde_json::from_slice(&webhook.body);
        assert_eq!(parsed.is_ok(), is_json, "{fault}");
        let is_escaped = webhook.text().is_ascii();
        assert_eq!(is_escaped, fault["fault"] != "unescaped_body", "{fault}");
    }
    run.write("Grüße").await;
    assert_eq!(
        run.webhook().await.signer(&["demo-app-secret"]),
        "demo-app-secret"
    );
}

#[tokio::test]
async fn a_payload_can_be_what_nobody_expects() {
    let mut run = Run::start().await;
    for (fault, path, want) in [
        (
            json!({"fault": "ts_missing"}),
            "/messages/0/timestamp",
            json!(null),
        ),
        (
            json!({"fault": "omit_phone"}),
            "/messages/0/from",
            json!(null),
        ),
        (
            json!({"fault": "unknown_type"}),
            "/messages/0/type",
            json!("hologram"),
        ),
        (
            json!({"fault": "unknown_field"}),
            "/messages/0/field_from_the_future/list/0",
            json!(1),
        ),
    ] {
        run.control("faults", fault.clone()).await;
        run.write("hi").await;
        let webhook = run.webhook().await;
        assert!(webhook.is_signed);
        let got = webhook.value().pointer(path).cloned().unwrap_or_default();
        assert_eq!(got, want, "{fault}");
    }
    for (fault, moves_by) in [
        (json!({"fault": "ts_old", "ms": 3_600_000}), -3600),
        (json!({"fault": "ts_future", "ms": 3_600_000}), 3600),
    ] {
        run.control("faults", fault.clone()).await;
        let answer = run.write("hi").await;
        let value = run.webhook().await.value();
        let seconds = |time: &Value| time.as_str().unwrap().parse::<i64>().unwrap();
        let moved = seconds(&value["messages"][0]["timestamp"]) - seconds(&answer["timestamp"]);
        assert_eq!(moved, moves_by, "{fault}");
    }
    run.control("faults", json!({"fault": "ts_ms"})).await;
    run.write("hi").await;
    let time = run.webhook().await.value()["messages"][0]["timestamp"].clone();
    assert_eq!(time.as_str().unwrap().len(), 13);
    run.control("faults", json!({"fault": "oversize"})).await;
    run.write("hi").await;
    assert!(run.webhook().await.body.len() >= 3 << 20);
}

#[tokio::test]
async fn a_status_can_lack_its_token_or_have_a_word_of_its_own() {
    let mut run = Run::start().await;
    for fault in [
        json!({"fault": "omit_opaque_on_failed"}),
        json!({"fault": "unknown_status", "type": "failed"}),
    ] {
        run.control("faults", fault).await;
    }
    // Outside the window, so that it fails.
    run.send(text("m1.a.1.tag")).await.unwrap();
    let status = run.webhook().await.value()["statuses"][0].clone();
    assert_eq!(status["status"], "deleted");
    assert_eq!(status["errors"][0]["code"], 131047);
    assert!(status.get("biz_opaque_callback_data").is_none());
}

#[tokio::test]
async fn updates_come_together_where_batches_are_asked_for() {
    let mut run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("world", json!({"settings": {"batch": 3, "batch_ms": 50}}))
        .await;
    for number in 0..4 {
        run.write(&number.to_string()).await;
    }
    assert_eq!(run.webhook().await.changes(), 3);
    run.control("clock", json!({"advance_ms": 50})).await;
    assert_eq!(run.webhook().await.changes(), 1);
}

#[tokio::test]
async fn a_batch_that_was_not_taken_can_come_again_in_pieces() {
    let mut run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("world", json!({"settings": {"batch": 2}}))
        .await;
    run.control("faults", json!({"fault": "rebatch"})).await;
    run.answer_with([500]);
    run.write("one").await;
    run.write("two").await;
    assert_eq!(run.webhook().await.changes(), 2);
    let pieces = [run.webhook().await, run.webhook().await];
    let words: BTreeSet<String> = pieces
        .iter()
        .map(|piece| {
            assert_eq!(piece.changes(), 1);
            let body = &piece.value()["messages"][0]["text"]["body"];
            body.as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(words, BTreeSet::from(["one", "two"].map(str::to_owned)));
}
