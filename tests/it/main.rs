//! The contract, row by row: one binary, so that it links once.

mod model;
mod sidecar;
