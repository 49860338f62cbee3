//! A gRPC service behind the layers, called by a client of gRPC.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use harness::Draft;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::client::{Grpc, GrpcService};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt as _;

use super::{KEY, send, start};

#[tokio::test]
async fn calls_and_streams_pass_with_their_trailers() {
    let (_process, address) = start("grpc_tonic");
    let cup = call(address, Some(KEY), "Brew", "green")
        .await
        .expect("it works on the loopback");
    assert_eq!(cup, "green tea for acme");
    let mut client = client(address).await;
    client.ready().await.expect("it works on the loopback");
    let wish = request(Some(KEY), "black", 3);
    let codec = ProstCodec::<Wish, Cup>::default();
    let poured = client.server_streaming(
        wish,
        "/tea.Kettle/Pour"
            .parse()
            .expect("it works on the loopback"),
        codec,
    );
    let cups: Vec<Cup> = poured
        .await
        .expect("it works on the loopback")
        .into_inner()
        .try_collect()
        .await
        .expect("it works on the loopback");
    assert_eq!(cups.len(), 3);
    // The handler's own status passes as it is.
    let refused = call(address, Some(KEY), "Brew", "").await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "which leaf?")
    );
}

#[tokio::test]
async fn a_refusal_is_a_status_with_details() {
    let (_process, address) = start("grpc_tonic");
    for (key, method, want, reason) in [
        (None, "Brew", Code::Unauthenticated, "INVALID_API_KEY"),
        (
            Some("Bearer mk_live_x_y"),
            "Brew",
            Code::Unauthenticated,
            "INVALID_API_KEY",
        ),
        (None, "Drain", Code::Unauthenticated, "INVALID_API_KEY"),
        (
            Some(KEY),
            "Drain",
            Code::Unimplemented,
            "ENDPOINT_NOT_FOUND",
        ),
        (
            Some(KEY),
            "Buy",
            Code::PermissionDenied,
            "INSUFFICIENT_SCOPE",
        ),
    ] {
        let refused = call(address, key, method, "green").await.unwrap_err();
        assert_eq!(refused.code(), want, "{key:?} {method}: {refused:?}");
        assert!(refused.message().ends_with('.'), "{refused:?}");
        let details = refused.get_error_details();
        assert_eq!(
            details
                .error_info()
                .expect("it works on the loopback")
                .reason,
            reason
        );
        let id = refused
            .metadata()
            .get("x-correlation-id")
            .expect("it works on the loopback");
        assert_eq!(
            details
                .request_info()
                .expect("it works on the loopback")
                .request_id,
            id.to_str().expect("it works on the loopback")
        );
    }
}

#[tokio::test]
async fn whoever_is_over_the_limit_is_told_when_to_come_back() {
    let (_process, address) = start("grpc_tonic");
    for _ in 0..5 {
        call(address, Some(KEY), "Brew", "green")
            .await
            .expect("it works on the loopback");
    }
    let refused = call(address, Some(KEY), "Brew", "green").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let details = refused.get_error_details();
    assert_eq!(
        details
            .error_info()
            .expect("it works on the loopback")
            .reason,
        "RATE_LIMIT_EXCEEDED"
    );
    let wait = details
        .retry_info()
        .expect("it works on the loopback")
        .retry_delay
        .unwrap();
    assert!(
        (1..=60).map(Duration::from_secs).any(|whole| whole == wait),
        "{wait:?}"
    );
    let told = refused
        .metadata()
        .get("retry-after")
        .expect("it works on the loopback");
    assert_eq!(
        told.to_str().expect("it works on the loopback"),
        wait.as_secs().to_string()
    );
}

#[tokio::test]
async fn what_is_not_grpc_has_the_envelope() {
    let (_process, address) = start("grpc_tonic");
    assert_eq!(send(address, &Draft::get("/healthz")).await.text(), "ok\n");
    let json = Draft::post("/tea.Kettle/Brew");
    let stranger = send(address, &json).await;
    assert_eq!(stranger.verdict(), "401 invalid_api_key");
    let refused = send(address, &json.field("Authorization", KEY)).await;
    assert_eq!(refused.verdict(), "415 unsupported_media_type");
    let message = refused.error()["message"]
        .as_str()
        .expect("it works on the loopback")
        .to_owned();
    assert!(message.contains("application/grpc"), "{message}");
}

/// Makes a call, and gives the tea.
async fn call(
    address: SocketAddr,
    key: Option<&str>,
    method: &str,
    leaf: &str,
) -> Result<String, Status> {
    let mut client = client(address).await;
    client.ready().await.expect("it works on the loopback");
    let path = format!("/tea.Kettle/{method}")
        .parse()
        .expect("it works on the loopback");
    let codec = ProstCodec::<Wish, Cup>::default();
    let answer = client.unary(request(key, leaf, 1), path, codec).await?;
    Ok(answer.into_inner().tea)
}

fn request(key: Option<&str>, leaf: &str, cups: u32) -> Request<Wish> {
    let mut request = Request::new(Wish {
        leaf: leaf.into(),
        cups,
    });
    if let Some(key) = key {
        let key = key.parse().expect("it works on the loopback");
        request.metadata_mut().insert("authorization", key);
    }
    request
}

/// tonic's client on a connection of hyper's.
async fn client(
    address: SocketAddr,
) -> Grpc<impl GrpcService<tonic::body::Body, ResponseBody = Incoming, Error = hyper::Error>> {
    let stream = TcpStream::connect(address)
        .await
        .expect("it works on the loopback");
    let (executor, io) = (TokioExecutor::new(), TokioIo::new(stream));
    let handshake = hyper::client::conn::http2::handshake(executor, io);
    let (sender, connection) = handshake.await.expect("it works on the loopback");
    tokio::spawn(connection);
    let service = tower::service_fn(move |request| sender.clone().send_request(request));
    Grpc::with_origin(
        service,
        format!("http://{address}")
            .parse()
            .expect("it works on the loopback"),
    )
}

/// As in grpc_tonic.proto.
#[derive(Clone, PartialEq, prost::Message)]
struct Wish {
    #[prost(string, tag = "1")]
    leaf: String,
    #[prost(uint32, tag = "2")]
    cups: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Cup {
    #[prost(string, tag = "1")]
    tea: String,
}
