//! The life of the process: starting, ready, lagging, draining, over.
//!
//! On SIGTERM readiness goes off while connections are still taken, because load balancers
//! learn of it late (`lag`); meanwhile each answer ends its connection, so that clients go
//! elsewhere. Then the listeners close, idle connections end, and the process ends as soon
//! as no connection and no detached work is left, or after `max`. There is no fixed sleep.
//! SIGINT, or a second order to stop, ends it at once.
//!
//! Where another process has taken the listening sockets over, nothing is to be waited for
//! before they are closed here; `lag` is then the time in which a client hears with an
//! answer that its connection ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use vestibule::StoreKeyring;

use crate::config::Drain;
use crate::explain::Explainer;
use crate::gate::{Gate, Leave};
use crate::gauges::Gauges;
use crate::shown::Shown;
use crate::telemetry::Metrics;

/// Shared by whoever starts, serves or ends.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    stage: watch::Sender<Stage>,
    order: watch::Sender<Order>,
    edge: Gate,
    admin: Gate,
    /// Requests could be served once; an end may have begun since.
    served: AtomicBool,
    handed_over: AtomicBool,
    /// Another process has the sockets too, and is not ready.
    shared: AtomicBool,
    connections: Connections,
    work: OnceLock<Work>,
    shown: Shown,
    /// Those that commands may change, once the stack has been built.
    keys: OnceLock<StoreKeyring>,
    /// What tells why a request is refused, once the stack has been built.
    explainer: OnceLock<Explainer>,
    drain: Mutex<Drain>,
}

/// What the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Stores and keys are being read.
    Starting,
    /// Requests are served.
    Ready,
    /// Readiness is off; requests are still served.
    Lagging,
    /// No new connection is taken.
    Draining,
}

/// What the process is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    Run,
    /// Another process takes the connections from here on.
    HandOver,
    Drain,
    Halt,
}

/// Detached work that must end before the process does.
struct Work(Box<dyn Fn(Duration) -> Waiting + Send + Sync>);

type Waiting = Pin<Box<dyn Future<Output = usize> + Send>>;

/// The connections that are open.
#[derive(Debug, Default)]
struct Connections {
    open: AtomicUsize,
    closed: Notify,
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Open(Arc<Lifecycle>);

// === impl Lifecycle ===

impl Lifecycle {
    pub(crate) fn new(drain: Drain) -> Arc<Self> {
        Arc::new(Self {
            stage: watch::Sender::new(Stage::Starting),
            order: watch::Sender::new(Order::Run),
            edge: Gate::new(),
            admin: Gate::new(),
            served: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            connections: Connections::default(),
            work: OnceLock::new(),
            shown: Shown::new(),
            keys: OnceLock::new(),
            explainer: OnceLock::new(),
            drain: Mutex::new(drain),
        })
    }

    /// What the process does now.
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// What the process tells of itself.
    pub(crate) const fn shown(&self) -> &Shown {
        &self.shown
    }

    /// What the process shows beside its stage.
    pub(crate) fn gauges(&self) -> &Gauges {
        self.shown.gauges()
    }

    /// What the process counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        self.shown.metrics()
    }

    /// The key records that commands may change.
    pub(crate) fn keys(&self) -> Option<&StoreKeyring> {
        self.keys.get()
    }

    /// These are the key records that commands may change.
    pub(crate) fn manage(&self, keys: StoreKeyring) {
        // A stack is built once.
        let _ = self.keys.set(keys);
    }

    /// What tells why a request is refused.
    pub(crate) fn explainer(&self) -> Option<&Explainer> {
        self.explainer.get()
    }

    /// This tells it.
    pub(crate) fn explain_by(&self, explainer: Explainer) {
        // A process has one, which goes by its newest stack.
        let _ = self.explainer.set(explainer);
    }

