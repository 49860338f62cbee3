//! The sidecar as a proxy, over real sockets: what it does to messages, connections and faults.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a helper fails the test that called it"
)]

mod check;
mod connections;
mod crash;
mod drain;
mod explain;
mod failures;
mod faults;
mod forwarded;
mod grpc;
mod key_places;
mod keys;
mod layers;
mod messages;
mod process;
mod reload;
mod retries;
mod shedding;
mod stores;
mod streams;
mod tls;
mod upgrade;
mod upstream_tls;
mod upstreams;
mod world;
