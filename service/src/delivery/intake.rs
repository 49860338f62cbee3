//! The worker that reads the webhooks which were taken in, and does what they say.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{debug, error, warn};

use super::Update;
use crate::cloud_api::webhook;
use crate::directory::Directory;
use crate::store::{self, StoreError};

/// Works off the log of webhooks, from the first that was not worked off before.
///
/// Every step may be repeated, so a crash between doing and marking does no harm.
#[derive(Debug)]
pub struct Intake<S> {
    store: S,
    directory: Arc<Directory>,
    wake: Arc<Notify>,
}

// === impl Intake ===

impl<S: store::Intake> Intake<S> {
    /// A worker that looks at the log when it is woken.
    pub fn new(store: S, directory: Arc<Directory>, wake: Arc<Notify>) -> Self {
        Self {
            store,
            directory,
            wake,
        }
    }

    /// Runs until `stop`; what is not worked off then waits in the log.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let pause = match self.turn().await {
                Ok(0) => IDLE_MAX,
                Ok(_) => Duration::ZERO,
                Err(cause) => {
                    error!(?cause, "webhooks cannot be worked off");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Works off a few; returns how many.
    async fn turn(&self) -> Result<usize, StoreError> {
        let webhooks = self.store.backlog(TURN_MAX).await?;
        let count = webhooks.len();
        for taken in webhooks {
            let parsed = webhook::parse(&taken.body, taken.received_at);
            if parsed.skipped > 0 {
                warn!(
                    seq = taken.seq,
                    skipped = parsed.skipped,
                    "updates were not understood"
                );
            }
            self.report(&parsed.updates);
            self.store.apply(taken.seq, parsed.updates).await?;
        }
        Ok(count)
    }

    fn report(&self, updates: &[Update]) {
        for update in updates {
            let Update::Inbound {
                phone_number_id,
                opened,
                ..
            } = update
            else {
                continue;
            };
            if opened.is_skewed {
                warn!(number = %phone_number_id, "Meta's clock is ahead of ours");
            }
            if !self.directory.has_number(phone_number_id) {
                debug!(number = %phone_number_id, "a message came for a number of no agent");
            }
        }
    }
}

/// A body may have 4 MB, and a turn holds this many.
const TURN_MAX: u32 = 8;

/// The log is looked at now and then even if nobody knocks.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// When a store that failed is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
