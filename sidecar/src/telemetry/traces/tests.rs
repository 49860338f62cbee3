//! What becomes of a caller's trace, of how many spans, and what a span says.

use std::sync::{Arc, Mutex};

use http::{Request, StatusCode};
use http_body_util::Empty;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::super::passage::{Ending, Passage};
use super::*;

#[test]
fn a_callers_span_is_taken_where_it_is_well_formed_and_said_once() {
    let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
    for (given, is_good) in [
        (vec![&*good], true),
        (
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"],
            true,
        ),
        (
            vec!["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"],
            true,
        ),
        (vec![&*good, &*good], false),
        (vec![], false),
        (vec![""], false),
        (
            vec!["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            false,
        ),
        (
            vec!["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            false,
        ),
        (
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"],
            false,
        ),
        (
            vec!["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            false,
        ),
        (
            vec!["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"],
            false,
        ),
    ] {
        let mut headers = HeaderMap::new();
        for value in &given {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        assert_eq!(caller(&headers).is_some(), is_good, "{given:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_share_of_the_traces_is_sent_and_the_service_is_told_which() {
    for (sampling, want) in [(0.0, 0..=0), (0.25, 150..=350), (1.0, 1000..=1000)] {
        let (traces, sent) = traces(sampling, false);
        let mut told = 0;
        for _ in 0..1000 {
            // The caller's word is not taken.
            let headers = pass(&traces, &format!("00-{TRACE}-00f067aa0ba902b7-01"), 200);
            let parent = headers[TRACEPARENT].to_str().unwrap();
            assert!(!parent.contains(TRACE), "{parent}");
            told += usize::from(parent.ends_with("-01"));
        }
        traces.flush().await;
        let servers = sent
            .lock()
            .unwrap()
            .iter()
            .filter(|span| is_server(span))
            .count();
        assert!(want.contains(&servers), "{sampling}: {servers}");
        assert_eq!((servers, traces.dropped()), (told, 0), "{sampling}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_trusted_caller_decides_what_is_sent() {
    for (flags, sampling, want) in [("01", 0.0, 2), ("00", 1.0, 0)] {
        let (traces, sent) = traces(sampling, true);
        let headers = pass(
            &traces,
            &format!("00-{TRACE}-00f067aa0ba902b7-{flags}"),
            200,
        );
        let parent = headers[TRACEPARENT].to_str().unwrap();
        assert!(
            parent.contains(TRACE) && parent.ends_with(flags),
            "{parent}"
        );
        traces.flush().await;
        assert_eq!(sent.lock().unwrap().len(), want, "{flags}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_span_names_a_failure_and_cuts_what_a_client_chose() {
    let (traces, sent) = traces(1.0, false);
    pass(&traces, "", 503);
    traces.flush().await;
    let sent = sent.lock().unwrap();
    let server = sent.iter().find(|span| is_server(span)).unwrap();
    let value = |name: &str| {
        let found = server
            .attributes
            .iter()
            .find(|one| one.key.as_str() == name);
        found.map(|one| one.value.to_string())
    };
    for (name, want) in [
        ("error.type", "503"),
        ("http.request.method", "_OTHER"),
        ("url.scheme", "http"),
        ("server.address", "api.example"),
        ("server.port", "8443"),
    ] {
        assert_eq!(value(name).as_deref(), Some(want), "{name}");
    }
    assert_eq!(value("http.request.method_original").unwrap().len(), 256);
    assert_eq!(value("url.path").unwrap().len(), 1024);
    assert_eq!(server.name, "HTTP");
}

#[tokio::test(start_paused = true)]
async fn spans_that_a_collector_refuses_or_does_not_take_in_time_are_counted() {
    let config = config::Traces {
        sampling: 1.0,
        ..config::Traces::default()
    };
    let traces = Traces::by(&config, Queue::to(Refuse));
    pass(&traces, "", 200);
    traces.flush().await;
    assert_eq!(traces.dropped(), 2);

    let traces = Traces::by(&config, Queue::to(Hang));
    pass(&traces, "", 200);
    let began = tokio::time::Instant::now();
    traces.flush().await;
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(traces.dropped(), 0, "it is still tried");
    traces.flush().await;
    traces.flush().await;
    assert_eq!(traces.dropped(), 2);
}

#[derive(Debug)]
struct Refuse;

impl SpanExporter for Refuse {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Err(OTelSdkError::InternalFailure("no".to_owned()))
    }
}

#[derive(Debug)]
struct Hang;

impl SpanExporter for Hang {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        std::future::pending().await
    }
}

/// Keeps what it is given.
#[derive(Clone, Debug, Default)]
struct Keep(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Keep {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

fn traces(sampling: f64, trust_traceparent: bool) -> (Traces, Arc<Mutex<Vec<SpanData>>>) {
    let config = config::Traces {
        sampling,
        trust_traceparent,
        ..config::Traces::default()
    };
    let keep = Keep::default();
    (Traces::by(&config, Queue::to(keep.clone())), keep.0)
}

/// A request that the service answers with this status; the fields that it is told.
fn pass(traces: &Traces, parent: &str, status: u16) -> HeaderMap {
    let request = Request::builder()
        .method(&*"M".repeat(300))
        .uri(format!("/{}?secret", "p".repeat(2000)))
        .header("host", "api.example:8443")
        .header(TRACEPARENT, parent);
    let mut request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let passage = Passage::begin(&mut request, Some(traces));
    let status = StatusCode::from_u16(status).unwrap();
    let calling = passage.clone().calling(request.headers_mut());
    calling.ended("answered", Some(status));
    let ending = Ending {
        status: Some(status),
        ..Ending::default()
    };
    let span = passage.span().unwrap();
    span.ended(&passage, &passage.decisions(), ending);
    request.headers().clone()
}

fn is_server(span: &SpanData) -> bool {
    span.span_kind == opentelemetry::trace::SpanKind::Server
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
