//! The layers in front of a gRPC service: what they refuse arrives as a status of gRPC.
//!
//! ```sh
//! cargo run -p vestibule-examples --example grpc_tonic
//! alias call='grpcurl -plaintext -import-path examples -proto grpc_tonic.proto'
//! key='authorization: Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f'
//! call -H "$key" -d '{"leaf": "green"}' 127.0.0.1:8080 tea.Kettle/Brew             # a cup for acme
//! call -H "$key" -d '{"leaf": "green", "cups": 3}' 127.0.0.1:8080 tea.Kettle/Pour  # three, one by one
//! call -d '{"leaf": "green"}' 127.0.0.1:8080 tea.Kettle/Brew                       # UNAUTHENTICATED
//! ```
//!
//! The sixth call in a minute is `RESOURCE_EXHAUSTED`, and its `RetryInfo` says when to come
//! back; `Drain`, which no route names, is `UNIMPLEMENTED` for whoever has a key. What is not
//! gRPC gets the usual envelope: both may share a port. Another address may follow as an
//! argument.
//!
//! The messages are derived and the two methods called by hand, so that nothing has to be
//! generated. With generated code it is `Routes::new(server).into_axum_router().layer(api)`.
//! An `Idempotency-Key` is of use here only to keep a call from being made twice: a gRPC
//! answer ends in trailers, and is not kept.

use std::error::Error;
use std::io::Write as _;

use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use futures_util::{Stream, stream};
use http::Response;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower::service_fn;
use vestibule::api_key::{KeyFormat, KeyRecord, Keys, Peppers};
use vestibule::clock::SystemClock;
use vestibule::route::Policy;
use vestibule::{ApiLayer, ErrorFormat, Principal, memory};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    let method = |scope| Policy::scope(scope).media_type("application/grpc");
    let api = ApiLayer::builder(memory::Store::new(SystemClock::shared()), keys()?)
        .route("POST /tea.Kettle/Brew", method("tea:brew"))
        .route("POST /tea.Kettle/Pour", method("tea:brew"))
        .route("POST /tea.Kettle/Buy", method("tea:buy"))
        .route("GET /healthz", Policy::public())
        .error_format(ErrorFormat::Grpc)
        .per_minute(5)
        .build()?;
    let app = Router::new()
        .route("/tea.Kettle/Brew", post(brew))
        .route("/tea.Kettle/Pour", post(pour))
        .route("/healthz", axum::routing::get(|| async { "ok\n" }))
        .layer(api);
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    // HTTP/2 without TLS, beside HTTP/1.1 for the rest.
    axum::serve(listener, app).await?;
    Ok(())
}

/// What is asked for: `tea.Wish` of grpc_tonic.proto.
#[derive(Clone, PartialEq, prost::Message)]
struct Wish {
    #[prost(string, tag = "1")]
    leaf: String,
    #[prost(uint32, tag = "2")]
    cups: u32,
}

/// `tea.Cup`.
#[derive(Clone, PartialEq, prost::Message)]
struct Cup {
    #[prost(string, tag = "1")]
    tea: String,
}

/// One cup.
async fn brew(request: Request) -> Response<tonic::body::Body> {
    let brew = |wish: tonic::Request<Wish>| async move {
        let cups = cups(&wish)?;
        let first = cups.into_iter().next();
        let cup = first.ok_or_else(|| Status::internal("there is a cup at least"))?;
        Ok(tonic::Response::new(cup))
    };
    Grpc::new(ProstCodec::default())
        .unary(service_fn(brew), request)
        .await
}

/// As many cups as are asked for, one by one.
async fn pour(request: Request) -> Response<tonic::body::Body> {
    let pour = |wish: tonic::Request<Wish>| async move {
        cups(&wish).map(|cups| tonic::Response::new(one_by_one(cups)))
    };
    Grpc::new(ProstCodec::default())
        .server_streaming(service_fn(pour), request)
        .await
}

/// The handlers know who is calling, as any other of HTTP: tonic passes the extensions on.
fn cups(wish: &tonic::Request<Wish>) -> Result<Vec<Cup>, Status> {
    let who = wish.extensions().get::<Principal>();
    let who = who.ok_or_else(|| Status::internal("a method without a route was called"))?;
    let Wish { leaf, cups } = wish.get_ref();
    if leaf.is_empty() {
        return Err(Status::invalid_argument("which leaf?"));
    }
    let tea = format!("{leaf} tea for {}", who.account());
    Ok(vec![Cup { tea }; (*cups).clamp(1, 100) as usize])
}

fn one_by_one(cups: Vec<Cup>) -> impl Stream<Item = Result<Cup, Status>> + Send + 'static {
    stream::iter(cups.into_iter().map(Ok))
}

/// The key of this example, which everybody knows.
fn keys() -> Result<Keys, Box<dyn Error>> {
    let key = KeyFormat::new().parse("mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f")?;
    let record = KeyRecord::of(&key, &Peppers::none(), "key_1", "acme");
    Ok(Keys::new([record.scopes(["tea:brew"]).build()])?)
}
