//! The PostgreSQL store, held to the cases that every store must pass, at real servers.

mod commit;
mod faults;
mod keys;

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode};
use sqlx::postgres::PgPoolOptions;

use super::*;
use crate::clock::{Clock as _, Timestamp};
use crate::context::{CorrelationId, Fingerprint};
use crate::idempotency::{IdempotencyKey, KeptResponse};
use crate::memory;
use crate::pair::Pair;
use crate::principal::Caller;
use crate::route::UpstreamKind;
use crate::testing::server::PostgresServer;
use crate::testing::{ManualClock, Subject};

crate::store_conformance!(conformance, || Postgres::new().await);

#[tokio::test]
async fn of_many_claims_over_two_pools_one_is_executed() {
    let server = PostgresServer::shared();
    let schema = schema();
    let stores = join_all([0, 1].map(|_| open(&server, &schema))).await;
    let asked = (0..100_u128).map(|token| {
        let (store, attempt) = (stores[token as usize % 2].clone(), attempt("k", token));
        tokio::spawn(async move { store.claim(&attempt).await.unwrap() })
    });
    let decisions = join_all(asked.collect::<Vec<_>>()).await;
    let executed = decisions
        .iter()
        .filter(|decision| matches!(decision, Ok(Decision::Execute { .. })));
    assert_eq!(executed.count(), 1, "{decisions:?}");
}

#[tokio::test]
async fn processes_that_start_at_once_make_the_tables_once() {
    let server = PostgresServer::shared();
    let schema = schema();
    let stores = join_all((0..8).map(|_| open(&server, &schema))).await;
    assert!(executes(&stores[0], &attempt("k", 1)).await);
    assert!(!executes(&stores[7], &attempt("k", 2)).await);
}

#[tokio::test]
async fn a_lease_ends_by_the_clock_of_the_database() {
    let server = PostgresServer::shared();
    let store = open(&server, &schema()).await;
    let now = || async {
        let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint";
        let millis: i64 = sqlx::query_scalar(now)
            .fetch_one(store.pool())
            .await
            .unwrap();
        Timestamp::from_unix_millis(millis.unsigned_abs())
    };
    let before = now().await;
    let decision = store.claim(&attempt("k", 1)).await.unwrap();
    let Decision::Execute { lease_ends } = decision else {
        panic!("{decision:?}");
    };
    // Of two roundings.
    let slack = Duration::from_millis(1);
    assert!(before + LEASE <= lease_ends + slack);
    assert!(lease_ends <= now().await + LEASE + slack);
}

#[tokio::test]
async fn a_pool_of_somebody_else_may_be_stricter() {
    let server = PostgresServer::shared();
    let pool = PgPoolOptions::new()
        .after_connect(|connection, _| {
            Box::pin(async move {
                let strict = "SET default_transaction_isolation = 'serializable'";
                sqlx::raw_sql(strict).execute(connection).await.map(drop)
            })
        })
        .connect(&server.address())
        .await
        .unwrap();
    let options = Options::new().schema(&schema()).wait(PATIENCE);
    let store = options.over(pool).await.unwrap();
    for key in ["a", "b", "c"] {
        let asked = (0..20).map(|token| {
            let (store, attempt) = (store.clone(), attempt(key, token));
            tokio::spawn(async move { executes(&store, &attempt).await })
        });
        let executed = join_all(asked.collect::<Vec<_>>()).await;
        assert_eq!(
            executed
                .iter()
                .filter(|done| *done.as_ref().unwrap())
                .count(),
            1
        );
    }
}

#[tokio::test]
async fn a_claim_that_is_taken_over_at_once_by_many_is_given_to_one() {
    let server = PostgresServer::shared();
    let schema = schema();
    let mut store = open(&server, &schema).await;
    let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
    hold_still(&mut store, &schema, &clock);
    for round in 0..5_u128 {
        let mut first = attempt("k", round * 100);
        first.upstream = UpstreamKind::Deduplicates;
        assert!(executes(&store, &first).await);
        clock.advance(LEASE * 2);
        set(&store, &clock);
        let asked = (1..=30).map(|token| {
            let (store, mut again) = (store.clone(), attempt("k", round * 100 + token));
            again.upstream = UpstreamKind::Deduplicates;
            tokio::spawn(async move { executes(&store, &again).await })
        });
        let executed = join_all(asked.collect::<Vec<_>>()).await;
        assert_eq!(
            executed
                .iter()
                .filter(|done| *done.as_ref().unwrap())
                .count(),
            1
        );
        clock.advance(LEASE * 1000);
        set(&store, &clock);
    }
}

