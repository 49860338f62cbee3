//! The sidecar as a proxy, over real sockets: what it does to messages, connections and faults.

mod connections;
mod drain;
mod faults;
mod layers;
mod messages;
mod process;
mod retries;
mod streams;
mod world;
