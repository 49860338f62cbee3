//! The contract, held against both mountings: one binary, so that it links once.

mod contract;
mod equality;
mod messaging;
mod model;
mod sidecar;
mod tidy;
