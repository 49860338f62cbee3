//! A client's connection: kept, idle, slow, silent.

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::world::{address, open_sidecar, read_to_end, read_until, service};

#[tokio::test]
async fn a_connection_is_kept_past_the_deadline_of_a_head() {
    let timeouts = "[timeouts]\nhead = '50ms'\nfirst_byte = '50ms'\nidle = '20s'\n";
    let edge = open_sidecar(service(ok()).await, timeouts);
    let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
    for n in 0..3 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
            .unwrap();
        let answer = read_until(&mut stream, "ok").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "request {n}: {answer}");
        // Longer than a head may take, much shorter than a connection may be idle.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn what_is_waited_for_too_long_is_closed() {
    for (sent, timeouts) in [
        ("", "first_byte = '50ms'"),
        ("PRI * HT", "head = '50ms'"),
        ("GET / HTTP/1.1\r\nhost: h\r\n", "head = '50ms'"),
        ("GET / HTTP/1.1\r\nhost: h\r\n\r\n", "idle = '50ms'"),
    ] {
        let edge = open_sidecar(service(ok()).await, &format!("[timeouts]\n{timeouts}\n"));
        let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert_eq!(
            answer.contains("ok"),
            sent.ends_with("\r\n\r\n"),
            "{sent:?}"
        );
    }
}

#[tokio::test]
async fn http2_is_not_spoken_where_it_is_off() {
    let edge = open_sidecar(service(ok()).await, "http2 = false\n");
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
    stream.write_all(preface.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{answer}"
    );
}

fn ok() -> Router {
    Router::new().fallback(any(|| async { "ok" }))
}
