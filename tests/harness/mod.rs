//! What the integration tests stand on: one origin behind either mounting, and a client that
//! sends any bytes.
//!
//! # Example
//!
//! ```
//! use harness::{Draft, Mounting, Setup};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let api = Setup::new().mount(Mounting::InProcess).await;
//! let charge = Draft::post("/v1/charges").key("full").json(r#"{"amount":1}"#);
//! let reply = api.send(&charge.origin("status 201")).await;
//! assert_eq!(reply.status, 201);
//! assert_eq!(api.origin.executions(), 1);
//! # }
//! ```
//!
//! The [`Origin`] is a service without a mind of its own: each request tells it what to
//! answer, and it notes what it was sent. A [`Setup`] puts it behind the layers, in process
//! or behind the sidecar, with keys known by name, one [`ManualClock`] and a store that
//! breaks when it is told to. A [`Draft`] is a request that is well-formed until it is told
//! otherwise, and a [`Wire`] is a connection that carries bytes.
//!
//! A [`Pod`] starts sidecars as processes of their own, as in production; [`Replicas`] are two
//! of them on one Redis. A [`Link`] is a network that can be cut, a [`Collector`] takes spans
//! and a [`Prometheus`] metrics.
//!
//! Nothing here waits without a bound: what does not happen within [`PATIENCE`] fails the
//! test.
//!
//! [`ManualClock`]: vestibule::testing::ManualClock

mod collector;
mod dashboard;
mod draft;
mod keys;
mod link;
mod load;
mod mounting;
mod origin;
mod pod;
pub mod process;
mod prometheus;
pub mod proof;
mod replaced;
mod replicas;
mod reply;
mod serving;
mod setup;
mod wire;

use std::any::type_name;
use std::str::FromStr;
use std::time::Duration;

pub use self::collector::Collector;
pub use self::dashboard::{Panel, Query};
pub use self::draft::Draft;
pub use self::keys::{AGENT, FragileKeys, OTHER_AGENT, record, token};
pub use self::link::{Flow, Link};
pub use self::load::{Load, Speaks, Tally};
pub use self::mounting::{Configured, Mounted, Mounting};
pub use self::origin::{AnswerBody, BrokenOff, Origin, Received};
pub use self::pod::{Edge, Pod};
pub use self::prometheus::{Prometheus, Series};
pub use self::replaced::{By, Replaced};
pub use self::replicas::Replicas;
pub use self::reply::Reply;
pub use self::serving::Serving;
pub use self::setup::{Api, START, Setup, routes};
pub use self::wire::{Answer, Wire};

/// How long anything may take: far more than it needs, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// An argument of this program, by its place; what is usual where it has none.
///
/// # Panics
///
/// Where it is not what it must be.
pub fn argument<T: FromStr>(place: usize, usual: T) -> T {
    match std::env::args().nth(place + 1).map(|text| text.parse()) {
        None => usual,
        Some(Ok(given)) => given,
        Some(Err(_)) => panic!("argument {} must be a {}", place + 1, type_name::<T>()),
    }
}

/// Waits until a condition holds.
///
/// # Panics
///
/// Where it does not within [`PATIENCE`].
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let holding = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, holding).await;
    assert!(waited.is_ok(), "it never came to pass that {what}");
}
