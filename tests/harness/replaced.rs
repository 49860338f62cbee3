//! Sidecars that are replaced under load: by one that takes their sockets over, or by one
//! beside them.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

use tokio::sync::watch;
use vestibule::testing::server::RedisServer;

use crate::draft::Draft;
use crate::load::{Load, Speaks, Tally};
use crate::pod::{Edge, Pod};
use crate::wire::{Answer, Wire};

/// What came of it.
#[derive(Debug)]
pub struct Replaced {
    /// What became of the requests.
    pub tally: Tally,
    /// How many processes were replaced.
    pub processes: usize,
    /// How often readiness was asked for, and how often it was off.
    pub probes: (usize, usize),
    /// How many requests were executed more than once.
    pub twice: usize,
}

/// How processes are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// An heir with `--upgrade`, on the same sockets.
    HandOver,
    /// A second process on other ports: SIGTERM to the first, and new connections go to the
    /// second as soon as the first is no longer ready.
    Drain,
}

// === impl Replaced ===

impl Replaced {
    /// Replaces this many processes in the midst of so many requests.
    ///
    /// # Panics
    ///
    /// Where a process does not start, or does not end well.
    pub async fn under_load(by: By, processes: usize, requests: usize) -> Self {
        let redis = RedisServer::start(&[]);
        let sock = match by {
            By::HandOver => "upgrade_sock = \"upgrade.sock\"",
            By::Drain => "",
        };
        let pod = Pod::new(&format!("store = \"{}\"\n{sock}", redis.address())).await;
        pod.lags("1s");
        let mut edge = pod.start().await;
        let (target, address) = watch::channel(edge.address);
        let load = Load::start(address, &CLIENTS);
        let share = requests / (processes + 1);
        let mut probes = (0, 0);
        for _ in 0..processes {
            load.answers(share).await;
            edge = match by {
                By::HandOver => hand_over(&pod, edge, &mut probes).await,
                By::Drain => drain(&pod, edge, &target).await,
            };
        }
        load.answers(share).await;
        let tally = load.end().await;
        let mut executions: HashMap<_, usize> = HashMap::new();
        for received in pod.origin.received() {
            *executions.entry(received.body).or_default() += 1;
        }
        Self {
            tally,
            processes,
            probes,
            twice: executions.values().filter(|times| **times > 1).count(),
        }
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            answered, failed, ..
        } = &self.tally;
        write!(
            f,
            "{} processes replaced, {} of {} requests failed, {} executed twice, {} deferred, \
             {} connections, {} answers that ended theirs",
            self.processes,
            failed.len(),
            answered + failed.len(),
            self.twice,
            self.tally.deferred,
            self.tally.connections,
            self.tally.farewells,
        )
    }
}

async fn hand_over(pod: &Pod, edge: Edge, (asked, off): &mut (usize, usize)) -> Edge {
    let admin = edge.admin();
    let heir = pod.upgrade().await;
    assert_eq!((heir.address, heir.admin()), (edge.address, admin));
    // Both are there for a while, and either may be asked.
    let ended = edge.ended();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            status = &mut ended => {
                assert!(status.success(), "{status}");
                return heir;
            }
            status = readiness(admin) => {
                *asked += 1;
                *off += usize::from(status != Some(200));
            }
        }
    }
}

async fn drain(pod: &Pod, edge: Edge, target: &watch::Sender<SocketAddr>) -> Edge {
    let other = pod.start().await;
    edge.signal("TERM");
    let admin = edge.admin();
    while readiness(admin).await == Some(200) {}
    target.send_replace(other.address);
    let status = edge.ended().await;
    assert!(status.success(), "{status}");
    other
}

async fn readiness(admin: SocketAddr) -> Option<u16> {
    let mut wire = Wire::connect(admin).await;
    wire.send(&Draft::get("/readyz").to_bytes()).await;
    match wire.answer(false).await {
        Answer::Reply(reply) => Some(reply.status),
        Answer::Closed | Answer::Silence => None,
    }
}

/// All kinds at once.
const CLIENTS: [(Speaks, usize); 3] = [(Speaks::Kept, 8), (Speaks::Fresh, 4), (Speaks::Streams, 2)];