    /// The end is to come like this.
    pub(crate) fn drain_as(&self, drain: Drain) {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner) = drain;
    }

    fn drain(&self) -> Drain {
        *self.drain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests can be served from here on.
    pub(crate) fn ready(&self) {
        self.stage.send_if_modified(|stage| {
            let starting = *stage == Stage::Starting;
            if starting {
                self.served.store(true, Ordering::Release);
                *stage = Stage::Ready;
            }
            starting
        });
    }

    /// Waits until requests can be served, or never will be.
    pub(crate) async fn started(&self) {
        let mut stage = self.stage.subscribe();
        let mut order = self.order.subscribe();
        tokio::select! {
            _ = stage.wait_for(|stage| *stage != Stage::Starting) => {}
            _ = order.wait_for(|order| *order == Order::Halt) => {}
        }
    }

    /// Whether it came to be ready, whatever has become of it since.
    pub(crate) fn has_served(&self) -> bool {
        self.served.load(Ordering::Acquire)
    }

    /// Names the detached work that is waited for in the end.
    pub(crate) fn wait_for<F>(&self, work: impl Fn(Duration) -> F + Send + Sync + 'static)
    where
        F: Future<Output = usize> + Send + 'static,
    {
        let work = Work(Box::new(move |within| Box::pin(work(within))));
        // Only the one edge has work, and it is built once.
        let _ = self.work.set(work);
    }

    /// Orders the end. An order is never taken back.
    pub(crate) fn tell(&self, order: Order) {
        if order == Order::HandOver {
            self.handed_over.store(true, Ordering::Release);
        }
        self.order.send_if_modified(|told| {
            let stronger = order > *told;
            *told = order.max(*told);
            stronger
        });
    }

    /// Whether another process listens where this one did.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
    }

    /// Says whether another process has the sockets too.
    pub(crate) fn share(&self, shared: bool) {
        self.shared.store(shared, Ordering::Release);
    }

    /// Whether another process listens where this one did, or is about to.
    pub(crate) fn has_heir(&self) -> bool {
        self.is_handed_over() || self.shared.load(Ordering::Acquire)
    }

    /// The way out for clients.
    pub(crate) const fn edge(&self) -> &Gate {
        &self.edge
    }

    /// The way out for whoever asks for health; it stays open while the process drains.
    pub(crate) const fn admin(&self) -> &Gate {
        &self.admin
    }

    /// Takes a place among at most so many connections.
    pub(crate) fn open(self: &Arc<Self>, most: usize) -> Option<Open> {
        let taken = self.connections.open.fetch_add(1, Ordering::AcqRel);
        let open = Open(Arc::clone(self));
        (taken < most).then_some(open)
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.open.load(Ordering::Acquire)
    }

    /// Waits for the end: runs until told to stop, then drains.
    pub(crate) async fn run(&self, on_signals: bool) {
        let mut order = self.order.subscribe();
        let told = async {
            let _ = order.wait_for(|order| *order != Order::Run).await;
        };
        tokio::select! {
            () = told => {}
            () = self.obey_signals(), if on_signals => {}
        }
        let mut order = self.order.subscribe();
        let halted = async {
            let _ = order.wait_for(|order| *order == Order::Halt).await;
        };
        tokio::select! {
            biased;
            () = halted => {}
            () = self.end() => {}
            () = self.obey_signals_until_halted(), if on_signals => {}
        }
    }

    async fn end(&self) {
        let began = Instant::now();
        if self.is_handed_over() {
            self.leave_to_heir().await;
        } else {
            self.lag().await;
        }
        let deadline = Instant::now() + self.drain().max;
        let _ = tokio::time::timeout_at(deadline, self.connections.gone()).await;
        let within = deadline.saturating_duration_since(Instant::now());
        let work = match self.work.get() {
            Some(work) => (work.0)(within).await,
            None => 0,
        };
        let connections = self.connections();
        tracing::info!(connections, work, took = ?began.elapsed(), "drained");
    }

    async fn lag(&self) {
        self.stage.send_replace(Stage::Lagging);
        tracing::info!(lag = ?self.drain().lag, "draining: readiness is off");
        self.edge.tell(Leave::AfterAnswer);
        tokio::time::sleep(self.drain().lag).await;
        self.stage.send_replace(Stage::Draining);
        self.edge.close();
        self.edge.tell(Leave::Now);
        tokio::time::sleep(SETTLED).await;
    }

    /// Readiness stays on: who asks here asks whether anybody serves at this address.
    async fn leave_to_heir(&self) {
        tracing::info!("draining: another process has taken over");
        for gate in [&self.edge, &self.admin] {
            gate.close();
            gate.tell(Leave::AfterAnswer);
        }
        tokio::time::sleep(SETTLED).await;
        let _ = timeout(self.drain().lag, self.connections.gone()).await;
        self.edge.tell(Leave::Now);
    }

    /// Ends with the first order that a signal gives.
    async fn obey_signals(&self) {
        let order = next_signal().await;
        self.tell(order);
    }

    async fn obey_signals_until_halted(&self) {
        loop {
            if next_signal().await == Order::Halt {
                return;
            }
        }
    }
}

// === impl Connections ===

impl Connections {
    async fn gone(&self) {
        loop {
            let closed = self.closed.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            // A connection may close between the look and the wait; it is then seen late.
            let _ = timeout(LOOK_AGAIN, closed).await;
        }
    }
}

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        let connections = &self.0.connections;
        if connections.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            connections.closed.notify_waiters();
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Work")
    }
}

