//! The worker that looks at the time: attempts of those who are gone, attempts that nobody
//! confirmed, messages that nobody got.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::intake::tell;
use crate::metrics::Metrics;
use crate::store::{Operator, StoreError, Upkeep};

/// Looks every second or so.
#[derive(Debug)]
pub struct Reconcile<S> {
    store: S,
    queued: Arc<Notify>,
    metrics: Metrics,
}

// === impl Reconcile ===

impl<S: Upkeep + Operator> Reconcile<S> {
    /// A worker that tells `queued` when messages wait again.
    pub fn new(store: S, queued: Arc<Notify>, metrics: Metrics) -> Self {
        Self {
            store,
            queued,
            metrics,
        }
    }

    /// Runs until `stop`. The first look finds what a crash left behind.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            if let Err(cause) = self.turn().await {
                error!(?cause, "nothing could be given up");
            }
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn turn(&self) -> Result<(), StoreError> {
        let uncertain = self.store.recover().await?;
        if uncertain > 0 {
            warn!(
                uncertain,
                "attempts were cut short; their outcome is being confirmed"
            );
        }
        let reconciled = self.store.reconcile().await?;
        self.metrics.reconciled(&reconciled);
        tell(&reconciled.changes);
        if reconciled.given_up > 0 {
            info!(
                given_up = reconciled.given_up,
                "nobody confirmed these attempts in time"
            );
            self.queued.notify_one();
        }
        self.metrics.held(&self.store.holds().await?);
        Ok(())
    }
}

/// As finely as any deadline here is meant.
const EVERY: Duration = Duration::from_secs(1);
