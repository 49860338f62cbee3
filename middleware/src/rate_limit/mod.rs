//! Per-key rate limits, with `X-RateLimit` headers on every response.
//!
//! # Example
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt};
//! use vestibule::clock::SystemClock;
//! use vestibule::rate_limit::{Quota, RateLimitLayer};
//! use vestibule::{Principal, memory};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let store = memory::Store::new(SystemClock::shared());
//! let service = ServiceBuilder::new()
//!     .layer(RateLimitLayer::new(store, Quota::per_minute(1)))
//!     .service_fn(|_: Request<()>| async { Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default())) });
//!
//! let request = || {
//!     let mut request = Request::new(());
//!     request.extensions_mut().insert(Principal::builder("account", "key").build());
//!     request
//! };
//! let first = service.clone().oneshot(request()).await.unwrap();
//! assert_eq!((first.status().as_u16(), &first.headers()["x-ratelimit-remaining"]), (200, &"0".parse().unwrap()));
//! assert_eq!(service.oneshot(request()).await.unwrap().status(), 429);
//! # }
//! ```
//!
//! A fixed window starts at a caller's first request, is measured by the store's clock
//! and is never moved by a call that is refused, so at most `limit` requests pass in a
//! window and at most `2 * limit - 1` in any stretch of its length;
//! [`Quota::with_burst`] smooths that (GCRA). Every authenticated request costs 1.
//!
//! When the store is lost, this process counts alone against the full limit, going on
//! from what the store said last, or as [`WhenLost`] says (contract §7). A request without a
//! [`Principal`](crate::Principal) is not limited.

mod counters;
mod layer;
mod limiter;
mod quota;
mod service;
mod table;

pub use self::counters::{Charge, Counters};
pub use self::layer::RateLimitLayer;
pub use self::limiter::{Limiter, WhenLost};
pub use self::quota::{Counter, Quota, Verdict};
pub use self::service::RateLimit;
#[cfg(feature = "embedded")]
pub(crate) use self::table::Counted;
pub(crate) use self::table::CounterTable;
