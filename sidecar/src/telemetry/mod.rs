//! What is told of requests to whoever runs the sidecar.
//!
//! [`Observe`] stands around everything: it counts a request from its head until its answer
//! has been given away, and tells what the layers decided about it and what the service
//! behind did. Nothing here makes a request wait.

mod access;
mod lines;
mod metrics;
mod observe;
mod passage;
mod traces;

pub(crate) use self::access::Access;
pub(crate) use self::lines::Lines;
pub(crate) use self::metrics::{Metrics, Side};
pub(crate) use self::observe::ObserveLayer;
pub use self::observe::{Observe, ObserveFuture, Observed};
pub(crate) use self::passage::Passage;
pub(crate) use self::traces::Traces;
