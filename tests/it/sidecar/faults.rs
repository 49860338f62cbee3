//! What a client is told when the service, or the client itself, fails.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::world::{
    address, get, open_sidecar, post, raw_service, read_to_end, read_until, send, service, sidecar,
    soon, talk, text,
};

#[tokio::test]
async fn a_service_that_is_down_is_a_502_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = free.local_addr().unwrap();
    drop(free);
    for target in [upstream.to_string(), "unix:/nowhere/app.sock".to_owned()] {
        let edge = open_sidecar(&target, "");
        let answer = send(address(&edge), get("/")).await;
        assert_eq!(answer.status(), 502, "{target}");
        assert!(
            answer.headers().contains_key("x-correlation-id"),
            "{target}"
        );
        let body = text(answer).await;
        assert!(body.contains("\"code\":\"upstream_unavailable\""), "{body}");
        assert!(body.contains("\"correlation_id\":\"req_"), "{body}");
    }
}

#[tokio::test]
async fn a_service_that_fails_is_told_apart() {
    for (answer, status, code) in [
        ("", 502, "upstream_unavailable"),
        ("HTTP/1.1 200 OK\r\ncontent-le", 502, "upstream_unavailable"),
        ("what is this\r\n\r\n", 502, "upstream_unavailable"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            502,
            "upstream_unavailable",
        ),
        ("hang", 504, "timeout"),
    ] {
        let upstream = raw_service(move |_, mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            if answer == "hang" {
                std::future::pending::<()>().await;
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let edge = open_sidecar(upstream.await, "[timeouts]\nanswer = '100ms'\n");
        let response = send(address(&edge), get("/")).await;
        assert_eq!(response.status(), status, "{answer:?}");
        let body = text(response).await;
        assert!(body.contains(code), "{answer:?}: {body}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_is_seen_to_be_cut() {
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let (upstream, cut) = cut_answer(framing).await;
        let edge = open_sidecar(upstream, "");
        let response = send(address(&edge), get("/")).await;
        assert_eq!(response.status(), 200, "{framing}");
        cut.notify_one();
        let body = soon(response.into_body().collect()).await;
        assert!(body.is_err(), "{framing} was made whole");
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_before_its_head_was_passed_on_is_a_502() {
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let (upstream, cut) = cut_answer(framing).await;
        cut.notify_one();
        let edge = open_sidecar(upstream, "");
        let response = send(address(&edge), get("/")).await;
        let status = response.status().as_u16();
        let body = soon(response.into_body().collect()).await;
        assert!(status == 502 || body.is_err(), "{framing}: {status}");
    }
}

#[tokio::test]
async fn an_early_refusal_arrives_while_the_body_is_sent() {
    for closes in [true, false] {
        let upstream = raw_service(move |_, mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let refusal = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\n\r\nlarge";
            stream.write_all(refusal.as_bytes()).await.unwrap();
            if !closes {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
        });
        let edge = open_sidecar(upstream.await, "");
        let response = send(address(&edge), post("/", vec![b'x'; 64 << 20])).await;
        assert_eq!(response.status(), 413, "closes: {closes}");
        assert_eq!(text(response).await, "large", "closes: {closes}");
    }
}

#[tokio::test]
async fn a_fault_of_the_body_is_the_clients() {
    let router = Router::new().fallback(any(|body: bytes::Bytes| async move {
        format!("{} bytes", body.len())
    }));
    let upstream = service(router).await;
    let route =
        "[timeouts]\nbody = '100ms'\n[[route]]\nmatch = 'POST /'\nauth = 'none'\nbody_max = 4\n";
    let edge = sidecar(upstream, route);
    for (framing, body, status, code) in [
        ("content-length: 5", "12345", "413", "payload_too_large"),
        (
            "transfer-encoding: chunked",
            "5\r\n12345\r\n0\r\n\r\n",
            "413",
            "payload_too_large",
        ),
        ("content-length: 4", "12", "408", "request_timeout"),
        (
            "transfer-encoding: chunked",
            "x\r\n",
            "400",
            "malformed_request",
        ),
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n{body}");
        let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "}}").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{framing}: {answer}"
        );
        assert!(answer.contains(code), "{framing}: {answer}");
    }
}

#[tokio::test]
async fn heads_past_their_limits_are_refused() {
    let router = Router::new().fallback(any(|| async { "ok" }));
    let limits = "[limits]\nhead_max = '8KB'\nheaders_max = 10\n";
    let edge = open_sidecar(service(router).await, limits);
    let many: String = (0..12).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(9 << 10));
    for (fields, status) in [
        (&*many, "431"),
        (&*long, "431"),
        ("no colon\r\n", "400"),
        ("x: y\r\n", "200"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{fields}\r\n");
        let answer = talk(address(&edge), request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn past_the_limit_of_requests_the_answer_is_503() {
    let router = Router::new().fallback(any(|| async {
        tokio::time::sleep(Duration::from_secs(600)).await;
    }));
    let edge = open_sidecar(service(router).await, "[limits]\nrequests = 1\n");
    let mut first = TcpStream::connect(address(&edge)).await.unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    loop {
        // The first may still be on its way in.
        let second =
            tokio::time::timeout(Duration::from_millis(200), send(address(&edge), get("/")));
        let Ok(response) = second.await else { continue };
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(text(response).await.contains("overloaded"));
        break;
    }
}

#[tokio::test]
async fn past_the_limit_of_connections_they_are_closed() {
    let router = Router::new().fallback(any(|| async { "ok" }));
    let edge = open_sidecar(service(router).await, "[limits]\nconnections = 1\n");
    let mut first = TcpStream::connect(address(&edge)).await.unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut first, "ok").await;
    let mut second = TcpStream::connect(address(&edge)).await.unwrap();
    assert_eq!(read_to_end(&mut second).await, "");
}

/// A service that begins an answer, and cuts it when it is told to.
async fn cut_answer(framing: &'static str) -> (std::net::SocketAddr, Arc<Notify>) {
    let cut = Arc::new(Notify::new());
    let told = Arc::clone(&cut);
    let upstream = raw_service(move |_, mut stream| {
        let told = Arc::clone(&told);
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nab");
            stream.write_all(head.as_bytes()).await.unwrap();
            told.notified().await;
        }
    });
    (upstream.await, cut)
}
