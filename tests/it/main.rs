//! The contract, held against both mountings: one binary, so that it links once.

mod contract;
mod equality;
mod hostile;
mod messaging;
mod model;
mod own_transaction;
mod sidecar;
mod stores;
mod tidy;
