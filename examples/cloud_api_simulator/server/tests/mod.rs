//! The whole simulator over real sockets: a client on one side, an app on the other.

mod account;
mod control;
mod faults;
mod run;
mod webhooks;

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use self::run::{LOOPBACK, Run, USER, is_reset, simulator, text};
use super::Server;

#[tokio::test]
async fn a_send_inside_the_window_is_told_to_be_read() {
    let mut run = Run::start().await;
    run.control(
        "inbound",
        json!({"user": USER, "text": "Grüße 🎉 an a@b/c"}),
    )
    .await;
    let inbound = run.webhook().await;
    assert!(inbound.is_signed);
    assert!(
        inbound
            .text()
            .contains(r"Gr\u00fc\u00dfe \ud83c\udf89 an a\u0040b\/c")
    );
    assert_eq!(
        inbound.value()["messages"][0]["text"]["body"],
        "Grüße 🎉 an a@b/c"
    );

    let answer = run.send(text("m1.a.1.tag")).await.unwrap();
    assert_eq!(answer.0, StatusCode::OK);
    let wamid = answer.1["messages"][0]["id"].as_str().unwrap().to_owned();
    assert!(wamid.starts_with("wamid."));
    assert_eq!(
        answer.1["contacts"][0],
        json!({"input": "+16505551234", "wa_id": "16505551234"})
    );

    let mut words = Vec::new();
    for _ in 0..3 {
        let webhook = run.webhook().await;
        assert!(webhook.is_signed);
        let status = webhook.value()["statuses"][0].clone();
        assert_eq!(status["id"], wamid);
        assert_eq!(status["biz_opaque_callback_data"], "m1.a.1.tag");
        words.push(status["status"].as_str().unwrap().to_owned());
    }
    words.sort();
    assert_eq!(words, ["delivered", "read", "sent"]);
    let ledger = run.look("ledger?token=m1.a.1.tag&to=16505551234").await;
    assert_eq!(ledger["count"], 1);
    assert_eq!(ledger["rows"][0]["wamid"], wamid);
    assert_eq!(ledger["rows"][0]["response_fate"], "answered");
}

#[tokio::test]
async fn an_answer_names_the_version_that_was_asked_for() {
    let run = Run::start().await;
    for (asked, want) in [("v22.0", "v22.0"), ("v25.0", "v25.0"), ("v20.0", "v26.0")] {
        let url = format!("{}/{asked}/106540352242922/messages", run.url);
        let answer = run.client.post(url).send().await.unwrap();
        assert_eq!(answer.headers()["facebook-api-version"], want, "{asked}");
    }
}

#[tokio::test]
async fn reordered_statuses_come_last_one_first() {
    let mut run = Run::start().await;
    let slow =
        json!({"settings": {"sent_ms": [50, 50], "delivered_ms": [50, 50], "read_ms": [50, 50]}});
    run.control("world", slow).await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("inbound", json!({"user": USER, "text": "hi"}))
        .await;
    run.webhook().await;
    run.control("faults", json!({"fault": "reorder"})).await;
    run.send(text("m1.a.1.tag")).await.unwrap();
    for want in ["read", "delivered", "sent"] {
        run.control("clock", json!({"advance_ms": 50})).await;
        assert_eq!(run.webhook().await.value()["statuses"][0]["status"], want);
    }
}

#[tokio::test]
async fn a_text_outside_the_window_is_accepted_and_then_fails() {
    let mut run = Run::start().await;
    assert_eq!(
        run.send(text("m1.a.1.tag")).await.unwrap().0,
        StatusCode::OK
    );
    let status = run.webhook().await.value()["statuses"][0].clone();
    assert_eq!(status["status"], "failed");
    assert_eq!(status["errors"][0]["code"], 131047);
    assert_eq!(status["biz_opaque_callback_data"], "m1.a.1.tag");
    let template = json!({
        "messaging_product": "whatsapp", "to": "+16505551234", "type": "template",
        "template": {"name": "hello_world", "language": {"code": "en_US"}},
    });
    let (_, answer) = run.send(template).await.unwrap();
    assert_eq!(answer["messages"][0]["message_status"], "accepted");
    let status = run.webhook().await.value()["statuses"][0].clone();
    assert_ne!(status["status"], "failed");
    assert_eq!(status["pricing"]["category"], "utility");
}

