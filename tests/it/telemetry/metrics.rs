//! Every request is counted: by its route, by what was decided, by what came of it.

use harness::{Answer, Draft, Edge, PATIENCE, Pod};

/// The pod of the tests, after one request of each kind.
pub(super) async fn busy() -> (Pod, Edge) {
    // No disk, which may be late and then has its own words; and nobody who takes spans.
    let pod = Pod::new("store = \"memory:\"\ntraces.otlp = \"http://127.0.0.1:1\"").await;
    let edge = pod.start().await;
    requests(&edge).await;
    (pod, edge)
}

/// One request of each kind.
pub(super) async fn requests(edge: &Edge) {
    let charge = || Draft::post("/v1/charges").key("full").idempotency_key("k");
    for draft in [
        Draft::get("/v1/charges/1").key("full"),
        Draft::get("/v1/charges/2").key("full").origin("status 503"),
        Draft::get("/v1/charges/3").key("full").origin("cut"),
        charge(),
        charge(),
        charge().json("{\"other\":1}"),
        Draft::post("/v1/unkeyed")
            .key("full")
            .json("[1,2,3]")
            .chunked(2),
        Draft::get("/nowhere").key("full").correlation_id("mine"),
        Draft::new("BREW", "/nowhere").key("full"),
        Draft::get("/v1/charges/4").key("revoked"),
        Draft::get("/v1/charges/5"),
        Draft::get("/healthz"),
    ] {
        edge.send(&draft).await;
    }
}

#[tokio::test]
async fn every_request_is_counted_by_its_route_and_by_what_was_decided() {
    let (_pod, edge) = busy().await;
    let text = edge.metrics().await;
    for line in COUNTED.trim().lines() {
        let line = line.trim();
        assert!(
            text.lines().any(|got| got == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(
        !text.contains("/v1/charges/1") && !text.contains("BREW"),
        "{text}"
    );
    let received = edge.metric("vestibule_received_bytes_total").await;
    // Two bodies of "{}", the other one, and the one in chunks.
    assert_eq!(received, 2.0 + 2.0 + 11.0 + 7.0);
}

#[tokio::test]
async fn a_client_that_leaves_is_counted_without_a_status() {
    let pod = Pod::new("store = \"memory:\"").await;
    let edge = pod.start().await;
    let mut wire = edge.wire().await;
    let asked = Draft::get("/v1/charges/1").key("full").origin("never");
    wire.send(&asked.to_bytes()).await;
    pod.origin.executes(1).await;
    assert_eq!(edge.metric("vestibule_requests_in_flight").await, 1.0);
    wire.cut();
    let gone =
        "vestibule_requests_total{route=\"/v1/charges/{id}\",method=\"GET\",status=\"none\"} 1";
    let mut text = String::new();
    for _ in 0..500 {
        text = edge.metrics().await;
        if text.contains(gone) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(text.contains(gone), "{text}");
    assert!(text.contains("vestibule_requests_in_flight 0"), "{text}");
    let abandoned = "vestibule_upstream_requests_total{outcome=\"abandoned\"} 1";
    assert!(text.contains(abandoned), "{text}");
}

#[tokio::test]
async fn a_connection_that_is_refused_is_counted_by_its_reason() {
    let pod = Pod::new("store = \"memory:\"").await;
    let mut command = pod.command();
    command.env("VESTIBULE__LIMITS__CONNECTIONS", "1");
    let (edge, _output) = pod.start_talking(command).await;
    let mut first = edge.wire().await;
    assert_eq!(first.exchange(&Draft::get("/healthz")).await.status, 200);
    let mut second = edge.wire().await;
    second.send(&Draft::get("/healthz").to_bytes()).await;
    assert_eq!(second.answer(false).await, Answer::Closed);
    let refused = |reason| format!("vestibule_connections_refused_total{{reason=\"{reason}\"}}");
    assert_eq!(edge.metric(&refused("too_many")).await, 1.0);
    assert_eq!(edge.metric(&refused("tls")).await, 0.0);
}

#[tokio::test]
async fn certificates_that_are_read_anew_are_counted_and_so_is_who_does_not_speak_tls() {
    let pod =
        Pod::new("store = \"memory:\"\ntls = { certificate = \"tls.crt\", key = \"tls.key\" }");
    let pod = pod.await;
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
        std::fs::write(pod.path("tls.key"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(pod.path("tls.crt"), made.cert.pem()).unwrap();
    };
    renew();
    let edge = pod.start().await;
    let mut wire = edge.wire().await;
    wire.send(&Draft::get("/healthz").to_bytes()).await;
    assert_eq!(wire.answer(false).await, Answer::Closed);
    let refused = "vestibule_connections_refused_total{reason=\"tls\"}";
    until(&edge, refused, 1.0).await;

    let reloads = |outcome| {
        format!("vestibule_certificate_reloads_total{{side=\"clients\",outcome=\"{outcome}\"}}")
    };
    renew();
    until(&edge, &reloads("taken"), 1.0).await;
    std::fs::write(pod.path("tls.crt"), "").unwrap();
    until(&edge, &reloads("refused"), 1.0).await;
    assert_eq!(edge.metric(&reloads("taken")).await, 1.0);
}

/// Waits until a figure has come to this.
async fn until(edge: &Edge, name: &str, value: f64) {
    let coming = async {
        while edge.metric(name).await != value {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let came = tokio::time::timeout(PATIENCE, coming).await;
    assert!(came.is_ok(), "{name} does not become {value}");
}

const COUNTED: &str = r#"
    vestibule_requests_total{route="/v1/charges/{id}",method="GET",status="2xx"} 1
    vestibule_requests_total{route="/v1/charges/{id}",method="GET",status="4xx"} 2
    vestibule_requests_total{route="/v1/charges/{id}",method="GET",status="5xx"} 2
    vestibule_requests_total{route="/v1/charges",method="POST",status="2xx"} 2
    vestibule_requests_total{route="/v1/charges",method="POST",status="4xx"} 1
    vestibule_requests_total{route="unmatched",method="GET",status="4xx"} 1
    vestibule_requests_total{route="unmatched",method="_OTHER",status="4xx"} 1
    vestibule_request_duration_seconds_count{route="/v1/charges"} 3
    vestibule_upstream_duration_seconds_count{route="/v1/charges"} 1
    vestibule_upstream_requests_total{outcome="cut"} 1
    vestibule_layer_decisions_total{layer="correlation_id",outcome="taken"} 1
    vestibule_layer_decisions_total{layer="api_key",outcome="accepted"} 9
    vestibule_layer_decisions_total{layer="api_key",outcome="missing"} 1
    vestibule_layer_decisions_total{layer="api_key",outcome="revoked"} 1
    vestibule_layer_decisions_total{layer="api_key",outcome="public"} 1
    vestibule_layer_decisions_total{layer="rate_limit",outcome="allowed"} 9
    vestibule_layer_decisions_total{layer="rate_limit",outcome="limited"} 0
    vestibule_layer_decisions_total{layer="idempotency",outcome="executed"} 1
    vestibule_layer_decisions_total{layer="idempotency",outcome="replayed"} 1
    vestibule_layer_decisions_total{layer="idempotency",outcome="mismatch"} 1
    vestibule_refusals_total{code="endpoint_not_found"} 2
    vestibule_refusals_total{code="invalid_api_key"} 2
    vestibule_refusals_total{code="upstream_unavailable"} 1
    vestibule_store_steps_total{step="finish",outcome="answered"} 1
    vestibule_requests_in_flight 0
"#;
