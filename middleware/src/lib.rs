//! What every HTTP API needs at its door, as tower layers.

pub mod api_key;
mod body;
mod breaker;
mod budget;
pub mod clock;
mod context;
pub mod correlation_id;
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
mod principal;
pub mod rate_limit;
pub mod route;
pub mod stack;
mod store;
mod tasks;
#[cfg(any(test, feature = "test-util"))]
pub mod testing;

pub use crate::body::{Body, CapError, Capped, RequestBody};
pub use crate::budget::Budget;
pub use crate::context::{Claim, CorrelationId, Effect, Fingerprint};
pub use crate::error::{ApiError, ErrorFormat};
pub use crate::principal::{Caller, Principal, PrincipalBuilder, Scopes};
pub use crate::stack::{ApiLayer, ApiLayerBuilder};
pub use crate::store::{OpenError, Store};
pub use crate::tasks::{Saturated, Tasks};