#[tokio::test]
async fn what_is_over_is_swept_by_the_claims_that_come_after() {
    let postgres = Postgres::new().await;
    let store = postgres.pair.records();
    for number in 0..10 {
        assert!(executes(store, &attempt(&format!("old {number}"), number)).await);
    }
    postgres.advance(LEASE * 1000).await;
    for number in 0..5 {
        assert!(executes(store, &attempt(&format!("new {number}"), number)).await);
    }
    let statement = format!("SELECT count(*) FROM {}.records", postgres.schema);
    assert_eq!(postgres.server.sql(&statement), "5");
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_notes_what_it_cannot_keep() {
    let server = PostgresServer::shared();
    let schema = schema();
    let store = open(&server, &schema).await;
    let running = attempt("running", 1);
    assert!(executes(&store, &running).await);
    server.sql(&format!(
        "CREATE FUNCTION {schema}.full() RETURNS trigger LANGUAGE plpgsql AS \
         $$BEGIN RAISE disk_full; END$$; \
         CREATE TRIGGER full_1 AFTER INSERT ON {schema}.records FOR EACH ROW \
         EXECUTE FUNCTION {schema}.full(); \
         CREATE TRIGGER full_2 BEFORE UPDATE ON {schema}.records FOR EACH ROW \
         WHEN (NEW.response IS NOT NULL) EXECUTE FUNCTION {schema}.full()"
    ));
    let refused = store.claim(&attempt("new", 2)).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Full);
    assert!(store.renew(&running.owner, LEASE).await.unwrap());
    assert!(
        store
            .finish(&running.owner, &done(b"kept"), LEASE)
            .await
            .unwrap()
    );
    let again = store.claim(&attempt("running", 3)).await.unwrap();
    assert!(matches!(again, Decision::NotStored { .. }), "{again:?}");
}

#[tokio::test]
async fn a_value_that_nobody_wrote_is_an_error_and_no_answer() {
    let server = PostgresServer::shared();
    let schema = schema();
    let store = open(&server, &schema).await;
    let ended = attempt("k", 1);
    assert!(executes(&store, &ended).await);
    assert!(
        store
            .finish(&ended.owner, &done(b"kept"), LEASE)
            .await
            .unwrap()
    );
    server.sql(&format!("UPDATE {schema}.records SET response = '\\x09'"));
    let refused = store.claim(&attempt("k", 2)).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::NotSent);
}

/// A store in a schema of its own, at the server that all cases share, whose clock stands
/// still until it is moved.
struct Postgres {
    clock: ManualClock,
    pair: Pair<memory::Store, Store>,
    schema: String,
    server: Arc<PostgresServer>,
}

// === impl Postgres ===

impl Postgres {
    async fn new() -> Self {
        let server = PostgresServer::shared();
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
        let schema = schema();
        let mut store = open(&server, &schema).await;
        hold_still(&mut store, &schema, &clock);
        Self {
            pair: Pair::new(memory::Store::new(clock.shared()), store),
            clock,
            schema,
            server,
        }
    }

    fn set(&self) {
        set(self.pair.records(), &self.clock);
    }
}

impl Subject for Postgres {
    type Store = Pair<memory::Store, Store>;

    fn store(&self) -> Self::Store {
        self.pair.clone()
    }

    async fn small(&self) -> Self::Store {
        let schema = schema();
        let mut store = open(&self.server, &schema).await;
        store.statements = Arc::new(Statements::at(&schema, "0"));
        store.offset = Arc::clone(&self.pair.records().offset);
        Pair::new(
            self.pair.counters().clone(),
            store.records(12).records_per_caller(3),
        )
    }

    async fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.set();
    }

    async fn jump_ahead(&self, by: Duration) {
        self.clock.jump_ahead(by);
        self.set();
    }

    async fn jump_back(&self, by: Duration) {
        self.clock.jump_back(by);
        self.set();
    }
}

/// Has the store go by this clock instead of the one of the database.
fn hold_still(store: &mut Store, schema: &str, clock: &ManualClock) {
    store.statements = Arc::new(Statements::at(schema, "0"));
    set(store, clock);
}

fn set(store: &Store, clock: &ManualClock) {
    let millis = clock.now().as_unix_millis().cast_signed();
    store.offset.store(millis, Ordering::Release);
}

/// A name that no other case has.
fn schema() -> String {
    static CASES: AtomicU64 = AtomicU64::new(0);
    format!("case{}", CASES.fetch_add(1, Ordering::Relaxed))
}

/// As many steps at once as cases ask for have to wait for a connection on a busy machine.
async fn open(server: &PostgresServer, schema: &str) -> Store {
    let options = Options::new().schema(schema).wait(PATIENCE);
    options.open(&server.address()).await.unwrap()
}

async fn executes(store: &Store, attempt: &Attempt) -> bool {
    let decision = store.claim(attempt).await.unwrap();
    matches!(decision, Decision::Execute { .. })
}

/// Asks again until it is so.
async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    for _ in 0..2000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not so after twenty seconds");
}

fn attempt(key: &str, token: u128) -> Attempt {
    Attempt {
        owner: Owner {
            caller: Caller::new("live", "family"),
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

const PATIENCE: Duration = Duration::from_secs(20);
