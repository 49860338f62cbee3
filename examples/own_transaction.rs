//! A handler that ends its claim in the transaction of its effect: one charge a key, even if
//! the process is killed between any two statements.
//!
//! ```sh
//! cargo run -p vestibule-examples --example own_transaction
//! alias charge='curl -i http://127.0.0.1:8080/v1/charges -H "content-type: application/json" \
//!   -H "authorization: Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f"'
//! charge -H "idempotency-key: order-17" -d '{"amount": 100}'   # 201
//! charge -H "idempotency-key: order-17" -d '{"amount": 100}'   # 201 again: idempotent-replayed: true
//! charge -H "idempotency-key: order-17" -d '{"amount": 200}'   # 422: the key was for another request
//! charge -G                                                    # one charge
//! ```
//!
//! The database is `charges.db` in this folder: kill the process as you like, start it
//! again and repeat. Another address and another file may follow as arguments.

use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use tokio::net::TcpListener;
use vestibule::api_key::{KeyFormat, KeyRecord, Keys, Peppers};
use vestibule::clock::SystemClock;
use vestibule::route::Policy;
use vestibule::{ApiError, ApiLayer, ApiLayerBuilder, Claim, Pair, Principal, memory, sqlite};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let file = arguments.next().unwrap_or_else(|| "charges.db".into());
    let database = open(&file).await?;
    let api = layers(&database).await?.build()?;
    let listener = TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    serve(listener, api, database).await
}

/// A charge that is asked for.
#[derive(Debug, Deserialize)]
struct Order {
    amount: u32,
}

/// A charge that was made.
#[derive(Debug, Serialize, sqlx::FromRow)]
struct Charge {
    id: i64,
    amount: u32,
}

/// Limits are counted in memory; what became of keyed requests lies in the database that
/// the charges are in.
type Store = Pair<memory::Store, sqlite::Store>;

/// Takes money, once: the charge and the claim are ended in one transaction.
async fn charge(
    State(database): State<SqlitePool>,
    who: Principal,
    claim: Claim,
    Json(order): Json<Order>,
) -> Result<Response<String>, ApiError> {
    // The lock comes first: a transaction that reads before it writes can lose it.
    let mut tx = database
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(|cause| failed(&cause))?;
    let charge: Charge =
        sqlx::query_as("INSERT INTO charge (account, amount) VALUES (?, ?) RETURNING id, amount")
            .bind(who.account())
            .bind(order.amount)
            .fetch_one(&mut *tx)
            .await
            .map_err(|cause| failed(&cause))?;
    let body = serde_json::to_string(&charge).expect("a charge is two numbers");
    let response = Response::builder()
        .status(StatusCode::CREATED)
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .expect("a status and a header make a response");
    // Refused where another request holds the key by now: `?` then rolls back.
    claim.finish(&mut tx, &response).await?;
    tx.commit().await.map_err(|cause| failed(&cause))?;
    Ok(response)
}

/// The charges of the caller.
async fn charges(
    State(database): State<SqlitePool>,
    who: Principal,
) -> Result<Json<Vec<Charge>>, ApiError> {
    sqlx::query_as("SELECT id, amount FROM charge WHERE account = ?")
        .bind(who.account())
        .fetch_all(&database)
        .await
        .map(Json)
        .map_err(|cause| failed(&cause))
}

pub(crate) async fn open(file: &str) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let database = SqlitePool::connect_with(options).await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS charge
         (id INTEGER PRIMARY KEY, account TEXT NOT NULL, amount INTEGER NOT NULL) STRICT",
    )
    .execute(&database)
    .await?;
    Ok(database)
}

pub(crate) async fn layers(
    database: &SqlitePool,
) -> Result<ApiLayerBuilder<Store, Keys>, Box<dyn Error>> {
    let clock = SystemClock::shared();
    let records = sqlite::Store::over(database.clone(), clock.clone());
    records.migrate().await?;
    let store = Pair::new(memory::Store::new(clock), records);
    let key = KeyRecord::of(
        &KeyFormat::new().parse(KEY)?,
        &Peppers::none(),
        "key_1",
        "acme",
    );
    let keys = Keys::new([key.scopes(["charges:write"]).build()])?;
    let write = Policy::scope("charges:write").transactional();
    Ok(ApiLayer::builder(store, keys)
        .route("POST /v1/charges", write.require_idempotency_key())
        .route("GET /v1/charges", Policy::scope("charges:write")))
}

pub(crate) async fn serve(
    listener: TcpListener,
    api: ApiLayer<Store, Keys>,
    database: SqlitePool,
) -> Result<(), Box<dyn Error>> {
    let routes = Router::new().route("/v1/charges", get(charges).post(charge));
    let app = routes.with_state(database).layer(api.clone());
    let stopped = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    api.drained(Duration::from_secs(30)).await;
    Ok(())
}

fn failed(cause: &sqlx::Error) -> ApiError {
    tracing::error!(%cause, "the database failed");
    ApiError::internal()
}

/// The key of this example, which everybody knows.
const KEY: &str = "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";
