//! Faults over real sockets: what a client sees, what an app sees, and what the ledger holds.

use std::io::ErrorKind;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::run::{Run, USER, is_io, is_reset, text};

#[tokio::test]
async fn nothing_is_processed_where_a_connection_fails_first() {
    let run = Run::start().await;
    for fault in [
        json!({"fault": "tls_fail"}),
        json!({"fault": "reset_before_read"}),
        json!({"fault": "reset_mid_body", "after": 5}),
    ] {
        run.control("faults", fault.clone()).await;
        let error = run.send_alone(text("m1.a.1.tag")).await;
        let error = error.expect_err("no answer may arrive");
        assert!(is_reset(&error), "{fault}: {error:?}");
        assert_eq!(run.look("ledger").await["count"], 0, "{fault}");
        let faults = run.look("faults").await;
        assert_eq!(faults["faults"], json!([]), "{fault} has struck");
    }
    let answer = run.send_alone(text("m1.a.1.tag")).await.unwrap();
    assert_eq!(answer.0, StatusCode::OK);
}

#[tokio::test]
async fn a_kept_connection_is_reset_before_its_next_request_is_read() {
    let run = Run::start().await;
    run.send(text("m1.a.1.tag")).await.unwrap();
    run.control("faults", json!({"fault": "reset_before_read"}))
        .await;
    let error = run.send(text("m1.b.1.tag")).await;
    assert!(is_reset(&error.expect_err("it is reset")));
    assert_eq!(run.look("ledger").await["count"], 1);
}

#[tokio::test]
async fn a_closed_door_refuses_connections_until_it_opens() {
    let run = Run::start_apart().await;
    run.send(text("m1.a.1.tag")).await.unwrap();
    run.control("faults", json!({"fault": "refuse_connect", "ms": 60_000}))
        .await;
    let error = run.send_alone(text("m1.b.1.tag")).await.unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert!(is_io(&error, ErrorKind::ConnectionRefused), "{error:?}");
    run.control("clock", json!({"advance_ms": 60_000})).await;
    run.eventually_sends(text("m1.c.1.tag")).await;

    run.control("faults", json!({"fault": "refuse_connect", "ms": null}))
        .await;
    assert!(run.send_alone(text("m1.d.1.tag")).await.is_err());
    run.forget_faults().await;
    let answer = run.send_alone(text("m1.e.1.tag")).await.unwrap();
    assert_eq!(answer.0, StatusCode::OK);
    assert_eq!(run.look("ledger").await["count"], 3);
}

#[tokio::test]
async fn a_door_of_both_planes_opens_again_by_itself() {
    let run = Run::start().await;
    let ordered = run
        .control("faults", json!({"fault": "refuse_connect", "ms": 100}))
        .await;
    assert_eq!(ordered["faults"][0]["fault"], "refuse_connect");
    run.eventually_sends(text("m1.a.1.tag")).await;
    assert_eq!(run.look("faults").await["faults"], json!([]));
}

#[tokio::test]
async fn a_closing_door_ends_idle_connections_too() {
    let run = Run::start_apart().await;
    run.send(text("m1.a.1.tag")).await.unwrap();
    run.control("faults", json!({"fault": "refuse_connect", "ms": null}))
        .await;
    // The client may find out only by using the connection; it must never be served on it.
    assert!(run.send(text("m1.b.1.tag")).await.is_err());
    assert_eq!(run.look("ledger").await["count"], 1);
}

#[tokio::test]
async fn a_slow_door_serves_whoever_waits_and_nobody_who_left() {
    let run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    let slow = json!({"fault": "slow_accept", "ms": 5000});
    run.control("faults", slow.clone()).await;
    let waiting = run.sending_alone(text("m1.a.1.tag"));
    run.eventually("faults", |faults| faults["faults"] == json!([]))
        .await;
    assert_eq!(run.look("ledger").await["count"], 0);
    run.control("clock", json!({"advance_ms": 5000})).await;
    assert_eq!(waiting.await.unwrap().unwrap().0, StatusCode::OK);

    run.control("faults", slow).await;
    let mut leaving = run.wire().await;
    leaving.send(&text("m1.b.1.tag")).await;
    run.eventually("faults", |faults| faults["faults"] == json!([]))
        .await;
    drop(leaving);
    run.control("clock", json!({"advance_ms": 5000})).await;
    run.send_alone(text("m1.c.1.tag")).await.unwrap();
    assert_eq!(run.look("ledger?token=m1.b.1.tag").await["count"], 0);
}

#[tokio::test]
async fn a_truncated_answer_leaves_its_row_in_the_ledger() {
    let run = Run::start().await;
    run.control(
        "faults",
        json!({"fault": "process_then_truncate", "after": 9}),
    )
    .await;
    let answer = run.post(text("m1.a.1.tag")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.content_length().unwrap() > 9);
    assert!(answer.bytes().await.is_err(), "the body ends too early");
    let ledger = run.look("ledger").await;
    assert_eq!(ledger["rows"][0]["response_fate"], "truncated");
}

