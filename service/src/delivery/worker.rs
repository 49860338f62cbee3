//! The worker that takes due messages, sends each once, and writes down what came of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use vestibule::clock::SharedClock;
use vestibule::entropy::SharedEntropy;

use super::{Departure, settle};
use crate::cloud_api::{self, CloudApi, Outcome};
use crate::store::{Queue, StoreError};

/// Sends what is due, so many at a time.
#[derive(Clone, Debug)]
pub struct Worker<S, C> {
    store: S,
    cloud: C,
    clock: SharedClock,
    entropy: SharedEntropy,
    wake: Arc<Notify>,
}

// === impl Worker ===

impl<S: Queue, C: CloudApi> Worker<S, C> {
    /// A worker that looks for due messages when it is woken, and when one falls due.
    pub fn new(
        store: S,
        cloud: C,
        clock: SharedClock,
        entropy: SharedEntropy,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            store,
            cloud,
            clock,
            entropy,
            wake,
        }
    }

    /// Runs until `stop`, and then until the attempts under way have ended.
    ///
    /// It begins with what a crash left behind: an attempt without an outcome may have
    /// reached Meta.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut sends = JoinSet::new();
        let mut has_recovered = false;
        loop {
            let pause = match self.turn(&mut sends, &mut has_recovered).await {
                Ok(pause) => pause,
                Err(cause) => {
                    error!(?cause, "the queue cannot be read");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = sends.join_next(), if !sends.is_empty() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        while sends.join_next().await.is_some() {}
    }

    /// Starts what is due and has room; returns how long nothing more will be due.
    async fn turn(
        &self,
        sends: &mut JoinSet<()>,
        has_recovered: &mut bool,
    ) -> Result<Duration, StoreError> {
        if !*has_recovered {
            let uncertain = self.store.recover().await?;
            *has_recovered = true;
            if uncertain > 0 {
                warn!(
                    uncertain,
                    "attempts were cut short; their outcome is being confirmed"
                );
            }
        }
        let room = SENDS_MAX - sends.len();
        if room == 0 {
            // The end of a send is what makes room.
            return Ok(IDLE_MAX);
        }
        let Some(due) = self.store.next_due().await? else {
            return Ok(IDLE_MAX);
        };
        let wait = due.since(self.clock.now());
        if !wait.is_zero() {
            return Ok(wait.min(IDLE_MAX));
        }
        for departure in self.store.take(room).await? {
            sends.spawn(self.clone().deliver(departure));
        }
        Ok(Duration::ZERO)
    }

    async fn deliver(self, departure: Departure) {
        let body = cloud_api::body(&departure.to, &departure.content, &departure.token);
        let reply = self.cloud.send(&departure.phone_number_id, body).await;
        let outcome = cloud_api::classify(&reply);
        let settlement = settle(&outcome, &departure, self.clock.now(), self.entropy.draw());
        info!(
            id = %departure.message,
            attempt = departure.attempt,
            outcome = settlement.outcome,
            code = settlement.code,
            state = settlement.state.as_str(),
            "an attempt has ended"
        );
        if let Outcome::Rejected {
            action: cloud_api::Action::Pause,
            code,
            ..
        } = outcome
        {
            warn!(code, number = %departure.phone_number_id, "Meta takes nothing until somebody acts");
        }
        // What is not written down is found by the next start, and then uncertain.
        for _ in 0..SETTLE_TRIES {
            match self.store.settle(&departure, &settlement).await {
                Ok(()) => return,
                Err(cause) => {
                    error!(?cause, id = %departure.message, "an outcome was not kept")
                }
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }
}

/// Enough to fill Meta's default of 80 messages a second at a usual answer time.
const SENDS_MAX: usize = 64;

/// Wall time may be set while the worker sleeps, so it never sleeps long.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// When a store that failed is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// A store that is away for longer has most likely taken the process with it.
const SETTLE_TRIES: u32 = 30;
