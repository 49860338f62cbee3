//! Stores that hold: two sidecars on one Redis (design D7), and every row of contract §7 at
//! servers that are really frozen, killed, emptied and cut off.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a helper fails the test that called it"
)]

mod changes;
mod emptied;
mod lossy;
mod lost;
mod recovery;
mod site;
mod together;
