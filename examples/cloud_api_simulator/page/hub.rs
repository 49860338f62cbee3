//! Tells every open page what happens, in order, and holds none of them up.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::broadcast;

/// Where events come from. What nobody has open is not written at all.
#[derive(Debug)]
pub(super) struct Hub {
    told: u64,
    sender: broadcast::Sender<Told>,
}

/// What open pages are told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// Too much has changed: the whole picture is to be sent again.
    Anew,
    /// One thing has changed.
    Event {
        id: u64,
        name: &'static str,
        data: Arc<str>,
    },
}

// === impl Hub ===

impl Hub {
    /// Tells of one change.
    pub(super) fn tell(&mut self, name: &'static str, data: &Value) {
        self.told += 1;
        if self.is_heard() {
            self.send(Told::Event {
                id: self.told,
                name,
                data: data.to_string().into(),
            });
        }
    }

    /// Lets every open page begin anew.
    pub(super) fn begin_anew(&mut self) {
        self.told += 1;
        self.send(Told::Anew);
    }

    /// What is told from now on; a listener that falls behind by more than [`KEPT`] is told
    /// that it has.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Told> {
        self.sender.subscribe()
    }

    /// Whether any page is open.
    pub(super) fn is_heard(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// The number of the last event.
    pub(super) const fn last_id(&self) -> u64 {
        self.told
    }

    fn send(&self, told: Told) {
        // It fails only where nobody listens.
        let _nobody = self.sender.send(told);
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            told: 0,
            sender: broadcast::Sender::new(KEPT),
        }
    }
}

/// A burst of some messages with all their statuses; a longer one costs a slow page a new
/// picture, and the simulator no memory.
pub(super) const KEPT: usize = 512;
