//! Spans at a receiver of OTLP, over gRPC and over HTTP, and a receiver that never answers.

use std::time::Duration;

use harness::{Collector, Draft, Pod};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;
use tokio::time::Instant;

#[tokio::test]
async fn a_request_is_a_span_of_the_server_and_one_of_the_client_which_the_service_is_told_of() {
    for protocol in ["grpc", "http"] {
        let (collector, pod) = start(protocol, "").await;
        let edge = pod.start().await;
        let draft = Draft::get("/v1/charges/1?card=4111").key("full");
        let draft = draft.field("traceparent", CALLER);
        let reply = edge.send(&draft.field("tracestate", "a=b")).await;
        assert_eq!(reply.status, 200, "{protocol}");
        edge.end("TERM").await;

        let spans = collector.take();
        let [server, client] = both(&spans);
        assert_eq!(client.trace_id, server.trace_id, "{protocol}");
        assert_eq!(client.parent_span_id, server.span_id, "{protocol}");
        assert_eq!(server.name, "GET /v1/charges/{id}");
        for (name, want) in [
            ("http.request.method", "GET"),
            ("http.route", "/v1/charges/{id}"),
            ("url.path", "/v1/charges/1"),
            ("url.scheme", "http"),
            ("client.address", "127.0.0.1"),
            ("network.protocol.version", "1.1"),
            ("vestibule.key_id", "full"),
            ("http.response.status_code", "200"),
        ] {
            assert_eq!(attribute(server, name).as_deref(), Some(want), "{name}");
        }
        assert!(attribute(server, "vestibule.correlation_id").is_some());
        assert_eq!(attribute(server, "error.type"), None);
        let shown = format!("{spans:?}");
        assert!(!shown.contains("4111") && !shown.contains(&*harness::token("full")));

        // The edge trusts nobody: a trace of its own, which tells where the caller's is.
        assert!(server.parent_span_id.is_empty());
        let [link] = &*server.links else {
            panic!("{:?}", server.links);
        };
        let linked = format!(
            "00-{}-{}-01",
            hex::encode(&link.trace_id),
            hex::encode(&link.span_id)
        );
        assert_eq!((&*linked, &*link.trace_state), (CALLER, ""));

        let told = pod.origin.last().headers;
        let want = format!(
            "00-{}-{}-01",
            hex::encode(&client.trace_id),
            hex::encode(&client.span_id)
        );
        assert_eq!(told.get("traceparent").unwrap(), want.as_str());
        assert_eq!(told.get("tracestate"), None);
    }
}

#[tokio::test]
async fn a_callers_trace_is_gone_on_with_where_callers_are_trusted() {
    let (collector, pod) = start("http", "traces.trust_traceparent = true").await;
    let edge = pod.start().await;
    for parent in [CALLER, UNSAMPLED] {
        let draft = Draft::get("/v1/charges/1").key("full");
        let draft = draft.field("traceparent", parent);
        edge.send(&draft.field("tracestate", "a=b").origin("cut"))
            .await;
        let told = pod.origin.last().headers;
        let text = told.get("traceparent").unwrap().to_str().unwrap();
        assert_eq!(text[..36], parent[..36], "the trace");
        assert_ne!(text[36..52], parent[36..52], "the span");
        assert_eq!(text[52..], parent[52..], "whether it is sampled");
        assert_eq!(told.get("tracestate").unwrap(), "a=b");
    }
    edge.end("TERM").await;
    let spans = collector.take();
    let [server, client] = both(&spans);
    assert_eq!(hex::encode(&server.trace_id), CALLER[3..35]);
    assert_eq!(hex::encode(&server.parent_span_id), CALLER[36..52]);
    assert!(server.links.is_empty());
    let error = attribute(server, "error.type");
    assert_eq!(error.as_deref(), Some("upstream_unavailable"));
    assert_eq!(attribute(client, "error.type").as_deref(), Some("cut"));
}

#[tokio::test]
async fn without_a_collector_traceparent_goes_through_as_it_came() {
    let pod = Pod::new("store = \"memory:\"").await;
    let edge = pod.start().await;
    let draft = Draft::get("/v1/charges/1").key("full");
    edge.send(&draft.field("traceparent", CALLER)).await;
    assert_eq!(pod.origin.last().headers["traceparent"], CALLER);
    let text = edge.metrics().await;
    assert!(!text.contains("vestibule_spans_dropped_total"), "{text}");
    edge.end("TERM").await;
}

#[tokio::test]
async fn a_collector_that_never_answers_makes_no_request_wait_and_what_is_dropped_is_counted() {
    // It takes connections, by its backlog, and reads nothing.
    let stuck = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = stuck.local_addr().unwrap();
    let pod = Pod::new(&lines(address, "grpc", "")).await;
    let edge = pod.start().await;
    let one = Draft::get("/healthz").to_bytes();
    let mut wire = edge.wire().await;
    // More than the queue and the batch before it take: two spans each.
    for _ in 0..10 {
        wire.send(&one.repeat(300)).await;
        for _ in 0..300 {
            let began = Instant::now();
            wire.answer(false).await;
            let took = began.elapsed();
            assert!(took < SEND / 2, "{took:?}");
        }
    }
    let dropped = edge.metric("vestibule_spans_dropped_total").await;
    assert!((1.0..6000.0).contains(&dropped), "{dropped}");
    let began = Instant::now();
    edge.end("TERM").await;
    let took = began.elapsed();
    assert!(took < SEND + Duration::from_secs(3), "{took:?}");
}

/// A receiver, and a pod that sends every span to it.
async fn start(protocol: &str, more: &str) -> (Collector, Pod) {
    let collector = Collector::start().await;
    let pod = Pod::new(&lines(collector.address(), protocol, more)).await;
    (collector, pod)
}

fn lines(collector: std::net::SocketAddr, protocol: &str, more: &str) -> String {
    format!(
        "store = \"memory:\"\ntraces.otlp = \"http://{collector}\"\n\
         traces.protocol = \"{protocol}\"\ntraces.sampling = 1.0\n{more}"
    )
}

/// The span of the server, and that of the client; there are no others.
fn both(spans: &[Span]) -> [&Span; 2] {
    assert_eq!(spans.len(), 2, "{spans:?}");
    // SPAN_KIND_SERVER and SPAN_KIND_CLIENT.
    [2, 3].map(|kind| spans.iter().find(|span| span.kind == kind).unwrap())
}

fn attribute(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|one| one.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00";

/// How long a batch may take to be sent: whoever waited for it would be seen.
const SEND: Duration = Duration::from_secs(5);
