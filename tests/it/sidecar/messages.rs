//! What becomes of a message on its way through.

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use http::HeaderMap;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::world::{
    OPEN, address, config, get, open_sidecar, post, raw_service, read_until, send, service, soon,
    talk, text,
};

#[tokio::test]
async fn bodies_and_heads_arrive_as_they_were_sent() {
    let edge = open_sidecar(service(echo()).await, "");
    for (request, want) in [
        (
            "GET /a?b=c HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            "GET /a?b=c 0",
        ),
        (
            "POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc",
            "POST /a 3 abc",
        ),
        (
            "POST /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "POST /a chunked abc",
        ),
        (
            "POST /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "POST /a 0",
        ),
        (
            "DELETE /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            "DELETE /a 0",
        ),
        (
            "GET http://other/a HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
            "GET /a 0",
        ),
    ] {
        let answer = talk(address(&edge), request).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n"),
            "{request} {answer}"
        );
        assert!(answer.contains(want), "{request} {answer}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_has_none() {
    let router = Router::new()
        .route("/head", any(|| async { "12345" }))
        .route("/204", any(|| async { http::StatusCode::NO_CONTENT }))
        .route("/304", any(|| async { http::StatusCode::NOT_MODIFIED }));
    let edge = open_sidecar(service(router).await, "");
    for (line, status, length) in [
        ("HEAD /head", "200", Some("content-length: 5\r\n")),
        ("GET /204", "204", None),
        ("GET /304", "304", None),
    ] {
        let request = format!("{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let answer = talk(address(&edge), request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "{line} has a body: {answer}");
        assert!(!answer.contains("transfer-encoding"), "{answer}");
        let said = length.is_none_or(|length| answer.contains(length));
        assert!(said, "{line}: {answer}");
    }
}

#[tokio::test]
async fn what_belongs_to_one_connection_stays_there() {
    let upstream = raw_service(|_, mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        let length = head.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=9\r\n\
             x-end: 2\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: {length}\r\n\r\n{head}"
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let edge = open_sidecar(upstream.await, "");
    let answer = talk(
        address(&edge),
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: close, x-mine\r\nx-mine: 1\r\nte: trailers\r\n\
         upgrade: websocket\r\nproxy-connection: x\r\nx-kept: 1\r\n\
         vestibule-identity: forged\r\nx-ratelimit-limit: 1\r\n\r\n",
    )
    .await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    for (part, name, is_there) in [
        (head, "x-end", true),
        (head, "x-hop", false),
        (head, "keep-alive", false),
        (head, "server", false),
        (head, "via", false),
        (head, "x-correlation-id", true),
        (body, "x-kept", true),
        (body, "x-correlation-id", true),
        (body, "x-mine", false),
        (body, "te", false),
        (body, "upgrade", false),
        (body, "proxy-connection", false),
        (body, "connection", false),
        (body, "vestibule-identity", false),
        (body, "x-ratelimit-limit", false),
    ] {
        let found = part.contains(&format!("\n{name}: "));
        assert_eq!(found, is_there, "{name} in {part}");
    }
    assert_eq!(head.matches("\ndate: ").count(), 1, "{head}");
}

#[tokio::test]
async fn expect_is_answered_when_the_body_is_wanted() {
    let edge = open_sidecar(service(echo()).await, "");
    let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
    stream
        .write_all(
            b"POST /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
        )
        .await
        .unwrap();
    let interim = read_until(&mut stream, "\r\n\r\n").await;
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    stream.write_all(b"ok").await.unwrap();
    let answer = read_until(&mut stream, "POST /a 2 ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_request_that_is_refused_is_asked_for_no_body() {
    let keyed = "[[route]]\nmatch = 'POST /a'\n";
    let edge = super::world::sidecar(service(echo()).await, keyed);
    let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
    stream
        .write_all(
            b"POST /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n",
        )
        .await
        .unwrap();
    let answer = read_until(&mut stream, "invalid_api_key").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[tokio::test]
async fn interim_answers_are_passed_over() {
    let upstream = raw_service(|_, mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let edge = open_sidecar(upstream.await, "");
    let response = send(address(&edge), get("/")).await;
    assert_eq!(
        (response.status().as_u16(), &*text(response).await),
        (200, "ok")
    );
}

#[tokio::test]
async fn a_client_of_http_1_0_is_sent_no_chunks() {
    let router = Router::new().route(
        "/",
        any(|| async {
            let pieces = futures_util::stream::iter(["a", "b"].map(Ok::<_, std::io::Error>));
            axum::body::Body::from_stream(pieces)
        }),
    );
    let edge = open_sidecar(service(router).await, "");
    let answer = talk(address(&edge), "GET / HTTP/1.0\r\n\r\n").await;
    assert!(!answer.contains("transfer-encoding"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nab"), "{answer}");
}

#[tokio::test]
async fn two_framings_are_refused_or_made_one() {
    let edge = open_sidecar(service(echo()).await, "");
    for (framing, body) in [
        (
            "content-length: 5\r\ntransfer-encoding: chunked",
            "0\r\n\r\nG",
        ),
        (
            "transfer-encoding: chunked\r\ncontent-length: 5",
            "0\r\n\r\nG",
        ),
        ("content-length: 1\r\ncontent-length: 2", "ab"),
        ("transfer-encoding: chunked, identity", "0\r\n\r\n"),
        ("content-length: +1", "a"),
    ] {
        let request = format!(
            "POST /a HTTP/1.1\r\nhost: h\r\n{framing}\r\n\r\n{body}GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = super::world::read_to_end(&mut stream).await;
        assert!(!answer.contains("GET /smuggled"), "{framing}: {answer}");
        assert!(!answer.contains("POST /a 5"), "{framing}: {answer}");
    }
}

#[tokio::test]
async fn an_upgrade_is_not_made() {
    let upstream = raw_service(|_, mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let edge = open_sidecar(upstream.await, "");
    let answer = talk(
        address(&edge),
        "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade, close\r\nupgrade: x\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let edge = open_sidecar(service(echo()).await, "");
    let stream = TcpStream::connect(address(&edge)).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let calls = (0..20).map(|n| {
        let mut sender = sender.clone();
        async move {
            let body = format!("body {n}");
            let mut request = post("http://api.test/a", body.clone());
            request.headers_mut().clear();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let answer = text(response).await;
            assert_eq!(answer, format!("POST /a {} {body}", body.len()));
        }
    });
    soon(futures_util::future::join_all(calls)).await;
}

#[tokio::test]
async fn both_sides_may_be_unix_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let behind = folder.path().join("app.sock");
    let front = folder.path().join("api.sock");
    let listener = tokio::net::UnixListener::bind(&behind).unwrap();
    tokio::spawn(async move { axum::serve(listener, echo()).await });
    let mut config = config(format!("unix:{}", behind.display()), OPEN);
    config.listen = vestibule_sidecar::config::Address::Unix(front.clone());
    for run in 1..=2 {
        let edge = vestibule_sidecar::Sidecar::new(config.clone())
            .spawn()
            .unwrap();
        let mut stream = UnixStream::connect(&front).await.unwrap();
        for _ in 0..2 {
            stream
                .write_all(b"POST /a HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
            let answer = read_until(&mut stream, "POST /a 2 ok").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "run {run}: {answer}");
        }
        tokio::task::spawn_blocking(move || drop(edge))
            .await
            .unwrap();
    }
}

/// Says what arrived: method, target, framing, body.
fn echo() -> Router {
    Router::new().fallback(|request: Request| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let framing = framing(&head.headers);
        let body = String::from_utf8_lossy(&body).into_owned();
        format!("{} {} {framing} {body}", head.method, head.uri)
    })
}

fn framing(headers: &HeaderMap) -> String {
    let of = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    of("content-length")
        .or_else(|| of("transfer-encoding"))
        .unwrap_or_else(|| "0".to_owned())
}
