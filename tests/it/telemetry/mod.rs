//! What a running sidecar tells of itself: metrics, and what reads them.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a helper fails the test that called it"
)]

mod access;
mod admin;
mod metrics;
mod prometheus;
mod traces;
