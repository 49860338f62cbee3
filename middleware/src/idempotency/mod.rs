//! `Idempotency-Key`: a request is executed once and replayed ever after.
//!
//! # Example
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{ServiceBuilder, ServiceExt};
//! use vestibule::clock::SystemClock;
//! use vestibule::idempotency::IdempotencyLayer;
//! use vestibule::{Principal, RequestBody, memory};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(IdempotencyLayer::new(memory::Store::new(SystemClock::shared())))
//!     .service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
//!         Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from("charged")))
//!     });
//!
//! let request = || {
//!     let mut request = Request::post("/charges").header("idempotency-key", "k1").body(Full::default()).unwrap();
//!     request.extensions_mut().insert(Principal::builder("account", "key").build());
//!     request
//! };
//! let first = service.clone().oneshot(request()).await.unwrap();
//! let again = service.oneshot(request()).await.unwrap();
//! assert!(!first.headers().contains_key("idempotent-replayed"));
//! assert_eq!(again.headers()["idempotent-replayed"], "true");
//! assert_eq!(again.into_body().collect().await.unwrap().to_bytes(), "charged");
//! # }
//! ```
//!
//! A keyed POST is buffered, claimed at the store and executed in a task of its own, so
//! that a caller who leaves does not cancel it. Its response is kept before it is
//! released. What cannot be known is never executed again: *unknown* is a state
//! (contract §6 has the whole table).
//!
//! When the store is lost, a keyed request is answered 503 and nothing is executed; a
//! response that could not be kept is returned all the same, and keeping it is tried
//! again until the lease ends.

mod buffer;
#[cfg(any(feature = "embedded", feature = "sqlite"))]
mod codec;
mod commit;
mod execution;
mod executor;
mod fingerprint;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod kept;
mod key;
mod layer;
mod pending;
mod record;
mod records;
mod replay;
mod service;

pub use self::commit::{Commit, FinishError, RecordsConnection};
pub(crate) use self::executor::Keyed;
pub use self::executor::{Executor, Options};
pub use self::key::{IdempotencyKey, InvalidKey};
pub use self::layer::IdempotencyLayer;
pub use self::record::{Attempt, Decision, Outcome, Owner, Preview, Record};
#[cfg(feature = "postgres")]
pub(crate) use self::record::{Parts, State};
pub use self::records::Records;
pub use self::replay::KeptResponse;
pub use self::service::Idempotency;
