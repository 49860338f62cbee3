//! What every HTTP API needs at its door, as tower layers.

pub mod api_key;
mod body;
pub mod clock;
mod context;
pub mod entropy;
pub mod error;
pub mod header;
pub mod identity;
mod principal;
mod tasks;

pub use crate::body::{Body, CapError, Capped, RequestBody};
pub use crate::context::{Claim, CorrelationId, Effect, Fingerprint};
pub use crate::error::{ApiError, ErrorFormat};
pub use crate::principal::{Caller, Principal, PrincipalBuilder, Scopes};
pub use crate::tasks::{Saturated, Tasks};
