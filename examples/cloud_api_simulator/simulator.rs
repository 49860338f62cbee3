//! The simulator as its planes share it: the state, the clock, and who posts webhooks.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::clock::VirtualClock;
use crate::state::State;
use crate::webhook::Sender;
use crate::world::Reach;

/// What the Graph plane, the control plane and the webhook sender have in common.
#[derive(Debug)]
pub(crate) struct Simulator {
    state: Mutex<State>,
    pub(crate) clock: VirtualClock,
    pub(crate) sender: Sender,
    pub(crate) reach: Reach,
    /// Told when something new is due.
    pub(crate) wake: Notify,
    /// Told when the door of the Graph plane may have to open or close.
    pub(crate) knock: Notify,
    /// Whether the Graph plane listens.
    pub(crate) is_open: watch::Sender<bool>,
}

// === impl Simulator ===

impl Simulator {
    /// A simulator in which nothing has happened yet.
    pub(crate) fn new(state: State, clock: VirtualClock, reach: Reach) -> Self {
        Self {
            state: Mutex::new(state),
            clock,
            sender: Sender::default(),
            reach,
            wake: Notify::new(),
            knock: Notify::new(),
            is_open: watch::Sender::new(true),
        }
    }

    /// The state; hold it briefly, and never while waiting.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
