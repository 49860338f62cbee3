//! A stale connection to the service: what is sent again, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::world::{OPEN, address, get, post, raw_service, read_until, send, sidecar, text};

#[tokio::test]
async fn only_what_does_no_harm_is_sent_again() {
    for (request, status, connections) in [
        (get("/"), 200, 2),
        (post("/", "order"), 502, 1),
        (post("/deduplicated", "order"), 200, 2),
        (put("/", "order"), 200, 2),
    ] {
        let opened = Arc::new(AtomicUsize::new(0));
        let upstream = closes_when_asked_twice(Arc::clone(&opened)).await;
        let edge = sidecar(upstream, &format!("{DEDUPLICATED}{OPEN}"));
        let what = format!("{} {}", request.method(), request.uri());
        let first = send(address(&edge), get("/")).await;
        assert_eq!(text(first).await, "0", "{what}");
        let response = send(address(&edge), request).await;
        assert_eq!(response.status(), status, "{what}");
        assert_eq!(opened.load(Ordering::SeqCst), connections, "{what}");
    }
}

#[tokio::test]
async fn a_connection_that_the_service_closed_is_not_used() {
    let upstream = raw_service(|n, mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        answer(&mut stream, n).await;
    });
    let edge = sidecar(upstream.await, OPEN);
    for n in 0..3 {
        let response = send(address(&edge), post("/", "")).await;
        assert_eq!(response.status(), 200, "request {n}");
    }
}

/// Answers one request on each connection, and closes the first when it is sent another.
async fn closes_when_asked_twice(opened: Arc<AtomicUsize>) -> std::net::SocketAddr {
    raw_service(move |n, mut stream| {
        opened.fetch_add(1, Ordering::SeqCst);
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            answer(&mut stream, n).await;
            if n == 0 {
                read_until(&mut stream, "\r\n\r\n").await;
                return;
            }
            std::future::pending().await
        }
    })
    .await
}

async fn answer(stream: &mut TcpStream, n: usize) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{n}");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

fn put(path: &str, body: &'static str) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = post(path, body);
    *request.method_mut() = http::Method::PUT;
    request
}

const DEDUPLICATED: &str = "
[[route]]
match = 'POST /deduplicated'
auth = 'none'
idempotency = 'deduplicates'
";
