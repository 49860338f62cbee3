//! The layers around an axum router: who is calling, how often, and each keyed order once.
//!
//! ```sh
//! cargo run -p vestibule-examples --example in_process_axum
//! alias order='curl -i http://127.0.0.1:8080/v1/orders -H "content-type: application/json" \
//!   -H "authorization: Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f"'
//! order -H "idempotency-key: o-1" -d '{"item": "tea"}'      # 201, x-ratelimit-remaining: 59
//! order -H "idempotency-key: o-1" -d '{"item": "tea"}'      # the same order: idempotent-replayed: true
//! order -H "idempotency-key: o-1" -d '{"item": "coffee"}'   # 422: the key was for another request
//! order -d '{"item": "tea"}'                                # 201: without a key, another order
//! order -G                                                  # the caller's orders
//! curl -i http://127.0.0.1:8080/v1/orders                   # 401, whatever the path
//! ```
//!
//! `{"item": "tea", "millis": 5000}` takes so long to make: repeat it meanwhile for a 409,
//! or stop the process with Ctrl-C or SIGTERM, which answers it first. Another address may
//! follow as an argument.

use std::error::Error;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use vestibule::api_key::{KeyFormat, KeyRecord, Keys, Peppers};
use vestibule::route::Policy;
use vestibule::{ApiError, ApiLayer, Claim, CorrelationId, Principal, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    // In production a store that outlasts the process ("file:", "redis://", "postgres://"),
    // and keys that are changed while it runs: `Keys::watch("keys.json")`.
    let api = ApiLayer::builder(Store::open("memory:").await?, keys()?)
        .route(
            "POST /v1/orders",
            Policy::scope("orders:write").idempotent(),
        )
        .route("GET /v1/orders", Policy::scope("orders:read"))
        .route("GET /healthz", Policy::public())
        .per_minute(60)
        .build()?;
    let app = Router::new()
        .route("/v1/orders", get(orders).post(order))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(Orders::default())
        .layer(api.clone());
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped()?)
        .await?;
    // A keyed order runs to its end even where its caller has left: no connection of it is
    // there to be waited for.
    let unfinished = api.drained(Duration::from_secs(30)).await;
    match unfinished {
        0 => Ok(()),
        _ => Err(format!("{unfinished} orders were not finished").into()),
    }
}

/// What was ordered by whom. Where this is a database, see the example `own_transaction`.
type Orders = Arc<Mutex<Vec<Order>>>;

/// An order that is asked for.
#[derive(Debug, Deserialize)]
struct Wish {
    item: String,
    #[serde(default)]
    millis: u64,
}

/// An order that was made.
#[derive(Clone, Debug, Serialize)]
struct Order {
    id: usize,
    account: String,
    item: String,
    /// The id that the caller was given, and that is in the logs of all who took part.
    correlation_id: String,
    keyed: bool,
}

/// Makes an order. The layers have found out who asks, and that it is for the first time.
async fn order(
    State(orders): State<Orders>,
    who: Principal,
    id: CorrelationId,
    claim: Option<Claim>,
    Json(wish): Json<Wish>,
) -> Result<(StatusCode, Json<Order>), ApiError> {
    if wish.item.is_empty() {
        return Err(ApiError::missing_required_field("item"));
    }
    tokio::time::sleep(Duration::from_millis(wish.millis)).await;
    let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
    let order = Order {
        id: orders.len() + 1,
        account: who.account().to_owned(),
        item: wish.item,
        correlation_id: id.to_string(),
        keyed: claim.is_some(),
    };
    orders.push(order.clone());
    Ok((StatusCode::CREATED, Json(order)))
}

/// The orders of the caller, and of nobody else.
async fn orders(State(orders): State<Orders>, who: Principal) -> Json<Vec<Order>> {
    let orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
    let own = orders.iter().filter(|order| order.account == who.account());
    Json(own.cloned().collect())
}

/// The key of this example, which everybody knows.
fn keys() -> Result<Keys, Box<dyn Error>> {
    let key = KeyFormat::new().parse("mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f")?;
    let record = KeyRecord::of(&key, &Peppers::none(), "key_1", "acme");
    let record = record.scopes(["orders:read", "orders:write"]);
    Ok(Keys::new([record.build()])?)
}

/// Ends with the first SIGTERM, as an orchestrator sends it, or Ctrl-C.
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    })
}
