//! A team's own layers, and stock ones, around the stack and inside it.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderName};
use http_body_util::BodyExt;
use tower::limit::ConcurrencyLimitLayer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use vestibule_sidecar::{Running, Sidecar};

use super::world::{OPEN, address, config, get, post, send, service, soon, text};

#[tokio::test]
async fn nine_stock_layers_work_around_the_stack_and_inside_it() {
    let upstream = service(origin()).await;
    for (edge, place) in [(around(upstream), "around"), (inside(upstream), "inside")] {
        let edge = address(&edge);
        assert_eq!(
            text(send(edge, post("/", "abc")).await).await,
            "3",
            "{place}"
        );

        let mut request = get("/long");
        request
            .headers_mut()
            .insert(ACCEPT_ENCODING, "gzip".parse().unwrap());
        let response = send(edge, request).await;
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip", "{place}");
        assert!(response.headers().contains_key("x-request-id"), "{place}");
        assert!(
            response.headers().contains_key("x-correlation-id"),
            "{place}"
        );
        let packed = soon(response.into_body().collect())
            .await
            .unwrap()
            .to_bytes();
        assert!(packed.len() < 1000, "{place}: {} bytes", packed.len());

        assert_eq!(send(edge, get("/slow")).await.status(), 504, "{place}");
        assert_eq!(
            send(edge, post("/", vec![b'x'; 1001])).await.status(),
            413,
            "{place}"
        );
        let mut chunked = post("/", vec![b'x'; 1001]);
        chunked
            .headers_mut()
            .insert("transfer-encoding", "chunked".parse().unwrap());
        assert_eq!(
            send(edge, chunked).await.status(),
            413,
            "{place}, of unknown length"
        );
    }
}

fn around(upstream: SocketAddr) -> Running {
    Sidecar::new(config(upstream, OPEN))
        .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(CompressionLayer::new().gzip(true))
        .layer(CatchPanicLayer::new())
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            SHORT,
        ))
        .layer(ConcurrencyLimitLayer::new(8))
        .layer(RequestBodyLimitLayer::new(1000))
        .spawn()
        .unwrap()
}

fn inside(upstream: SocketAddr) -> Running {
    Sidecar::new(config(upstream, OPEN))
        .inner_layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
        .inner_layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .inner_layer(TraceLayer::new_for_http())
        .inner_layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .inner_layer(CompressionLayer::new().gzip(true))
        .inner_layer(CatchPanicLayer::new())
        .inner_layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            SHORT,
        ))
        .inner_layer(ConcurrencyLimitLayer::new(8))
        .inner_layer(RequestBodyLimitLayer::new(1000))
        .spawn()
        .unwrap()
}

fn origin() -> Router {
    Router::new()
        .route(
            "/",
            any(|body: bytes::Bytes| async move { body.len().to_string() }),
        )
        .route("/long", any(|| async { "long ".repeat(10_000) }))
        .route(
            "/slow",
            any(|| async { tokio::time::sleep(Duration::from_secs(600)).await }),
        )
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SHORT: Duration = Duration::from_millis(300);
