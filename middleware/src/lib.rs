//! What every HTTP API needs at its door, as tower layers.
//!
//! A request gets a correlation id, shows its API key, is counted against that key's
//! limit and, if it carries an `Idempotency-Key`, is executed once and replayed ever
//! after. One stack, [`ApiLayer`], mounts in a service of your own, as below, or in the
//! sidecar beside it; each of its layers can be used alone.
//!
//! # Example
//!
//! ```no_run
//! # #[cfg(feature = "axum")] mod example {
//! use std::time::Duration;
//!
//! use axum::routing::post;
//! use axum::{Json, Router};
//! use vestibule::api_key::Keys;
//! use vestibule::identity::Secret;
//! use vestibule::route::Policy;
//! use vestibule::{ApiError, ApiLayer, Claim, Principal, Store};
//! # #[derive(serde::Deserialize)] struct Charge { amount: u64 }
//! # #[derive(serde::Serialize)] struct Receipt { account: String, amount: u64 }
//! # async fn sigterm() {}
//!
//! # pub async fn run(listener: tokio::net::TcpListener, secret: Secret) -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("memory:").await?;
//! let api = ApiLayer::builder(store, Keys::watch("keys.json")?)
//!     .route("POST /v1/charges", Policy::scope("charges:write").idempotent())
//!     .route("GET /v1/charges/{id}", Policy::scope("charges:read"))
//!     .per_minute(60)
//!     .trust_assertion(secret)
//!     .build()?;
//! let app = Router::new().route("/v1/charges", post(charge)).layer(api.clone());
//! axum::serve(listener, app).with_graceful_shutdown(sigterm()).await?;
//! api.drained(Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//!
//! async fn charge(who: Principal, _claim: Option<Claim>, Json(charge): Json<Charge>) -> Result<Json<Receipt>, ApiError> {
//!     Ok(Json(Receipt { account: who.account().to_owned(), amount: charge.amount }))
//! }
//! # }
//! ```
//!
//! What matches none of the routes is authenticated, charged and answered 404 in the
//! envelope; axum's `Router::layer` wraps its own fallback too, so the router's own 404 is
//! never seen.
//!
//! # The layers, from the outside in
//!
//! | layer | what it does | alone |
//! |---|---|---|
//! | [`correlation_id`] | one id on request, response, span and error | [`CorrelateLayer`](correlation_id::CorrelateLayer) |
//! | [`route`] | method and path to policy; panics answered; what runs at one time is bounded | [`Routes`](route::Routes) |
//! | [`api_key`] | who is calling, by key; or by a signed assertion ([`identity`]) | [`AuthenticateLayer`](api_key::AuthenticateLayer), [`TrustLayer`](identity::TrustLayer) |
//! | [`rate_limit`] | a limit for each key family; `X-RateLimit-*` on every response | [`RateLimitLayer`](rate_limit::RateLimitLayer) |
//! | policy | scope, method, media type, length, agent | [`Policy`](route::Policy) |
//! | [`idempotency`] | executed once, detached from the connection, replayed | [`IdempotencyLayer`](idempotency::IdempotencyLayer) |
//!
//! A layer that refuses *answers*: it never turns into an error of the service, and
//! every refusal is made by a constructor of [`ApiError`] and rendered in one place.
//!
//! [`telemetry`] says what each of them decided about a request.
//!
//! Each has a page on its options, its limits, what happens without its store and what it
//! costs, and there are more, on proxies and on sizing: [`docs`].
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `axum` | extractors for [`Principal`], [`CorrelationId`] and [`Claim`]; `IntoResponse` for [`ApiError`] |
//! | `embedded` | the store of one process in a file: records survive a crash |
//! | `postgres` | `postgres::Store`, for records and keys that lie in a database |
//! | `redis` | `redis::Store`, which several processes share |
//! | `sqlite` | `sqlite::Store`: records in a database of yours, so that effect and record are one transaction |
//! | `test-util` | `testing`: a clock to set, a store to break, and the cases that every store must pass |

pub mod api_key;
mod body;
mod breaker;
mod budget;
pub mod clock;
#[cfg(any(feature = "embedded", feature = "sqlite"))]
mod codec;
mod context;
pub mod correlation_id;
pub mod docs;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod entropy;
pub mod error;
#[cfg(feature = "axum")]
mod extract;
mod future;
mod guarded;
pub mod header;
pub mod idempotency;
pub mod identity;
pub mod memory;
mod pair;
#[cfg(feature = "postgres")]
pub mod postgres;
mod principal;
pub mod rate_limit;
#[cfg(feature = "redis")]
pub mod redis;
pub mod route;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod stack;
mod store;
mod tasks;
pub mod telemetry;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;

pub use crate::body::{Body, CapError, Capped, RequestBody};
pub use crate::budget::Budget;
pub use crate::context::{Claim, CorrelationId, Effect, Fingerprint};
pub use crate::error::{ApiError, ErrorFormat};
pub use crate::pair::Pair;
pub use crate::principal::{Caller, KeyVersion, Principal, PrincipalBuilder, Scopes};
pub use crate::stack::{ApiLayer, ApiLayerBuilder};
#[cfg(feature = "postgres")]
pub use crate::store::CountersBeside;
pub use crate::store::{OpenError, Store, StoreKeyring};
pub use crate::tasks::{Saturated, Tasks};
