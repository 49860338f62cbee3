//! The worker that takes due messages, sends each once, and writes down what came of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{Instrument as _, error, info, info_span, warn};
use vestibule::clock::{SharedClock, Timestamp};
use vestibule::entropy::SharedEntropy;

use super::{Departure, Settlement, settle};
use crate::cloud_api::{self, CloudApi};
use crate::message::Next;
use crate::metrics::Metrics;
use crate::store::{Queue, StoreError};

/// Sends what is due, so many at a time.
#[derive(Clone, Debug)]
pub struct Worker<S, C> {
    store: S,
    cloud: C,
    clock: SharedClock,
    entropy: SharedEntropy,
    wake: Arc<Notify>,
    metrics: Metrics,
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
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            cloud,
            clock,
            entropy,
            wake,
            metrics,
        }
    }

    /// Runs until `stop`, and then until the attempts under way have ended.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut sends = JoinSet::new();
        loop {
            let pause = match self.turn(&mut sends).await {
                Ok(pause) => pause,
                Err(cause) => {
                    error!(?cause, "the queue cannot be read");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = sends.join_next(), if !sends.is_empty() => {
                    // Where one ends, others do: those who follow are taken together.
                    tokio::time::sleep(GATHER).await;
                }
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        while sends.join_next().await.is_some() {}
    }

    /// Starts what is due and has room; returns how long nothing more will be due.
    async fn turn(&self, sends: &mut JoinSet<()>) -> Result<Duration, StoreError> {
        while sends.try_join_next().is_some() {}
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
        let departures = self.store.take(room).await?;
        // Due, and nobody left: another replica is at it, or each had to wait its turn.
        let pause = match departures.is_empty() {
            true => BUSY_PAUSE,
            false => Duration::ZERO,
        };
        for departure in departures {
            // Found by whoever looks for the request that caused it.
            let span = info_span!(
                "deliver",
                message = %departure.message,
                attempt = departure.attempt,
                correlation_id = &*departure.correlation_id,
                traceparent = departure.traceparent.as_deref(),
            );
            sends.spawn(self.clone().deliver(departure).instrument(span));
        }
        Ok(pause)
    }

    async fn deliver(self, departure: Departure) {
        let number = &departure.line.phone_number_id;
        let body = cloud_api::body(&departure.to, &departure.content, &departure.token);
        let began = self.clock.elapsed();
        let reply = self.cloud.send(number, body).await;
        let took = self.clock.elapsed().saturating_sub(began);
        let outcome = cloud_api::classify(&reply);
        let settlement = settle(&outcome, &departure, self.clock.now(), self.entropy.draw());
        self.metrics.attempted(&settlement, took);
        tell(&departure, &settlement);
        // What is not written down is found when the lease is over, and then uncertain.
        for _ in 0..SETTLE_TRIES {
            match self.store.settle(&departure, &settlement).await {
                Ok(settled) => {
                    self.metrics.settled(&settled);
                    if settlement.next == Next::Submitted {
                        self.metrics.submitted(age(&departure, self.clock.now()));
                    }
                    if settled.lifted > 0 {
                        info!("what was held may be sent again");
                        self.wake.notify_one();
                    }
                    return;
                }
                Err(cause) => error!(?cause, "an outcome was not kept"),
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }
}

/// How long ago a message was accepted: its id tells.
fn age(departure: &Departure, now: Timestamp) -> Duration {
    let minted = departure.message.as_uuid().get_timestamp();
    let (seconds, nanos) = minted.map_or((0, 0), |minted| minted.to_unix());
    let millis = seconds * 1000 + u64::from(nanos / 1_000_000);
    now.since(Timestamp::from_unix_millis(millis))
}

fn tell(departure: &Departure, settlement: &Settlement) {
    let refusal = settlement.refusal.as_ref();
    info!(
        outcome = settlement.outcome,
        code = refusal.map(|refusal| refusal.code),
        fbtrace_id = refusal.and_then(|refusal| refusal.fbtrace_id.as_deref()),
        next = settlement.next.as_str(),
        "an attempt has ended"
    );
    if let Some(strike) = &settlement.strike {
        warn!(
            scope = &*strike.scope,
            code = strike.code,
            number = &*departure.line.phone_number_id,
            "Meta takes nothing of this scope for now"
        );
    }
}

/// Enough to fill Meta's default of 80 messages a second at a usual answer time.
const SENDS_MAX: usize = 64;

/// Less than Meta takes to answer, and long enough to share a transaction.
const GATHER: Duration = Duration::from_millis(1);

/// Wall time may be set while the worker sleeps, so it never sleeps long.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// When a number is looked at again that another replica was taking for.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// When a store that failed is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// A store that is away for longer has most likely taken the process with it.
const SETTLE_TRIES: u32 = 30;
