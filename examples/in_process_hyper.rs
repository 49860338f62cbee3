//! The layers on bare hyper, for a service that has no framework.
//!
//! ```sh
//! cargo run -p vestibule-examples --example in_process_hyper
//! alias echo_='curl -i http://127.0.0.1:8080/v1/echo -H "content-type: application/json" \
//!   -H "authorization: Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f"'
//! echo_ -d '{"say": "hi"}'                              # 200: acme says {"say": "hi"}
//! echo_ -d '{"say": "hi"}' -H "idempotency-key: e-1"    # again: idempotent-replayed: true
//! curl -i http://127.0.0.1:8080/v1/echo                 # 401
//! curl -i --http2-prior-knowledge http://127.0.0.1:8080/healthz   # HTTP/2 without TLS
//! ```
//!
//! hyper speaks HTTP/1.1 and HTTP/2 on one port, gives a client 10 s for the head of a
//! request, and lets what runs end when Ctrl-C stops it. Another address may follow as an
//! argument.

use std::convert::Infallible;
use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::{Layer as _, Service, service_fn};
use vestibule::api_key::{KeyFormat, KeyRecord, Keys, Peppers};
use vestibule::clock::SystemClock;
use vestibule::route::Policy;
use vestibule::{ApiError, ApiLayer, Body, Principal, RequestBody, memory};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    let api = ApiLayer::builder(memory::Store::new(SystemClock::shared()), keys()?)
        .route("POST /v1/echo", Policy::scope("echo").idempotent())
        .route("GET /healthz", Policy::public())
        .build()?;
    let service = api.layer(service_fn(handle));
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;

    let (stop, stopped) = watch::channel(());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, service.clone(), stopped.clone()));
                }
                // Out of file descriptors, most often: those that are open go on.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    drop((listener, stopped));
    // Every connection holds a receiver until it has ended.
    let _ = stop.send(());
    let _ = tokio::time::timeout(GRACE, stop.closed()).await;
    // What runs under an Idempotency-Key belongs to no connection.
    api.drained(GRACE).await;
    Ok(())
}

/// Behind the layers a request is what it was, but for its body, which is capped, and its
/// extensions, which say who is calling.
type Received = Request<RequestBody<Incoming>>;

/// The layers take any body out; this service makes whole ones, and lets an [`ApiError`]
/// speak for itself.
type Answered = Response<Body<Full<Bytes>>>;

async fn handle(request: Received) -> Result<Answered, Infallible> {
    let (head, body) = request.into_parts();
    let answer = match (head.method, head.uri.path()) {
        (Method::GET, "/healthz") => Ok(Bytes::from_static(b"ok\n")),
        (Method::POST, "/v1/echo") => match body.collect().await {
            Ok(body) => {
                let who: &Principal = head.extensions.get().expect("the route asks for a key");
                let said = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                Ok(format!("{} says {said}\n", who.account()).into())
            }
            // It ran over its cap, which the layers answer, or its client is gone.
            Err(_) => Err(ApiError::malformed_request("The body could not be read.")),
        },
        // The layers let pass what their routes name, and a route may be ahead of its code.
        _ => Err(ApiError::endpoint_not_found()),
    };
    Ok(match answer {
        Ok(text) => Response::new(Body::full(text)),
        Err(refusal) => refusal.into_response(),
    })
}

async fn connection<S>(stream: TcpStream, service: S, mut stopped: watch::Receiver<()>)
where
    S: Service<Request<Incoming>, Response = Response<Body<Body<Full<Bytes>>>>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10));
    server.http2().timer(TokioTimer::new());
    let io = TokioIo::new(stream);
    let mut connection =
        std::pin::pin!(server.serve_connection(io, TowerToHyperService::new(service)));
    // What a connection ends with is told to its client.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// The key of this example, which everybody knows.
fn keys() -> Result<Keys, Box<dyn Error>> {
    let key = KeyFormat::new().parse("mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f")?;
    let record = KeyRecord::of(&key, &Peppers::none(), "key_1", "acme");
    Ok(Keys::new([record.scopes(["echo"]).build()])?)
}

/// Less than an orchestrator waits before it kills.
const GRACE: Duration = Duration::from_secs(20);
