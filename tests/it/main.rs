//! The contract, held against both mountings: one binary, so that it links once.

mod contract;
mod equality;
mod examples;
mod hostile;
mod messaging;
mod model;
mod own_transaction;
mod pod;
mod proof;
mod sidecar;
mod simulator_page;
mod stores;
mod telemetry;
mod tidy;