#[tokio::test]
async fn any_answer_can_be_put_in_the_place_of_metas() {
    let run = Run::start().await;
    for (fault, want) in [
        (json!({"status": 200}), ("200 text/html -", "")),
        (
            json!({"status": 200, "body": "{\"messages\":[]}", "content_type": "application/json"}),
            ("200 application/json -", "{\"messages\":[]}"),
        ),
        (
            json!({"status": 200, "body": "{\"messages\":[{\"id\":", "content_type": "application/json"}),
            ("200 application/json -", "{\"messages\":[{\"id\":"),
        ),
        (
            json!({"status": 504, "body": "<html>"}),
            ("504 text/html -", "<html>"),
        ),
        (
            json!({"status": 429, "retry_after": 7}),
            ("429 text/html 7", ""),
        ),
    ] {
        let mut order = json!({"fault": "http"});
        order
            .as_object_mut()
            .unwrap()
            .extend(fault.as_object().unwrap().clone());
        run.control("faults", order).await;
        let answer = run.post(text("m1.a.1.tag")).await.unwrap();
        let header = |name| {
            let value = answer.headers().get(name);
            value
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let head = format!(
            "{} {} {}",
            answer.status().as_u16(),
            header("content-type"),
            header("retry-after")
        );
        assert_eq!(head, want.0, "{fault}");
        assert_eq!(answer.text().await.unwrap(), want.1, "{fault}");
    }
    assert_eq!(run.look("ledger").await["count"], 0);
}

#[tokio::test]
async fn a_refusal_can_say_how_long_to_wait() {
    let run = Run::start().await;
    run.control(
        "faults",
        json!({"fault": "graph", "code": 130429, "retry_after": 3}),
    )
    .await;
    let answer = run.post(text("m1.a.1.tag")).await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "3");
    assert_eq!(answer.headers()["content-type"], "application/json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], 130429);
    let answer = run.post(text("m1.a.1.tag")).await.unwrap();
    assert!(answer.headers().get("retry-after").is_none());
}

#[tokio::test]
async fn a_late_answer_is_processed_before_it_arrives() {
    let run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("faults", json!({"fault": "latency", "ms": [5000, 5000]}))
        .await;
    let sending = run.sending(text("m1.a.1.tag"));
    let ledger = run
        .eventually("ledger", |ledger| ledger["count"] == 1)
        .await;
    assert_eq!(ledger["rows"][0]["response_fate"], "unanswered");
    assert!(!sending.is_finished());
    run.control("clock", json!({"advance_ms": 5000})).await;
    assert_eq!(sending.await.unwrap().unwrap().0, StatusCode::OK);
    let ledger = run.look("ledger").await;
    assert_eq!(ledger["rows"][0]["response_fate"], "answered");
}

#[tokio::test]
async fn a_dripping_answer_comes_whole() {
    let run = Run::start().await;
    run.control("faults", json!({"fault": "drip", "bytes_per_second": 1000}))
        .await;
    let mut answer = run.post(text("m1.a.1.tag")).await.unwrap();
    let length = answer.content_length().unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    assert!((first.len() as u64) < length, "{} of {length}", first.len());
    let mut whole = first.to_vec();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        whole.extend(chunk);
    }
    let body: Value = serde_json::from_slice(&whole).unwrap();
    assert!(body["messages"][0]["id"].is_string());
}

#[tokio::test]
async fn a_connection_can_end_after_an_answer_that_did_not_say_so() {
    let run = Run::start().await;
    for (fault, closes) in [(None, false), (Some("keepalive_close"), true)] {
        if let Some(fault) = fault {
            run.control("faults", json!({"fault": fault})).await;
        }
        let mut wire = run.wire().await;
        wire.send(&text("m1.a.1.tag")).await;
        let answer = wire.answer().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(!answer.to_lowercase().contains("connection: close"));
        if closes {
            assert_eq!(wire.answer().await, "", "the connection has ended");
        } else {
            wire.send(&text("m1.b.1.tag")).await;
            assert!(wire.answer().await.starts_with("HTTP/1.1 200"));
        }
    }
}

#[tokio::test]
async fn a_refused_stream_is_known_to_be_unprocessed() {
    let run = Run::start().await;
    run.control("faults", json!({"fault": "h2_refused_stream"}))
        .await;
    let mut http2 = run.http2().await;
    let refused = http2.send(&text("m1.a.1.tag")).await.unwrap_err();
    assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
    assert_eq!(run.look("ledger").await["count"], 0);
    let status = http2.send(&text("m1.a.1.tag")).await.unwrap();
    assert_eq!(status, StatusCode::OK, "the connection goes on");
    assert_eq!(run.look("ledger").await["count"], 1);
}

