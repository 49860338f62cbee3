//! The table of routes: which method and path goes with which policy.
//!
//! # Example
//!
//! ```
//! use http::Method;
//! use vestibule::route::{Policy, Routes};
//!
//! let routes = Routes::default()
//!     .with("POST /v1/charges", Policy::scope("charges:write").idempotent())?
//!     .with("GET /v1/charges/{id}", Policy::scope("charges:read"))?
//!     .with("* /webhooks/bank", Policy::public())?;
//!
//! assert!(routes.find(&Method::GET, "/v1/charges/17").policy().is_some());
//! assert!(routes.find(&Method::GET, "/v1/charges/../17").policy().is_none());
//! # Ok::<(), vestibule::route::InvalidRoute>(())
//! ```
//!
//! Both mountings use one table. What matches no route is authenticated, charged and
//! then answered 404, so that nobody without a key learns which paths exist; a path
//! that could mean something else to the upstream (`//`, dot segments, an encoded `/`,
//! `.` or NUL) matches no route (contract §1).

mod policy;
mod table;

pub use self::policy::{Policy, UpstreamKind};
pub use self::table::{InvalidRoute, RouteMatch, Routes};