/// SIGTERM drains, SIGINT halts. SIGQUIT, by which other programs hand over, would by itself
/// end the process in the midst of its requests.
async fn next_signal() -> Order {
    let terminate = signal(SignalKind::terminate());
    let interrupt = signal(SignalKind::interrupt());
    let quit = signal(SignalKind::quit());
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut quit)) = (terminate, interrupt, quit) else {
        tracing::error!("signals cannot be listened for; the process must be killed");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return Order::Drain,
            _ = interrupt.recv() => return Order::Halt,
            _ = quit.recv() => {
                tracing::warn!("SIGQUIT does nothing: a process with --upgrade takes over by itself");
            }
        }
    }
}

/// A connection that was taken just before the listener closed is counted a moment later.
const SETTLED: Duration = Duration::from_millis(200);

/// How late a lost notification is made up for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_idle_process_ends_right_after_the_lag() {
        let life = Lifecycle::new(DRAIN);
        life.ready();
        life.tell(Order::Drain);
        assert_eq!(ended_after(&life).await, DRAIN.lag + SETTLED);
        assert_eq!(life.stage(), Stage::Draining);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_taken_during_the_lag_and_waited_for_after_it() {
        let life = Lifecycle::new(DRAIN);
        life.ready();
        let (closed, leave) = (life.edge().closed(), life.edge().leave());
        life.tell(Order::Drain);
        let connection = life.open(1).unwrap();
        let client = tokio::spawn({
            let life = Arc::clone(&life);
            async move {
                tokio::time::sleep(Duration::from_secs(4)).await;
                assert_eq!((life.stage(), *closed.borrow()), (Stage::Lagging, false));
                assert_eq!(*leave.borrow(), Leave::AfterAnswer);
                tokio::time::sleep(Duration::from_secs(6)).await;
                assert_eq!((life.stage(), *closed.borrow()), (Stage::Draining, true));
                assert_eq!(*leave.borrow(), Leave::Now);
                drop(connection);
            }
        });
        assert_eq!(ended_after(&life).await, Duration::from_secs(10));
        client.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_left_behind() {
        let life = Lifecycle::new(DRAIN);
        let _connection = life.open(1).unwrap();
        life.tell(Order::Drain);
        assert_eq!(ended_after(&life).await, DRAIN.lag + SETTLED + DRAIN.max);
    }

    #[tokio::test(start_paused = true)]
    async fn an_heir_is_left_the_listeners_at_once_and_clients_have_the_lag_to_hear_of_it() {
        let life = Lifecycle::new(DRAIN);
        life.ready();
        let leave = life.edge().leave();
        let connection = life.open(1).unwrap();
        let client = tokio::spawn({
            let life = Arc::clone(&life);
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let closed = [life.edge().closed(), life.admin().closed()];
                assert!(closed.iter().all(|closed| *closed.borrow()));
                assert_eq!(*leave.borrow(), Leave::AfterAnswer);
                tokio::time::sleep(DRAIN.lag).await;
                assert_eq!(*leave.borrow(), Leave::Now);
                drop(connection);
            }
        });
        life.tell(Order::HandOver);
        let took = ended_after(&life).await;
        assert_eq!(took, Duration::from_secs(1) + DRAIN.lag);
        assert!(life.is_handed_over());
        client.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn detached_work_is_waited_for() {
        let life = Lifecycle::new(DRAIN);
        life.wait_for(|within| async move {
            tokio::time::sleep(Duration::from_secs(7).min(within)).await;
            0
        });
        life.tell(Order::Drain);
        let took = DRAIN.lag + SETTLED + Duration::from_secs(7);
        assert_eq!(ended_after(&life).await, took);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stronger_order_ends_the_drain_at_once() {
        let life = Lifecycle::new(DRAIN);
        let _connection = life.open(1).unwrap();
        life.tell(Order::Drain);
        let halt = {
            let life = Arc::clone(&life);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                life.tell(Order::Halt);
                life.tell(Order::Drain);
            })
        };
        assert_eq!(ended_after(&life).await, Duration::from_secs(1));
        halt.await.unwrap();
    }

    #[tokio::test]
    async fn no_more_connections_are_taken_than_there_is_room_for() {
        let life = Lifecycle::new(DRAIN);
        let held = life.open(1);
        assert!(held.is_some() && life.open(1).is_none());
        assert_eq!(life.connections(), 1, "the refused one is not counted");
        drop(held);
        assert!(life.open(1).is_some());
    }

    async fn ended_after(life: &Lifecycle) -> Duration {
        let began = Instant::now();
        life.run(false).await;
        began.elapsed()
    }

    const DRAIN: Drain = Drain {
        lag: Duration::from_secs(5),
        max: Duration::from_secs(30),
    };
}