#[tokio::test]
async fn a_connection_goes_away_after_its_answer() {
    let run = Run::start().await;
    run.control("faults", json!({"fault": "h2_goaway", "times": 2}))
        .await;
    let mut http2 = run.http2().await;
    let status = http2.send(&text("m1.a.1.tag")).await.unwrap();
    assert_eq!(status, StatusCode::OK);
    http2.end().await;
    let answer = run.post(text("m1.b.1.tag")).await.unwrap();
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(run.look("ledger").await["count"], 2);
}

#[tokio::test]
async fn a_fault_can_ask_for_a_type_and_for_the_nth_of_it() {
    let run = Run::start().await;
    run.control(
        "faults",
        json!({"fault": "graph", "code": 131016, "type": "text", "nth": 2, "to": USER, "times": 0}),
    )
    .await;
    let image = json!({
        "messaging_product": "whatsapp", "to": USER, "type": "image", "image": {"id": "1"},
    });
    for (body, want) in [
        (text("m1.a.1.tag"), 200),
        (image, 200),
        (text("m1.b.1.tag"), 500),
        (text("m1.c.1.tag"), 500),
    ] {
        let (status, _) = run.send(body.clone()).await.unwrap();
        assert_eq!(status.as_u16(), want, "{body}");
    }
    let faults = run.look("faults").await;
    assert_eq!(faults["faults"][0]["times"], Value::Null);
    run.forget_faults().await;
    assert_eq!(
        run.send(text("m1.d.1.tag")).await.unwrap().0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn limits_are_metas_until_a_fault_or_a_setting_changes_them() {
    let run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("faults", json!({"fault": "rate", "mps": 2}))
        .await;
    assert_eq!(run.codes(4).await, [0, 0, 130429, 130429]);
    run.forget_faults().await;
    run.control(
        "faults",
        json!({"fault": "pair", "interval_ms": 6000, "burst": 3}),
    )
    .await;
    assert_eq!(run.codes(3).await, [0, 131056, 131056]);
    let limits = run.look("limits").await;
    assert_eq!(
        limits["violations"],
        json!({"130429": 2, "131056": 2}),
        "{limits}"
    );
    assert_eq!(limits["enabled"], true);
    assert_eq!(limits["numbers"][0]["sends"], 3);
    run.forget_faults().await;
    run.control("world", json!({"settings": {"limits": false}}))
        .await;
    assert_eq!(run.codes(100).await, [0; 100]);
    assert_eq!(run.look("limits").await["enabled"], false);
}

#[tokio::test]
async fn what_users_write_uses_up_the_throughput_too() {
    let run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("faults", json!({"fault": "rate", "mps": 2}))
        .await;
    for _ in 0..2 {
        run.control("inbound", json!({"user": USER, "text": "hi"}))
            .await;
    }
    assert_eq!(run.codes(1).await, [130429]);
    run.control("clock", json!({"advance_ms": 500})).await;
    assert_eq!(run.codes(2).await, [0, 130429]);
}

#[tokio::test]
async fn maintenance_passes() {
    let run = Run::start().await;
    run.control("clock", json!({"rate": 0})).await;
    run.control("faults", json!({"fault": "maintenance", "ms": 60_000}))
        .await;
    assert_eq!(run.codes(2).await, [131057, 131057]);
    run.control("clock", json!({"advance_ms": 60_000})).await;
    assert_eq!(run.codes(1).await, [0]);
}

#[tokio::test]
async fn the_world_turns_at_an_ordered_moment() {
    for (fault, code) in [("token_revoke_at", 190), ("waba_lock_at", 131031)] {
        let run = Run::start().await;
        run.control("clock", json!({"rate": 0})).await;
        run.control("faults", json!({"fault": fault, "in_ms": 1000}))
            .await;
        assert_eq!(run.codes(1).await, [0], "{fault}");
        run.control("clock", json!({"advance_ms": 1000})).await;
        assert_eq!(run.codes(1).await, [code], "{fault}");
    }
    let run = Run::start().await;
    run.control(
        "faults",
        json!({"fault": "template_pause_at", "template": "hello_world"}),
    )
    .await;
    let template = json!({
        "messaging_product": "whatsapp", "to": USER, "type": "template",
        "template": {"name": "hello_world", "language": {"code": "en_US"}},
    });
    let (_, answer) = run.send(template).await.unwrap();
    assert_eq!(answer["error"]["code"], 132015);
}

#[tokio::test]
async fn meta_can_take_an_open_window_for_closed() {
    let mut run = Run::start().await;
    run.control("inbound", json!({"user": USER, "text": "hi"}))
        .await;
    run.webhook().await;
    let disagree = json!({"fault": "window_disagree"});
    run.control("faults", disagree.clone()).await;
    assert_eq!(run.codes(1).await, [0]);
    let status = run.webhook().await.value()["statuses"][0].clone();
    assert_eq!(status["errors"][0]["code"], 131047);

    run.control("world", json!({"settings": {"window_mode": "sync"}}))
        .await;
    run.control("faults", disagree).await;
    assert_eq!(run.codes(2).await, [131047, 0]);
}
