//! A sidecar before a service of gRPC: what its routes take, and how it refuses.

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::world::{address, service, sidecar, soon, text};

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_taken_and_refused_as_grpc_has_it() {
    let upstream = service(Router::new().fallback(any(|| async { "in" }))).await;
    let lines = "error_format = 'grpc'\n[[route]]\nmatch = 'POST /s/open'\nauth = 'none'\n\
                 [[route]]\nmatch = 'POST /s/call'\nmedia_type = 'application/grpc'\n";
    let running = sidecar(upstream, lines);
    for (path, media_type, want) in [
        // No key was sent: a call is told so in its headers, anybody else in the envelope.
        (
            "/s/call",
            "application/grpc+proto",
            "200 application/grpc 16 ",
        ),
        (
            "/s/call",
            "application/json",
            "401 application/json - invalid_api_key",
        ),
        (
            "/s/open",
            "application/grpc",
            "200 text/plain; charset=utf-8 - in",
        ),
    ] {
        let response = call(address(&running), path, media_type).await;
        let header = |name| {
            let value = response.headers().get(name);
            value
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let head = [
            response.status().as_str().to_owned(),
            header("content-type"),
            header("grpc-status"),
        ];
        let body = text(response).await;
        let code = serde_json::from_str::<serde_json::Value>(&body);
        let code = code.map_or(body, |error| {
            error["error"]["code"].as_str().unwrap().to_owned()
        });
        assert_eq!(
            format!("{} {code}", head.join(" ")),
            want,
            "{path} {media_type}"
        );
    }
}

/// Sends a call without a message, over HTTP/2.
async fn call(at: std::net::SocketAddr, path: &str, media_type: &str) -> Response<Incoming> {
    let stream = TcpStream::connect(at).await.unwrap();
    let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.unwrap();
    tokio::spawn(connection);
    let request =
        Request::post(format!("http://api.test{path}")).header("content-type", media_type);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    soon(sender.send_request(request)).await.unwrap()
}
