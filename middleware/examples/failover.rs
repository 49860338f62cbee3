//! What a failover loses: claims that were acknowledged, and of those the forgotten.
//!
//! ```sh
//! cargo run --release -p vestibule --features redis,test-util --example failover
//! ```
//!
//! Each line is a run of its own. A master and its replica are started, and replicate
//! through a proxy. Sixteen callers claim one key after the other at the master. After
//! half a second the proxy swallows what either of the two sends, as a cut network does,
//! while the callers still reach the master. A second later the replica is promoted, and
//! two seconds after that the old master is told to follow it, which discards what it
//! alone has. Then every claim that was acknowledged is made again at the new master, by
//! another request: one that may be executed has been forgotten.

#![expect(
    clippy::print_stdout,
    reason = "a measurement reports to whoever runs it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use vestibule::idempotency::{Attempt, Decision, IdempotencyKey, Owner, Records};
use vestibule::redis::Store;
use vestibule::route::UpstreamKind;
use vestibule::testing::server::{FaultProxy, RedisServer, Sickness, wait_until};
use vestibule::{Caller, CorrelationId, Fingerprint};

/// A key that was claimed, and since the start of the run when that was answered.
struct Acknowledged {
    caller: usize,
    number: u128,
    after: Duration,
}

#[tokio::main]
async fn main() {
    println!(
        "{:<32} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "", "per second", "acknowledged", "in the cut", "refused", "forgotten"
    );
    let bounded = [
        "--min-replicas-to-write",
        "1",
        "--min-replicas-max-lag",
        "1",
    ];
    run("as Redis is", &[], "").await;
    run("min-replicas-to-write 1", &bounded, "").await;
    run("confirmed_by(1, 100 ms)", &[], "/?replicas=1&within=100ms").await;
}

async fn run(name: &str, arguments: &[&str], options: &str) {
    let master = RedisServer::start(arguments);
    let proxy = FaultProxy::start(master.socket()).await;
    let port = proxy.address().port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    // Asked in the background: the proxy runs here.
    let replica = tokio::task::spawn_blocking(move || {
        let is_in_step = || {
            replica
                .cli(&["INFO", "replication"])
                .contains("link_status:up")
        };
        wait_until("the replica is in step", is_in_step);
        replica
    });
    let replica = replica.await.expect("it is in step");
    let store = open(&format!("{}{options}", master.address())).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(claim(store.clone(), caller, started, Arc::clone(&is_over)));
    }
    sleep(IN_STEP).await;
    let cut = started.elapsed();
    proxy.set(Sickness::Swallows);
    sleep(CUT_OFF).await;
    replica.cli(&["REPLICAOF", "NO", "ONE"]);
    sleep(TWO_MASTERS).await;
    is_over.store(true, Ordering::Release);
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for (claims, failed) in callers.join_all().await {
        acknowledged.extend(claims);
        refused += failed;
    }
    let port = replica.port().to_string();
    master.cli(&["REPLICAOF", "127.0.0.1", &port]);
    let late = acknowledged
        .iter()
        .filter(|claim| claim.after > cut)
        .count();
    let early = acknowledged.len() - late;
    let forgotten = forgotten(&open(&replica.address()).await, &acknowledged).await;
    println!(
        "{name:<32} {:>12.0} {:>12} {late:>12} {refused:>12} {forgotten:>12}",
        f64::from(u32::try_from(early).expect("they are few")) / cut.as_secs_f64(),
        acknowledged.len(),
    );
}

/// Claims one key after the other.
async fn claim(
    store: Store,
    caller: usize,
    started: Instant,
    is_over: Arc<AtomicBool>,
) -> (Vec<Acknowledged>, usize) {
    let (mut claims, mut refused) = (Vec::new(), 0);
    for number in 0.. {
        if is_over.load(Ordering::Acquire) {
            break;
        }
        let attempt = attempt(caller, number, 1);
        let answer = tokio::time::timeout(DEADLINE, store.claim(&attempt)).await;
        if matches!(answer, Ok(Ok(Decision::Execute { .. }))) {
            let after = started.elapsed();
            claims.push(Acknowledged {
                caller,
                number,
                after,
            });
        } else {
            refused += 1;
            // A client that is refused comes back later.
            sleep(Duration::from_millis(10)).await;
        }
    }
    (claims, refused)
}

async fn forgotten(store: &Store, acknowledged: &[Acknowledged]) -> usize {
    let mut forgotten = 0;
    for claim in acknowledged {
        let again = store.claim(&attempt(claim.caller, claim.number, 2)).await;
        let again = again.expect("the new master answers");
        forgotten += usize::from(matches!(again, Decision::Execute { .. }));
    }
    forgotten
}

async fn open(address: &str) -> Store {
    let store = Store::open(address).await.expect("the server is there");
    store.records_per_caller(usize::MAX)
}

fn attempt(caller: usize, number: u128, token: u128) -> Attempt {
    let key = number.to_string();
    let id = HeaderValue::from_static("failover");
    Attempt {
        owner: Owner {
            caller: Caller::new("live", &caller.to_string()),
            key: IdempotencyKey::parse(key.as_bytes()).expect("a number is a key"),
            token,
        },
        fingerprint: Fingerprint::from_bytes([0; 32]),
        correlation_id: CorrelationId::parse(&id).expect("it is an id"),
        lease: Duration::from_secs(600),
        retention: Duration::from_secs(600),
        upstream: UpstreamKind::Executes,
    }
}

const CALLERS: usize = 16;

const IN_STEP: Duration = Duration::from_millis(500);

/// Until whoever watches the master takes it for dead.
const CUT_OFF: Duration = Duration::from_secs(1);

/// Until the old master hears that it is none any more.
const TWO_MASTERS: Duration = Duration::from_secs(2);

/// What a claim has (contract §7).
const DEADLINE: Duration = Duration::from_millis(200);
