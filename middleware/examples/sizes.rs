//! What the layers hold: bytes for each caller, record and key, in memory and on disk.
//!
//! ```sh
//! cargo run --release -p vestibule --features embedded --example sizes
//! ```
//!
//! The stores are filled through the traits that the layers fill them by, and what the
//! allocator has handed out meanwhile is divided by the number of entries. The response that
//! is kept has a body of 300 bytes and a Content-Type. A table grows by doubling, so an entry
//! takes up to twice its share just after it has grown: the numbers are those of these counts.

#![expect(
    clippy::print_stdout,
    reason = "a measurement reports to whoever runs it"
)]

use std::alloc::System;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use vestibule::api_key::{ApiKey, KeyRecord, Keys, Peppers};
use vestibule::clock::{SystemClock, Timestamp};
use vestibule::entropy::{Entropy as _, SystemEntropy};
use vestibule::idempotency::{Attempt, IdempotencyKey, KeptResponse, Outcome, Owner, Records};
use vestibule::rate_limit::{Counters, Quota};
use vestibule::route::UpstreamKind;
use vestibule::{Caller, CorrelationId, Fingerprint, embedded, memory};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[tokio::main]
async fn main() {
    println!("{:<52}{:>10}{:>12}", "what", "how many", "bytes each");
    counters().await;
    keys();
    for body in [0, BODY] {
        in_memory(body).await;
    }
    in_a_file().await;
}

async fn counters() {
    let store = memory::Store::new(SystemClock::shared());
    let held = Region::new(ALLOCATOR);
    for number in 0..CALLERS {
        let charged = store.hit(&caller(number), &Quota::per_minute(60)).await;
        charged.expect("that many callers have room");
    }
    tell("a caller's counter, in memory", CALLERS, net(&held));
}

fn keys() {
    let held = Region::new(ALLOCATOR);
    let records = (0..KEYS).map(|number| {
        let key = ApiKey::mint("mk", "live", &SystemEntropy);
        KeyRecord::of(&key, &Peppers::none(), format!("key_{number}"), "acc_1")
            .scopes(["charges:write"])
            .build()
    });
    let keys = Keys::new(records).expect("no id is given twice");
    tell("a key of a key file, in memory", KEYS, net(&held));
    drop(keys);
}

async fn in_memory(body: usize) {
    let store = memory::Store::new(SystemClock::shared()).records(RECORDS);
    let held = Region::new(ALLOCATOR);
    keep(&store, RECORDS, body).await;
    let what = format!("a kept record with a body of {body} bytes, in memory");
    tell(&what, RECORDS, net(&held));
}

async fn in_a_file() {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join("store.redb");
    let store = embedded::Store::open(&path, SystemClock::shared()).expect("the folder is new");
    let size = || std::fs::metadata(&path).map_or(0, |file| file.len());
    let empty = size();
    let held = Region::new(ALLOCATOR);
    keep(&store, IN_FILE, BODY).await;
    let held = net(&held);
    let what = format!("a kept record with a body of {BODY} bytes, in a file");
    let on_disk = usize::try_from(size() - empty).expect("a file of these few");
    tell(&what, IN_FILE, on_disk);
    tell("the same, of memory beside the file", IN_FILE, held);
}

/// Claims and ends so many records, ten of each caller.
async fn keep(store: &impl Records, count: usize, body: usize) {
    let steps = stream::iter(0..count).map(|number| async move {
        let attempt = attempt(number);
        let claimed = store.claim(&attempt).await;
        claimed.expect("that many records have room");
        let response = KeptResponse {
            status: StatusCode::CREATED,
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body: Bytes::from(vec![b'x'; body]),
            original: attempt.correlation_id.clone(),
        };
        let outcome = Outcome::Done(Arc::new(response));
        let ended = store.finish(&attempt.owner, &outcome, RETENTION).await;
        assert!(ended.expect("the store answers"), "the claim is ours");
    });
    steps.buffer_unordered(AT_ONCE).collect::<()>().await;
}

fn attempt(number: usize) -> Attempt {
    let key = format!("order-{number:032}");
    Attempt {
        owner: Owner {
            caller: caller(number / 10),
            key: IdempotencyKey::parse(key.as_bytes()).expect("it is printable"),
            token: number as u128,
        },
        fingerprint: Fingerprint::from_bytes([7; 32]),
        correlation_id: CorrelationId::mint(Timestamp::EPOCH, SystemEntropy.draw()),
        lease: Duration::from_secs(10),
        retention: RETENTION,
        upstream: UpstreamKind::Executes,
    }
}

fn caller(number: usize) -> Caller {
    Caller::new("live", &format!("fam_{number:026}"))
}

/// What was handed out since, and not given back.
fn net(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

fn tell(what: &str, count: usize, bytes: usize) {
    println!("{what:<52}{count:>10}{:>12}", bytes / count);
}

/// As many as the memory store has room for by default.
const CALLERS: usize = 90_000;

const KEYS: usize = 10_000;

/// As many as the memory store has room for by default.
const RECORDS: usize = 100_000;

/// Fewer, because each waits for the disk.
const IN_FILE: usize = 20_000;

const BODY: usize = 300;

/// So that one wait for the disk serves many.
const AT_ONCE: usize = 256;

const RETENTION: Duration = Duration::from_secs(24 * 3600);
