//! The Redis store, held to the cases that every store must pass, at servers of its own.

mod cluster;
mod confirmed;
mod link;
mod refusals;
mod secured;

use std::any::Any;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;
use crate::api_key::{ApiKey, KeyRecord, Keys, Peppers};
use crate::body::RequestBody;
use crate::clock::Timestamp;
use crate::context::{CorrelationId, Fingerprint};
use crate::entropy::SystemEntropy;
use crate::idempotency::{IdempotencyKey, KeptResponse};
use crate::route::Policy;
use crate::stack::ApiLayer;
use crate::testing::server::{RedisCluster, RedisServer, free_port, wait_until};
use crate::testing::{KeySubject, Subject};

crate::store_conformance!(conformance, || Redis::new().await);
crate::store_conformance!(conformance_in_a_cluster, || Redis::in_cluster().await);
crate::store_conformance!(conformance_of_redis_8, || Redis::of_8().await);
crate::keystore_conformance!(keyring_conformance, || Keyrings(Redis::new().await));
crate::keystore_conformance!(keyring_conformance_in_a_cluster, || Keyrings(
    Redis::in_cluster().await
));
crate::keystore_conformance!(keyring_conformance_of_redis_8, || Keyrings(
    Redis::of_8().await
));

#[tokio::test]
async fn a_verdict_is_the_one_of_the_pure_function() {
    let redis = Redis::new().await;
    let caller = Caller::new("live", "family");
    for quota in [
        Quota::new(3, Duration::from_secs(7)),
        Quota::new(7, Duration::from_secs(2)).with_burst(4),
        Quota::new(0, Duration::from_secs(5)),
        Quota::new(0, Duration::from_secs(5)).with_burst(2),
    ] {
        redis.advance(Duration::from_secs(3600)).await;
        let mut held = None;
        for step in [0, 0, 1, 0, 0, 5, 0, 0, 2, 1, 0, -1, 0, 9, -3, 0, 0, 0] {
            redis.moved(step * 1_000_000);
            let now = redis.now().await;
            let said = redis.store.hit(&caller, &quota).await.unwrap();
            let (counter, judged) = quota.judge(held, now);
            held = Some(counter);
            let told = |verdict: &Verdict| (verdict.allowed, verdict.limit, verdict.remaining);
            assert_eq!(told(&said), told(&judged), "{quota:?} {step}");
            let apart = said.reset.since(judged.reset) + judged.reset.since(said.reset);
            assert!(
                apart < Redis::DRIFT,
                "{quota:?} {step}: {said:?} {judged:?}"
            );
            assert!(
                said.wait.abs_diff(judged.wait) < Redis::DRIFT,
                "{quota:?} {step}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused_unless_that_is_wanted() {
    let server = RedisServer::start(&["--maxmemory-policy", "allkeys-lru"]);
    let fault = Store::open(&server.address()).await.unwrap_err();
    assert!(
        fault
            .to_string()
            .starts_with("its maxmemory-policy is \"allkeys-lru\""),
        "{fault}"
    );
    let store = Store::open_evicting(&server.address()).await.unwrap();
    assert!(executes(&store, &attempt("k", 1)).await);
}

#[tokio::test]
async fn a_replica_is_refused() {
    let master = RedisServer::start(&[]);
    let replica = replica_of(&master);
    let fault = Store::open(&replica.address()).await.unwrap_err();
    assert_eq!(fault.to_string(), "it is a replica, and must be a master");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_to_be_so() {
    for (address, said) in [
        (
            format!("redis://127.0.0.1:{}", free_port()),
            "it cannot be reached: Connection refused",
        ),
        (
            format!("redis+cluster://127.0.0.1:{}", free_port()),
            "it cannot be reached: Connection refused",
        ),
        ("redis://:port".into(), NO_ADDRESS),
        ("redis://127.0.0.1:1,127.0.0.1:2".into(), NO_ADDRESS),
        ("redis://h/?wait=1".into(), "it has no option \"wait\""),
        (
            "redis://h/?within=1ms".into(),
            "its option within needs replicas",
        ),
        (
            "redis://h/?replicas=one".into(),
            "its option replicas cannot be \"one\"",
        ),
        (
            "redis://h/?replicas=1&within=1".into(),
            "its option within cannot be \"1\"",
        ),
        (
            "redis://h/?ca=/nowhere".into(),
            "its option ca names \"/nowhere\": No such file",
        ),
        (
            "redis://h/?ca=/dev/null".into(),
            "its option ca is for rediss:// only",
        ),
    ] {
        let fault = Store::open(&address).await.unwrap_err().to_string();
        assert!(fault.starts_with(said), "{address}: {fault}");
    }
}

#[tokio::test]
async fn a_server_without_memory_refuses_what_is_new_and_answers_what_it_has() {
    let server = RedisServer::start(&["--maxmemory", "4mb"]);
    let store = open(&server).await;
    let (running, ended) = (attempt("running", 1), attempt("ended", 2));
    assert!(executes(&store, &running).await && executes(&store, &ended).await);
    assert!(
        store
            .finish(&ended.owner, &done(b"kept"), LEASE)
            .await
            .unwrap()
    );
    run(&store, &["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let refused = store.claim(&attempt("new", 3)).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Full);
    let caller = Caller::new("live", "family");
    let refused = store.hit(&caller, &Quota::per_minute(5)).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Full);
    let again = store.claim(&attempt("ended", 4)).await.unwrap();
    assert!(matches!(again, Decision::Replay(_)), "{again:?}");
    assert!(store.renew(&running.owner, LEASE).await.unwrap());
    assert!(
        store
            .finish(&running.owner, &done(&[b'x'; 9000]), LEASE)
            .await
            .unwrap()
    );
    let again = store.claim(&attempt("running", 5)).await.unwrap();
    assert!(matches!(again, Decision::NotStored { .. }), "{again:?}");
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_scripts_is_told_them_again() {
    let server = RedisServer::start(&[]);
    let store = open(&server).await;
    for step in 0..2 {
        run(&store, &["SCRIPT", "FLUSH"]).await;
        assert!(executes(&store, &attempt(&format!("k{step}"), 1)).await);
    }
}

#[tokio::test]
async fn a_server_that_comes_back_needs_no_restart_of_ours() {
    let mut server = RedisServer::start(&[]);
    let store = open(&server).await;
    server.kill();
    let lost = store.claim(&attempt("k", 1)).await.unwrap_err();
    assert_ne!(lost.kind(), StoreErrorKind::Full);
    // Once it is known that nobody listens there, nothing is sent.
    let not_sent = || async {
        let answer = store.claim(&attempt("k", 1)).await;
        answer.is_err_and(|error| error.kind() == StoreErrorKind::NotSent)
    };
    until(not_sent).await;
    server.restart();
    until(|| async { store.claim(&attempt("k", 1)).await.is_ok() }).await;
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_reply_to_another() {
    let redis = Redis::new().await;
    for number in 0..50 {
        let key = format!("k{number}");
        let first = attempt(&key, number);
        assert!(executes(&redis.store, &first).await);
        assert!(
            redis
                .store
                .finish(&first.owner, &done(key.as_bytes()), LEASE)
                .await
                .unwrap()
        );
    }
    for number in 0..500 {
        let key = format!("k{}", number % 50);
        let again = attempt(&key, 1000 + number);
        let asked = redis.store.claim(&again);
        if number % 7 == 0 {
            // Polled once it has asked; dropped then, its caller has given up.
            assert!(asked.now_or_never().is_none(), "{key} was answered at once");
            continue;
        }
        let Decision::Replay(response) = asked.await.unwrap() else {
            panic!("{key} has ended");
        };
        assert_eq!(response.body, key);
    }
    let last = redis.store.claim(&attempt("k7", 1)).await.unwrap();
    assert!(matches!(last, Decision::Replay(response) if response.body == "k7"));
}

#[tokio::test]
async fn a_record_outlives_its_lease_by_its_retention_and_no_more() {
    let redis = Redis::new().await;
    let attempt = attempt("k", 1);
    assert!(executes(&redis.store, &attempt).await);
    let record = redis.store.name("record", &attempt.owner.caller, b"k");
    let index = redis.store.name("index", &attempt.owner.caller, b"");
    let kept = (attempt.lease + attempt.retention + Timestamp::SKEW).as_millis();
    for name in [record, index] {
        let mut command = redis::Cmd::new();
        command.arg("PTTL").arg(name);
        let left = redis.store.connection.ask(b"", &command).await.unwrap();
        let left: u128 = redis::from_redis_value(left).unwrap();
        assert!(left <= kept && left + 450 > kept, "{left} of {kept}");
    }
}

#[tokio::test]
async fn a_keyed_request_takes_two_steps_and_any_other_takes_one() {
    let server = RedisServer::start(&[]);
    let store = open(&server).await;
    let key = ApiKey::mint("mk", "live", &SystemEntropy);
    let record = KeyRecord::of(&key, &Peppers::none(), "name", "account");
    let keys = Keys::new([record.scopes(["*"]).build()]).unwrap();
    let api = ApiLayer::builder(store.clone(), keys)
        .route("POST /charges", Policy::scope("charges:write").idempotent())
        .build()
        .unwrap();
    let service = api.layer(service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("charged")))
    }));
    for (key_of_request, steps) in [(None, 1), (Some("k"), 2), (Some("k"), 1)] {
        run(&store, &["CONFIG", "RESETSTAT"]).await;
        let mut request = Request::post("/charges")
            .header("authorization", format!("Bearer {}", key.expose()))
            .header("content-type", "application/json");
        if let Some(key) = key_of_request {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::from("{}")).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut command = redis::Cmd::new();
        command.arg("INFO").arg("commandstats");
        let stats = store.connection.ask(b"", &command).await.unwrap();
        let stats: String = redis::from_redis_value(stats).unwrap();
        let taken = format!("cmdstat_evalsha:calls={steps},");
        assert!(stats.contains(&taken), "{key_of_request:?}: {stats}");
        assert!(!stats.contains("cmdstat_eval:"), "{stats}");
    }
}

/// The key records of a Redis that lasts as long as they.
struct Keyrings(Redis);

impl KeySubject for Keyrings {
    type Store = Keyring;

    fn store(&self) -> Keyring {
        self.0.store.keyring()
    }
}

/// A store under a prefix of its own, at the servers that all cases share.
struct Redis {
    store: Store,
    _servers: Arc<dyn Any + Send + Sync>,
}

// === impl Redis ===

impl Redis {
    async fn new() -> Self {
        static SHARED: Shared<RedisServer> = Mutex::new(Weak::new());
        let server = shared(&SHARED, || RedisServer::start(&[]));
        Self::at(&server.address(), server).await
    }

    /// Of Debian's release there is one already; `tests/servers` finds the other.
    async fn of_8() -> Self {
        static SHARED: Shared<RedisServer> = Mutex::new(Weak::new());
        let server = shared(&SHARED, || {
            let binary = std::env::var("REDIS_8_SERVER");
            let binary = binary.expect("tests/run names a redis-server 8 in REDIS_8_SERVER");
            RedisServer::start_binary(&binary, &[])
        });
        Self::at(&server.address(), server).await
    }

    async fn in_cluster() -> Self {
        let cluster = shared(&CLUSTER, || RedisCluster::start(3, 0));
        Self::at(&cluster.address(), cluster).await
    }

    async fn at(address: &str, servers: Arc<dyn Any + Send + Sync>) -> Self {
        static CASES: AtomicU64 = AtomicU64::new(0);
        let case = CASES.fetch_add(1, Ordering::Relaxed);
        let store = Store::open(address).await.unwrap();
        Self {
            store: store.prefix(&format!("case{case}")),
            _servers: servers,
        }
    }

    fn moved(&self, by: i64) {
        self.store.offset.fetch_add(by, Ordering::AcqRel);
    }
}

impl Subject for Redis {
    type Store = Store;

    const DRIFT: Duration = Duration::from_millis(450);

    fn store(&self) -> Store {
        self.store.clone()
    }

    async fn small(&self) -> Store {
        // In a Cluster what is counted together lies together.
        let prefix = format!("{{{}small}}", self.store.prefix);
        let store = self.store.clone().prefix(&prefix);
        store.records(12).records_per_caller(3)
    }

    async fn now(&self) -> Timestamp {
        let mut command = redis::Cmd::new();
        let time = self.store.connection.ask(b"", command.arg("TIME")).await;
        let (seconds, micros): (i64, i64) = redis::from_redis_value(time.unwrap()).unwrap();
        let micros = seconds * 1_000_000 + micros + self.store.offset();
        Timestamp::from_unix_millis(u64::try_from(micros / 1000).unwrap())
    }

    async fn advance(&self, by: Duration) {
        self.moved(micros(by));
    }

    async fn jump_ahead(&self, by: Duration) {
        self.moved(micros(by));
    }

    async fn jump_back(&self, by: Duration) {
        self.moved(-micros(by));
    }
}

/// The servers that cases share, for as long as one of them runs.
type Shared<T> = Mutex<Weak<T>>;

static CLUSTER: Shared<RedisCluster> = Mutex::new(Weak::new());

fn shared<T>(shared: &Shared<T>, start: impl FnOnce() -> T) -> Arc<T> {
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let servers = Arc::new(start());
        *shared = Arc::downgrade(&servers);
        servers
    })
}

async fn open(server: &RedisServer) -> Store {
    Store::open(&server.address()).await.unwrap()
}

/// One that has all that its master has.
fn replica_of(master: &RedisServer) -> RedisServer {
    let port = master.port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    wait_until("the replica is in step", || {
        let known = replica.cli(&["INFO", "replication"]);
        let seen = master.cli(&["INFO", "replication"]);
        known.contains("master_link_status:up") && seen.contains("state=online")
    });
    replica
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap()
}

async fn executes(store: &Store, attempt: &Attempt) -> bool {
    matches!(
        store.claim(attempt).await.unwrap(),
        Decision::Execute { .. }
    )
}

async fn run(store: &Store, words: &[&str]) {
    let mut command = redis::Cmd::new();
    command.arg(words);
    store.connection.ask(b"", &command).await.unwrap();
}

/// Asks again until it is so.
async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    for _ in 0..1000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not so after ten seconds");
}

fn attempt(key: &str, token: u128) -> Attempt {
    attempt_of("family", key, token)
}

fn attempt_of(family: &str, key: &str, token: u128) -> Attempt {
    Attempt {
        owner: Owner {
            caller: Caller::new("live", family),
            key: IdempotencyKey::parse(key.as_bytes()).unwrap(),
            token,
        },
        fingerprint: Fingerprint::from_bytes([1; 32]),
        correlation_id: CorrelationId::parse(&HeaderValue::from_static("req_1")).unwrap(),
        lease: LEASE,
        retention: LEASE * 100,
        upstream: UpstreamKind::Executes,
    }
}

fn done(body: &[u8]) -> Outcome {
    Outcome::Done(Arc::new(KeptResponse {
        status: StatusCode::OK,
        headers: vec![(http::header::LOCATION, HeaderValue::from_static("/1"))],
        body: Bytes::copy_from_slice(body),
        original: CorrelationId::parse(&HeaderValue::from_static("req_1")).unwrap(),
    }))
}

const LEASE: Duration = Duration::from_secs(10);

const NO_ADDRESS: &str = "it is no address like \"redis://host:6379\"";
