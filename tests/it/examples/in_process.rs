//! The whole stack in a team's own process: around axum, and on bare hyper.

use std::net::SocketAddr;

use harness::{Answer, Draft, Wire};

use super::{KEY, client, ended, send, start};

#[tokio::test]
async fn axum_makes_a_keyed_order_once_and_any_other_each_time() {
    let (_process, address) = start("in_process_axum");
    let first = send(address, &order("tea", 0).idempotency_key("o-1")).await;
    let replay = send(address, &order("tea", 0).idempotency_key("o-1")).await;
    let other = send(address, &order("coffee", 0).idempotency_key("o-1")).await;
    let unkeyed = send(address, &order("tea", 0)).await;
    assert_eq!(
        (first.status, replay.status, unkeyed.status),
        (201, 201, 201)
    );
    assert_eq!(first.body, replay.body);
    assert_eq!(
        (
            first.has("idempotent-replayed"),
            replay.one("idempotent-replayed")
        ),
        (false, "true")
    );
    assert_eq!(
        other.verdict(),
        "422 idempotency_key_in_use_with_different_params"
    );
    let list = send(address, &get("/v1/orders").field("Authorization", KEY)).await;
    let list = list.json();
    let keyed: Vec<_> = list
        .as_array()
        .expect("it works on the loopback")
        .iter()
        .map(|order| order["keyed"].clone())
        .collect();
    assert_eq!(keyed, [true, false]);
}

#[tokio::test]
async fn axum_handlers_learn_who_is_calling_and_under_which_id() {
    let (_process, address) = start("in_process_axum");
    let made = send(address, &order("tea", 0).correlation_id("mine")).await;
    assert_eq!(made.json()["account"], "acme");
    assert_eq!(made.json()["correlation_id"], "mine");
    assert_eq!(
        (
            made.one("x-correlation-id"),
            made.one("x-ratelimit-remaining")
        ),
        ("mine", "59")
    );
    let refused = send(address, &order("", 0).correlation_id("mine")).await;
    assert_eq!(refused.verdict(), "422 missing_required_field");
    assert_eq!(refused.error()["correlation_id"], "mine");
    let (open, closed) = (
        send(address, &get("/healthz")).await,
        send(address, &get("/v1/orders")).await,
    );
    assert_eq!(
        (open.status, closed.verdict().as_str()),
        (200, "401 invalid_api_key")
    );
}

#[tokio::test]
async fn axum_answers_what_runs_before_it_ends() {
    let (process, address) = start("in_process_axum");
    let slow = order("tea", 1_500).idempotency_key("o-2").to_bytes();
    let (mut one, mut other) = (Wire::connect(address).await, Wire::connect(address).await);
    one.send(&slow).await;
    other.send(&slow).await;
    // Whichever came second is told at once that the first one runs.
    let (told, mut running) = tokio::select! {
        told = one.answer(false) => (told, other),
        told = other.answer(false) => (told, one),
    };
    let Answer::Reply(told) = told else {
        panic!("the second one was not answered");
    };
    assert_eq!(told.verdict(), "409 idempotency_key_in_progress");
    assert!(told.has("retry-after"));
    process.signal("TERM");
    let Answer::Reply(answer) = running.answer(false).await else {
        panic!("the first one was not answered");
    };
    assert_eq!(answer.status, 201, "{}", answer.text());
    let status = ended(process).await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn hyper_has_the_same_answers() {
    let (process, address) = start("in_process_hyper");
    let said = send(address, &echo(KEY)).await;
    assert_eq!(
        (said.status, said.text().as_str()),
        (200, "acme says {\"say\":\"hi\"}\n")
    );
    assert_eq!(said.one("x-ratelimit-limit"), "60");
    let keyed = echo(KEY).idempotency_key("e-1");
    let (first, replay) = (send(address, &keyed).await, send(address, &keyed).await);
    assert_eq!(
        (first.body, first.status),
        (replay.body.clone(), replay.status)
    );
    assert_eq!(replay.one("idempotent-replayed"), "true");
    for (draft, want) in [
        (echo("Bearer nobody"), "401 invalid_api_key"),
        (get("/nowhere"), "401 invalid_api_key"),
        (
            get("/nowhere").field("Authorization", KEY),
            "404 endpoint_not_found",
        ),
        (
            echo(KEY).only("Content-Type", "text/plain"),
            "415 unsupported_media_type",
        ),
        (echo(KEY).body(vec![b' '; 2 << 20]), "413 payload_too_large"),
        (
            echo(KEY).body(vec![b' '; 2 << 20]).chunked(64 << 10),
            "413 payload_too_large",
        ),
    ] {
        let reply = send(address, &draft).await;
        assert_eq!(reply.verdict(), want);
        assert_eq!(
            reply.error()["correlation_id"],
            reply.one("x-correlation-id")
        );
    }
    assert_eq!(over_http2(address).await, "ok\n");
    process.signal("INT");
    let status = ended(process).await;
    assert!(status.success(), "{status}");
}

/// The health of a server, asked over HTTP/2 without TLS.
async fn over_http2(address: SocketAddr) -> String {
    let client = client()
        .http2_prior_knowledge()
        .build()
        .expect("it works on the loopback");
    let response = client
        .get(format!("http://{address}/healthz"))
        .send()
        .await
        .expect("it works on the loopback");
    assert_eq!(response.version(), http::Version::HTTP_2);
    response.text().await.expect("it works on the loopback")
}

fn order(item: &str, millis: u64) -> Draft {
    Draft::post("/v1/orders")
        .field("Authorization", KEY)
        .json(&format!("{{\"item\":\"{item}\",\"millis\":{millis}}}"))
}

fn echo(credential: &str) -> Draft {
    Draft::post("/v1/echo")
        .field("Authorization", credential)
        .json("{\"say\":\"hi\"}")
}

fn get(target: &str) -> Draft {
    Draft::get(target)
}
