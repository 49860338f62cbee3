//! The worker that reads the webhooks which were taken in, and does what they say.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

use super::Update;
use crate::cloud_api::webhook;
use crate::directory::Directory;
use crate::metrics::Metrics;
use crate::store::{self, Change, StoreError, Told, Webhook};
use crate::window::Rules;

/// Works off the log of webhooks, from the first that was not worked off before.
///
/// Every step may be repeated, so a crash between doing and marking does no harm.
#[derive(Debug)]
pub struct Intake<S> {
    store: S,
    directory: Arc<Directory>,
    rules: Rules,
    wake: Arc<Notify>,
    queued: Arc<Notify>,
    metrics: Metrics,
}

// === impl Intake ===

impl<S: store::Intake> Intake<S> {
    /// A worker that looks at the log when it is woken; `queued` is told when a status has
    /// made way for another message.
    pub fn new(
        store: S,
        directory: Arc<Directory>,
        rules: Rules,
        wake: Arc<Notify>,
        queued: Arc<Notify>,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            directory,
            rules,
            wake,
            queued,
            metrics,
        }
    }

    /// Runs until `stop`; what is not worked off then waits in the log.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            let pause = self.turn().await.unwrap_or_else(|cause| {
                error!(?cause, "webhooks cannot be worked off");
                STORE_PAUSE
            });
            let looks_again = async {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep(pause) => {}
                }
                self.give_way().await;
            };
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = looks_again => {}
            }
        }
    }

    /// Lets those webhooks be acknowledged first that come now, for a moment: Meta waits for
    /// that, and repeats what it has waited for too long.
    async fn give_way(&self) {
        for _ in 0..WAY_GIVEN {
            if !self.store.is_pressed() {
                return;
            }
            tokio::time::sleep(WAY_LOOK).await;
        }
    }

    /// Works off a few together; returns when there may be more.
    async fn turn(&self) -> Result<Duration, StoreError> {
        let webhooks = self.store.backlog(TURN_MAX).await?;
        if webhooks.is_empty() {
            return Ok(IDLE_MAX);
        }
        let told = webhooks.iter().map(|taken| self.read(taken)).collect();
        drop(webhooks);
        let applied = self.store.apply(told).await?;
        self.metrics.applied(&applied);
        tell(&applied.changes);
        if !applied.changes.is_empty() {
            self.queued.notify_one();
        }
        Ok(match applied.bodies {
            // Another replica is at them.
            0 => BUSY_PAUSE,
            _ => Duration::ZERO,
        })
    }

    fn read(&self, taken: &Webhook) -> Told {
        let parsed = webhook::parse(&taken.body, taken.received_at, self.rules);
        let (skipped, unknown, skewed) = (parsed.skipped, parsed.unknown, parsed.skewed);
        self.metrics
            .parsed(skipped as u64, unknown as u64, skewed as u64);
        if skipped + skewed > 0 {
            warn!(
                seq = taken.seq,
                skipped, skewed, "updates were not understood, or lay in the future"
            );
        }
        self.report(&parsed.updates);
        Told {
            seq: taken.seq,
            updates: parsed.updates,
        }
    }

    fn report(&self, updates: &[Update]) {
        for update in updates {
            let Update::Inbound(inbound) = update else {
                continue;
            };
            if !self.directory.has_number(&inbound.phone_number_id) {
                debug!(number = %inbound.phone_number_id, "a message came for a number of no agent");
            }
        }
    }
}

/// Each change is told with the request that caused the message.
pub(super) fn tell(changes: &[Change]) {
    for change in changes {
        info!(
            message = %change.message,
            state = change.state.as_str(),
            correlation_id = &*change.correlation_id,
            traceparent = change.traceparent.as_deref(),
            "a message got somewhere"
        );
    }
}

/// As many bodies as one transaction takes, so that others need not wait long for it.
const TURN_MAX: u32 = 256;

/// For how long those that come go first, and how often that is looked at: what was taken in
/// is still worked off faster than Meta lets one number send.
const WAY_GIVEN: u32 = 10;
const WAY_LOOK: Duration = Duration::from_millis(4);

/// When bodies are looked at again that another replica was at.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The log is looked at now and then even if nobody knocks.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// When a store that failed is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);