#[tokio::test]
async fn whatever_is_not_served_is_graph_error_100() {
    let run = Run::start().await;
    for (method, path) in [
        ("GET", "/v25.0/106540352242922/messages"),
        ("POST", "/v25.0/106540352242922/media"),
        ("POST", "/"),
        ("POST", "/v19.0/106540352242922/messages"),
    ] {
        let request = run
            .client
            .request(method.parse().unwrap(), format!("{}{path}", run.url));
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body: Value = answer.json().await.unwrap();
        assert_eq!(
            (status, &body["error"]["code"]),
            (400, &json!(100)),
            "{method} {path}"
        );
        assert_eq!(
            body["error"]["fbtrace_id"],
            headers["x-fb-trace-id"].to_str().unwrap()
        );
        assert_eq!(headers["facebook-api-version"], "v26.0");
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_its_row_in_the_ledger() {
    let mut run = Run::start().await;
    run.control("inbound", json!({"user": USER, "text": "hi"}))
        .await;
    run.webhook().await;
    for (fault, fate) in [
        (
            json!({"fault": "process_then_reset", "to": "+16505551234"}),
            "reset",
        ),
        (json!({"fault": "process_then_hang", "ms": 1}), "hung"),
    ] {
        run.control("faults", fault.clone()).await;
        let token = format!("m1.{fate}.1.tag");
        let error = run
            .send(text(&token))
            .await
            .expect_err("no answer may arrive");
        assert!(is_reset(&error), "{fault}: {error:?}");
        let ledger = run.look(&format!("ledger?token={token}")).await;
        assert_eq!(ledger["count"], 1, "{fault}");
        assert_eq!(ledger["rows"][0]["response_fate"], fate, "{fault}");
        assert_eq!(
            run.webhook().await.value()["statuses"][0]["biz_opaque_callback_data"],
            token
        );
        for _ in 0..2 {
            run.webhook().await;
        }
    }
    run.send(text("m1.reset.2.tag")).await.unwrap();
    let report = run.look("ledger/duplicates").await;
    assert_eq!(report["duplicates"][0]["message_id"], "reset");
    assert_eq!(report["duplicates"][0]["count"], 2);
}

#[tokio::test]
async fn a_send_is_processed_after_its_client_has_left() {
    let run = Run::start().await;
    run.control(
        "faults",
        json!({"fault": "hang_then_process", "ms": 3_600_000}),
    )
    .await;
    let left = tokio::time::timeout(Duration::from_millis(200), run.send(text("m1.a.1.tag"))).await;
    assert!(left.is_err(), "the answer is held back");
    assert_eq!(run.look("ledger").await["count"], 0);
    run.control("clock", json!({"advance_ms": 3_600_000})).await;
    let ledger = run
        .eventually("ledger", |ledger| ledger["count"] == 1)
        .await;
    assert_eq!(ledger["rows"][0]["response_fate"], "unanswered");
}

#[tokio::test]
async fn faults_answer_in_the_place_of_meta() {
    let run = Run::start().await;
    run.control(
        "faults",
        json!({"fault": "graph", "code": 130429, "times": 2}),
    )
    .await;
    run.control(
        "faults",
        json!({"fault": "http", "status": 502, "body": "<html>Bad Gateway</html>"}),
    )
    .await;
    for (status, code) in [
        (400, json!(130429)),
        (400, json!(130429)),
        (502, json!(null)),
        (200, json!(null)),
    ] {
        let answer = run.send(text("m1.a.1.tag")).await.unwrap();
        assert_eq!(
            (answer.0.as_u16(), &answer.1["error"]["code"]),
            (status, &code)
        );
    }
    assert_eq!(run.look("ledger").await["count"], 1);
}

#[tokio::test]
async fn a_status_can_come_before_the_answer() {
    let mut run = Run::start().await;
    run.control("faults", json!({"fault": "before_response"}))
        .await;
    run.hold_back().await;
    let sending = run.sending(text("m1.a.1.tag"));
    let status = run.webhook().await.value()["statuses"][0].clone();
    assert!(!sending.is_finished(), "the answer waits for the webhook");
    run.let_go();
    let (_, answer) = sending.await.unwrap().unwrap();
    assert_eq!(answer["messages"][0]["id"], status["id"]);
}

#[tokio::test]
async fn a_webhook_is_sent_again_until_it_is_taken_with_200() {
    let mut run = Run::start().await;
    run.answer_with([503, 204]);
    run.control("inbound", json!({"user": USER, "text": "hi"}))
        .await;
    let first = run.webhook().await;
    let second = run.webhook().await;
    assert_eq!(first.body, second.body);
    run.eventually("webhooks", |log| log["total"] == 2).await;
    run.control("clock", json!({"advance_ms": 5000})).await;
    assert_eq!(run.webhook().await.body, first.body);
    let log = run.eventually("webhooks", |log| log["total"] == 3).await;
    let statuses: Vec<&Value> = log["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| &attempt["status"])
        .collect();
    assert_eq!(statuses, [503, 204, 200]);
    assert_eq!(run.look("healthz").await["waiting"], 0);
}

#[tokio::test]
async fn webhooks_can_be_repeated_and_badly_signed() {
    let mut run = Run::start().await;
    run.control("faults", json!({"fault": "duplicate", "copies": 2}))
        .await;
    run.control("faults", json!({"fault": "bad_signature"}))
        .await;
    run.control("inbound", json!({"user": USER, "text": "hi"}))
        .await;
    let received = [
        run.webhook().await,
        run.webhook().await,
        run.webhook().await,
    ];
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received[0].body, received[2].body);
    assert_eq!(
        received.iter().filter(|webhook| webhook.is_signed).count(),
        2
    );
}

#[tokio::test]
async fn verification_reports_what_the_app_answered() {
    let run = Run::start().await;
    let report = run.control("verify", json!({})).await;
    assert_eq!(
        report,
        json!({"app": "1001", "status": 200, "verified": true})
    );
    run.control("apps", json!({"verify_token": "another"}))
        .await;
    let report = run.control("verify", json!({})).await;
    assert_eq!(
        report,
        json!({"app": "1001", "status": 403, "verified": false})
    );
    let refused = run
        .control("apps", json!({"callback_url": "http://example.com/"}))
        .await;
    assert!(
        refused["error"].as_str().unwrap().contains("callback_url"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_world_can_be_changed_and_what_happened_forgotten() {
    let run = Run::start().await;
    run.control(
        "world",
        json!({"token": [{"value": "other", "wabas": ["102290129340398"], "revoked": true}]}),
    )
    .await;
    let refused = run
        .control(
            "world",
            json!({"token": [{"value": "x", "wabas": ["gone"]}]}),
        )
        .await;
    assert!(
        refused["error"].as_str().unwrap().contains("no [[waba]]"),
        "{refused}"
    );
    run.send(text("m1.a.1.tag")).await.unwrap();
    assert_eq!(run.look("ledger").await["count"], 1);
    run.control("reset", json!({})).await;
    assert_eq!(run.look("ledger").await["count"], 0);
    assert_eq!(
        run.send(text("m1.a.1.tag")).await.unwrap().0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_control_plane_can_have_a_socket_of_its_own() {
    let simulator = simulator("");
    let server = Server::bind(simulator, LOOPBACK, Some(LOOPBACK)).unwrap();
    let (url, control_url) = (server.url().unwrap(), server.control_url().unwrap());
    let running = tokio::spawn(server.run());
    let client = Client::builder().no_proxy().build().unwrap();
    for (base, want) in [(control_url, 200), (url, 400)] {
        let answer = client
            .get(format!("{base}/__sim/healthz"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), want, "{base}");
    }
    running.abort();
}
