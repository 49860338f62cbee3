//! The worker that takes due messages, sends each once, and writes down what came of it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::{Instrument as _, error, info, info_span, warn};
use vestibule::clock::{SharedClock, Timestamp};
use vestibule::entropy::SharedEntropy;

use super::{Departure, Ended, Settlement, settle};
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

/// When the queue is looked at again.
enum Look {
    /// When half of those who may send at a time have ended: more is due than had room.
    WhenHalfIsFree,
    /// When somebody knocks, but not before the first of these times is over, or when the
    /// second one is.
    Between(Duration, Duration),
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
        let (ended, outcomes) = mpsc::channel(SENDS_MAX);
        let worker = Arc::new(self);
        tokio::join!(worker.send(ended, stop), worker.settle(outcomes));
    }

    /// Starts what is due, until `stop`.
    async fn send(self: &Arc<Self>, ended: mpsc::Sender<Ended>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut sends = JoinSet::new();
        loop {
            let next = match self.turn(&mut sends, &ended).await {
                Ok(next) => next,
                Err(cause) => {
                    error!(?cause, "the queue cannot be read");
                    Look::Between(STORE_PAUSE, STORE_PAUSE)
                }
            };
            let looks_again = async {
                match next {
                    // Where one ends, others do: those who follow are taken together.
                    Look::WhenHalfIsFree => {
                        while sends.len() > SENDS_MAX / 2 {
                            sends.join_next().await;
                        }
                    }
                    Look::Between(least, most) => {
                        tokio::time::sleep(least).await;
                        tokio::select! {
                            () = self.wake.notified() => {}
                            () = tokio::time::sleep(most.saturating_sub(least)) => {}
                        }
                    }
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = looks_again => {}
            }
        }
        while sends.join_next().await.is_some() {}
    }

    /// Starts what is due and has room; returns when more can be.
    async fn turn(
        self: &Arc<Self>,
        sends: &mut JoinSet<()>,
        ended: &mpsc::Sender<Ended>,
    ) -> Result<Look, StoreError> {
        while sends.try_join_next().is_some() {}
        let room = SENDS_MAX - sends.len();
        if room == 0 {
            return Ok(Look::WhenHalfIsFree);
        }
        let departures = self.store.take(room).await?;
        let taken = departures.len();
        for departure in departures {
            // Found by whoever looks for the request that caused it.
            let span = info_span!(
                "deliver",
                message = %departure.message,
                attempt = departure.attempt,
                correlation_id = &*departure.correlation_id,
                traceparent = departure.traceparent.as_deref(),
            );
            let delivery = Arc::clone(self).deliver(departure, ended.clone());
            sends.spawn(delivery.instrument(span));
        }
        if taken == room {
            return Ok(Look::WhenHalfIsFree);
        }
        let due = self.store.next_due().await?;
        let wait = due.map_or(IDLE_MAX, |due| due.since(self.clock.now()));
        let wait = match wait {
            // Due, and left behind: another replica is at it, or each had to wait its turn.
            Duration::ZERO if taken == 0 => BUSY_PAUSE,
            wait => wait.min(IDLE_MAX),
        };
        let least = match taken {
            0 => wait.min(LULL),
            _ => Duration::ZERO,
        };
        Ok(Look::Between(least, wait))
    }

    async fn deliver(self: Arc<Self>, departure: Departure, ended: mpsc::Sender<Ended>) {
        let number = &departure.line.phone_number_id;
        let body = cloud_api::body(&departure.to, &departure.content, &departure.token);
        let began = self.clock.elapsed();
        let reply = self.cloud.send(number, body).await;
        let took = self.clock.elapsed().saturating_sub(began);
        let outcome = cloud_api::classify(&reply);
        let settlement = settle(&outcome, &departure, self.clock.now(), self.entropy.draw());
        self.metrics.attempted(&settlement, took);
        tell(&departure, &settlement);
        let one = Ended {
            departure,
            settlement,
        };
        // Whoever settles does so for as long as somebody may send.
        let _ = ended.send(one).await;
    }

    /// Writes down what came of attempts, together what has ended together, until nobody
    /// sends any more.
    async fn settle(&self, mut outcomes: mpsc::Receiver<Ended>) {
        let mut batch = Vec::with_capacity(SENDS_MAX);
        while outcomes.recv_many(&mut batch, SENDS_MAX).await > 0 {
            let ended: Arc<[Ended]> = batch.drain(..).collect();
            if self.settle_all(&ended).await.is_ok() {
                continue;
            }
            // One of them may be what cannot be kept; each is tried by itself.
            for one in ended.iter() {
                self.settle_until_kept(one).await;
            }
        }
    }

    /// What is not written down is found when the lease is over, and then uncertain.
    async fn settle_until_kept(&self, one: &Ended) {
        let ended: Arc<[Ended]> = Arc::new([one.clone()]);
        for _ in 0..SETTLE_TRIES {
            if self.settle_all(&ended).await.is_ok() {
                return;
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    async fn settle_all(&self, ended: &Arc<[Ended]>) -> Result<(), StoreError> {
        let settled = self.store.settle(Arc::clone(ended)).await;
        let settled = settled.inspect_err(|cause| error!(?cause, "outcomes were not kept"))?;
        let mut may_send = false;
        for (one, settled) in ended.iter().zip(&settled) {
            self.metrics.settled(settled);
            match one.settlement.next {
                Next::Submitted => {
                    self.metrics
                        .submitted(age(&one.departure, self.clock.now()));
                }
                // It may be due again, or make way for another.
                _ => may_send = true,
            }
            if settled.lifted > 0 {
                info!("what was held may be sent again");
                may_send = true;
            }
        }
        if may_send {
            self.wake.notify_one();
        }
        Ok(())
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

/// Half of it fills the thousand messages a second that Meta takes of a number at most, where
/// an answer takes a quarter of a second.
const SENDS_MAX: usize = 512;

/// Wall time may be set while the worker sleeps, so it never sleeps long.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Where nothing could leave, those who knock meanwhile are looked at together: a number that
/// has to wait is not asked again for every message that joins its queue.
const LULL: Duration = Duration::from_millis(5);

/// When a number is looked at again that another replica was taking for.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// When a store that failed is tried again.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// A store that is away for longer has most likely taken the process with it.
const SETTLE_TRIES: u32 = 30;
