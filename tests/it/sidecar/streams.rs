//! Bodies that are longer, slower or of another mind than a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::world::{
    address, get, open_sidecar, post, read_until, send, service, soon, text, until,
};

#[tokio::test]
async fn long_bodies_pass_in_both_directions() {
    let edge = open_sidecar(service(echo()).await, "");
    for chunked in [false, true] {
        let sent = vec![b'x'; 8 << 20];
        let mut request = post("/", sent.clone());
        if chunked {
            request
                .headers_mut()
                .insert("transfer-encoding", "chunked".parse().unwrap());
        }
        let response = send(address(&edge), request).await;
        let back = soon(response.into_body().collect())
            .await
            .unwrap()
            .to_bytes();
        assert!(
            back == sent,
            "chunked: {chunked}, {} bytes came back",
            back.len()
        );
    }
}

#[tokio::test]
async fn an_answer_may_begin_before_the_request_has_ended() {
    let edge = open_sidecar(service(echo()).await, "");
    let (sender, pieces) = tokio::sync::mpsc::channel::<Bytes>(1);
    let pieces = stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((Ok::<_, std::io::Error>(Frame::data(piece)), pieces))
    });
    let body = StreamBody::new(pieces.boxed());
    let request = http::Request::post("/")
        .header("host", "h")
        .body(body)
        .unwrap();
    sender.send(Bytes::from("0")).await.unwrap();
    let mut response = send(address(&edge), request).await;
    for n in 1..=3 {
        let piece = soon(response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(piece.into_data().unwrap(), (n - 1).to_string());
        sender.send(Bytes::from(n.to_string())).await.unwrap();
    }
    drop(sender);
    assert_eq!(text(response).await, "3");
}

#[tokio::test]
async fn events_are_passed_on_as_they_come() {
    let next = Arc::new(Notify::new());
    let router = {
        let next = Arc::clone(&next);
        Router::new().route(
            "/",
            any(move || async move {
                let ticks = stream::unfold(0, move |n| {
                    let next = Arc::clone(&next);
                    async move {
                        next.notified().await;
                        Some((Ok::<_, std::io::Error>(format!("data: {n}\n\n")), n + 1))
                    }
                });
                Body::from_stream(ticks)
            }),
        )
    };
    let edge = open_sidecar(service(router).await, "");
    let mut response = send(address(&edge), get("/")).await;
    for n in 0..3 {
        next.notify_one();
        let event = soon(response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(event.into_data().unwrap(), format!("data: {n}\n\n"));
    }
}

#[tokio::test]
async fn the_service_learns_that_the_client_has_left() {
    for (request, what) in [
        ("GET /slow HTTP/1.1\r\nhost: h\r\n\r\n", "while it waited"),
        (
            "GET /endless HTTP/1.1\r\nhost: h\r\n\r\n",
            "in the middle of the answer",
        ),
        (
            "POST /upload HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nabc",
            "in the middle of the body",
        ),
    ] {
        let (begun, left) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let edge = open_sidecar(service(notices(&begun, &left)).await, "");
        let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        until("the service is at work", || begun.load(Ordering::SeqCst)).await;
        if request.contains("/endless") {
            read_until(&mut stream, "more").await;
        }
        drop(stream);
        until(what, || left.load(Ordering::SeqCst)).await;
    }
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let router = Router::new().fallback(any(|request: Request| async move {
        format!("<{}>", request.uri())
    }));
    let edge = open_sidecar(service(router).await, "");
    let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
    let requests: String = (0..3)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nhost: h\r\n\r\n"))
        .collect();
    stream.write_all(requests.as_bytes()).await.unwrap();
    let answers = read_until(&mut stream, "</2>").await;
    assert!(answers.find("</0>") < answers.find("</1>"), "{answers}");
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_good_where_the_body_is_small() {
    let edge = super::world::sidecar(service(echo()).await, "[[route]]\nmatch = 'POST /a'\n");
    let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
    for n in 0..3 {
        let body = "x".repeat(1000);
        let request = format!("POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 1000\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "}}").await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "request {n}: {answer}");
    }
}

/// Gives back what it is sent, as it comes.
fn echo() -> Router {
    Router::new().fallback(any(|request: Request| async move { request.into_body() }))
}

/// Notices when a request has begun, and when its connection is gone.
fn notices(begun: &Arc<AtomicBool>, left: &Arc<AtomicBool>) -> Router {
    struct Leaves(Arc<AtomicBool>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (begun, left) = (Arc::clone(begun), Arc::clone(left));
    Router::new().fallback(any(move |request: Request| async move {
        let leaves = Leaves(left);
        begun.store(true, Ordering::SeqCst);
        match request.uri().path() {
            "/endless" => {
                let pieces = stream::unfold(leaves, |leaves| async {
                    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                    Some((Ok::<_, std::io::Error>("more"), leaves))
                });
                Body::from_stream(pieces)
            }
            "/upload" => {
                let _ = request.into_body().collect().await;
                Body::empty()
            }
            _ => {
                let never: () = std::future::pending().await;
                drop((never, leaves));
                Body::empty()
            }
        }
    }))
}
