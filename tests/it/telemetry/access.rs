//! One line for each request, whatever becomes of who reads it.

use std::io::{BufRead, Read};
use std::process::Stdio;

use harness::{Answer, Draft, Pod, token};
use serde_json::{Value, json};

#[tokio::test]
async fn a_request_is_one_line_that_says_what_was_decided_and_shows_no_key() {
    let pod = Pod::new("store = \"memory:\"\nlog.format = \"json\"").await;
    let mut command = pod.command();
    command.stderr(Stdio::null());
    let (edge, mut output) = pod.start_talking(command).await;
    let charge = || {
        Draft::post("/v1/charges")
            .key("full")
            .idempotency_key("k-1")
    };
    for draft in [
        Draft::get("/v1/charges/1?card=4111")
            .key("full")
            .correlation_id("mine"),
        charge().origin("bytes 300"),
        charge(),
        Draft::get("/v1/charges/\"2\"").key("revoked"),
        Draft::get("/v1/charges/3").key("full").origin("cut"),
    ] {
        edge.send(&draft).await;
    }
    edge.end("TERM").await;
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    for secret in [&*token("full"), &*token("revoked"), "4111", "k-1"] {
        assert!(!text.contains(secret), "{text}");
    }
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let wants = [
        json!({"method": "GET", "path": "/v1/charges/1", "route": "/v1/charges/{id}", "status": 200,
            "upstream": "answered", "bytes_in": 0, "correlation_id": "mine", "key_id": "full",
            "account": "acc_1", "id": "taken", "api_key": "accepted", "rate_limit": "allowed",
            "idempotency": null, "error": null, "client": "127.0.0.1", "protocol": "HTTP/1.1", "whole": true}),
        json!({"path": "/v1/charges", "status": 200, "upstream": "answered", "bytes_in": 2,
            "bytes_out": 300, "id": "minted", "idempotency": "executed"}),
        json!({"status": 200, "upstream": null, "bytes_out": 300, "idempotency": "replayed"}),
        json!({"path": "/v1/charges/\"2\"", "status": 401, "key_id": null, "api_key": "revoked",
            "rate_limit": null, "error": "invalid_api_key"}),
        json!({"status": 502, "upstream": "cut", "error": "upstream_unavailable"}),
    ];
    assert_eq!(lines.len(), wants.len(), "{text}");
    for (line, want) in lines.iter().zip(&wants) {
        for (name, value) in want.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name} of {line}");
        }
        let time = line["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
        assert!(line["ms"].as_f64().unwrap() > 0.0);
    }
}

#[tokio::test]
async fn a_line_for_people_has_the_same_in_one_line() {
    let pod = Pod::new("store = \"memory:\"").await;
    let mut command = pod.command();
    command.stderr(Stdio::null());
    let (edge, mut output) = pod.start_talking(command).await;
    edge.send(&Draft::get("/v1/charges/1").key("full")).await;
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains("Z 200 GET /v1/charges/1 ms="), "{line}");
    for want in [
        " upstream=answered ",
        " key_id=full ",
        " rate_limit=allowed ",
        " client=127.0.0.1 ",
    ] {
        assert!(line.contains(want), "{want} is not in {line}");
    }
    let pod = Pod::new("store = \"memory:\"\nlog.access = false").await;
    let (edge, mut output) = pod.start_talking(pod.command()).await;
    edge.send(&Draft::get("/v1/charges/1").key("full")).await;
    edge.end("TERM").await;
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}

#[tokio::test]
async fn who_does_not_read_the_log_makes_no_request_wait() {
    let pod = Pod::new("store = \"memory:\"").await;
    let (edge, output) = pod.start_talking(pod.command()).await;
    let one = Draft::get("/healthz").to_bytes();
    let mut wire = edge.wire().await;
    // More than a pipe and the queue before it take.
    for _ in 0..20 {
        wire.send(&one.repeat(300)).await;
        for _ in 0..300 {
            let answer = wire.answer(false).await;
            assert!(
                matches!(&answer, Answer::Reply(reply) if reply.status == 200),
                "{answer:?}"
            );
        }
    }
    let dropped = edge.metric("vestibule_access_lines_dropped_total").await;
    assert!((1.0..6000.0).contains(&dropped), "{dropped}");
    let requests =
        "vestibule_requests_total{route=\"/healthz\",method=\"GET\",status=\"2xx\"} 6000";
    let text = edge.metrics().await;
    assert!(text.contains(requests), "{text}");
    drop(output);
    edge.end("TERM").await;
}
