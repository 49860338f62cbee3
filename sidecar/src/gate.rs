//! The way out of a listener: whether connections are taken, and what the open ones are told.

use tokio::sync::watch;

/// One listener's.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: watch::Sender<bool>,
    leave: watch::Sender<Leave>,
}

/// When a connection is to end. It is never told to stay once it was told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leave {
    /// As the client likes.
    Stay,
    /// With its next answer, which says so. An idle one is left open: its client may be
    /// sending at this moment.
    AfterAnswer,
    /// As soon as nothing is under way.
    Now,
}

// === impl Gate ===

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            closed: watch::Sender::new(false),
            leave: watch::Sender::new(Leave::Stay),
        }
    }

    /// Takes no further connection.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Turns true when no further connection is to be taken.
    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Tells the connections, those that are still to come too.
    pub(crate) fn tell(&self, leave: Leave) {
        self.leave.send_if_modified(|told| {
            let later = leave > *told;
            *told = leave.max(*told);
            later
        });
    }

    /// What connections are told.
    pub(crate) fn leave(&self) -> watch::Receiver<Leave> {
        self.leave.subscribe()
    }
}

// === impl Leave ===

impl Leave {
    /// Waits until it has come to this, or nobody is left to tell.
    pub(crate) async fn reached(self, mut told: watch::Receiver<Self>) {
        let _gone = told.wait_for(|told| *told >= self).await;
    }
}
