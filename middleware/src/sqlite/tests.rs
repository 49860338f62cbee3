//! The records in a database: the cases of every store, and what a transaction adds.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tempfile::TempDir;
use tokio::sync::Notify;
use tower::{ServiceBuilder, ServiceExt as _};

use super::*;
use crate::clock::{Clock as _, Timestamp};
use crate::context::{Claim, CorrelationId, Fingerprint};
use crate::error::ApiError;
use crate::idempotency::{FinishError, IdempotencyKey, IdempotencyLayer, RecordsConnection};
use crate::memory;
use crate::pair::Pair;
use crate::principal::{Caller, Principal};
use crate::route::{Policy, UpstreamKind};
use crate::testing::{ManualClock, Subject};

crate::store_conformance!(conformance, || Database::new().await);

/// A team's database, with an effect to be made in it.
struct Database {
    clock: ManualClock,
    pool: SqlitePool,
    store: Store,
    folder: TempDir,
}

impl Subject for Database {
    type Store = Pair<memory::Store, Store>;

    fn store(&self) -> Self::Store {
        Pair::new(memory::Store::new(self.clock.shared()), self.store.clone())
    }

    async fn small(&self) -> Self::Store {
        let pool = open(&self.folder, "small.db").await;
        let capacity = Capacity {
            records: 12,
            bytes: 1 << 20,
        };
        let store = Store::over(pool, self.clock.shared()).capacity(capacity);
        store.migrate().await.unwrap();
        Pair::new(memory::Store::new(self.clock.shared()), store)
    }

    async fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn jump_ahead(&self, by: Duration) {
        self.clock.jump_ahead(by);
    }

    async fn jump_back(&self, by: Duration) {
        self.clock.jump_back(by);
    }
}

#[tokio::test]
async fn effect_and_record_are_there_both_or_neither() {
    for commits in [false, true] {
        let database = Database::new().await;
        let claim = database.claimed(1).await;
        let mut tx = database.effect().await;
        claim.finish(&mut tx, &answer(200, "ok")).await.unwrap();
        if commits {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        let decision = database.store.claim(&attempt(2)).await.unwrap();
        let is_kept = matches!(&decision, Decision::Replay(kept) if kept.body == "ok");
        let found = (database.effects().await, is_kept);
        assert_eq!(found, (i64::from(commits), commits), "{decision:?}");
    }
}

#[tokio::test]
async fn the_layers_replay_what_the_transaction_kept() {
    let database = Database::new().await;
    let call = || database.call(charge_once);
    let first = call().await;
    let replay = call().await;
    assert_eq!(
        (first.0, replay.0),
        (StatusCode::CREATED, StatusCode::CREATED)
    );
    assert_eq!(first.2, replay.2);
    assert!(!first.1.contains_key("idempotent-replayed"));
    assert_eq!(replay.1["idempotent-replayed"], "true");
    assert_eq!(replay.1[CONTENT_TYPE], "application/json");
    assert!(!replay.1.contains_key(DATE), "it is never kept");
    assert_eq!(database.effects().await, 1);
}

#[tokio::test]
async fn a_handler_that_rolls_back_leaves_the_key_to_be_used_again() {
    let database = Database::new().await;
    let failing = |pool: SqlitePool, claim: Claim| async move {
        let mut tx = begin(&pool).await;
        claim.finish(&mut tx, &answer(201, "lost")).await?;
        tx.rollback().await.unwrap();
        Err(ApiError::internal())
    };
    assert_eq!(
        database.call(failing).await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(database.call(charge_once).await.0, StatusCode::CREATED);
    assert_eq!(database.effects().await, 1);
}

#[tokio::test]
async fn a_late_first_transaction_is_refused_after_a_take_over() {
    let database = Database::new().await;
    let (arrived, resumed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let late = {
        let (arrived, resumed) = (Arc::clone(&arrived), Arc::clone(&resumed));
        |pool: SqlitePool, claim: Claim| async move {
            arrived.notify_one();
            resumed.notified().await;
            charge_once(pool, claim).await
        }
    };
    let first = tokio::spawn(database.call(late));
    arrived.notified().await;
    // As if the process had been paused: nothing has renewed the lease.
    database.clock.advance(LEASE + Duration::from_secs(1));
    let second = database.call(charge_once).await;
    assert_eq!(second.0, StatusCode::CREATED);
    resumed.notify_one();
    let first = first.await.unwrap();
    assert_eq!(first.0, StatusCode::CONFLICT);
    assert!(
        first.2.contains("idempotency_key_in_progress"),
        "{}",
        first.2
    );
    assert!(first.1.contains_key("retry-after"));
    let replay = database.call(charge_once).await;
    assert_eq!((replay.0, replay.2), (second.0, second.2));
    assert_eq!(database.effects().await, 1);
}

#[tokio::test]
async fn a_claim_that_has_lapsed_is_finished_by_whoever_still_holds_it() {
    let database = Database::new().await;
    let claim = database.claimed(1).await;
    database.clock.advance(LEASE * 2);
    let mut tx = database.effect().await;
    claim.finish(&mut tx, &answer(200, "ok")).await.unwrap();
    tx.commit().await.unwrap();
    let decision = database.store.claim(&attempt(2)).await.unwrap();
    assert!(matches!(decision, Decision::Replay(_)), "{decision:?}");
}

#[tokio::test]
async fn a_claim_that_is_not_ones_own_is_not_finished() {
    let database = Database::new().await;
    let ok = answer(200, "ok");
    let claim = database.claimed(1).await;
    finish_and_commit(&database, &claim, &ok).await.unwrap();
    let twice = finish_and_commit(&database, &claim, &ok).await;
    assert!(matches!(twice, Err(FinishError::Ended { .. })), "{twice:?}");

    let claim = database.claimed_of(&attempt_of("released", 1)).await;
    let owner = attempt_of("released", 1).owner;
    assert!(database.store.release(&owner).await.unwrap());
    let gone = finish_and_commit(&database, &claim, &ok).await;
    assert!(matches!(gone, Err(FinishError::Gone)), "{gone:?}");

    let claim = database.claimed_of(&attempt_of("lapsed", 1)).await;
    database.clock.advance(LEASE * 2);
    database.claimed_of(&attempt_of("lapsed", 2)).await;
    let late = finish_and_commit(&database, &claim, &ok).await;
    assert!(
        matches!(late, Err(FinishError::TakenOver { .. })),
        "{late:?}"
    );
    assert_eq!(database.effects().await, 1);

    let elsewhere = Claim::new(
        claim.idempotency_key.clone(),
        claim.fingerprint,
        claim.lease_ends,
        claim.token,
    );
    assert!(elsewhere.is_vouched() && !claim.is_vouched());
    let refused = finish_and_commit(&database, &elsewhere, &ok).await;
    assert!(
        matches!(refused, Err(FinishError::Elsewhere)),
        "{refused:?}"
    );
    for status in [401, 403, 409, 429] {
        let refused = finish_and_commit(&database, &claim, &answer(status, "")).await;
        assert!(
            matches!(refused, Err(FinishError::NeverKept(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn a_refusal_tells_the_caller_to_come_again_or_the_team_that_it_is_wrong() {
    let id = || CorrelationId::mint(Timestamp::EPOCH, 1);
    for (fault, want) in [
        (
            FinishError::TakenOver { original: id() },
            "idempotency_key_in_progress",
        ),
        (
            FinishError::Ended { original: id() },
            "idempotency_key_in_progress",
        ),
        (FinishError::Gone, "idempotency_store_unavailable"),
        (
            StoreError::not_sent().into(),
            "idempotency_store_unavailable",
        ),
        (FinishError::Elsewhere, "internal_error"),
        (
            FinishError::NeverKept(StatusCode::CONFLICT),
            "internal_error",
        ),
    ] {
        let said = format!("{fault:?}");
        assert_eq!(ApiError::from(fault).code().name(), want, "{said}");
    }
}

#[tokio::test]
async fn a_response_that_is_too_long_is_noted_as_not_kept() {
    let database = Database::new().await;
    let claim = database.claimed(1).await;
    let long = answer(200, &"x".repeat(KEPT_BYTES + 1));
    finish_and_commit(&database, &claim, &long).await.unwrap();
    let decision = database.store.claim(&attempt(2)).await.unwrap();
    assert!(
        matches!(decision, Decision::NotStored { .. }),
        "{decision:?}"
    );
    assert_eq!(database.effects().await, 1);
}

#[tokio::test]
async fn a_response_without_room_is_noted_as_not_kept() {
    let database = Database::new().await;
    let claim = database.claimed(1).await;
    let little = Capacity {
        records: 4,
        bytes: 4_000,
    };
    database
        .store
        .clone()
        .capacity(little)
        .migrate()
        .await
        .unwrap();
    let long = answer(200, &"x".repeat(4_000));
    finish_and_commit(&database, &claim, &long).await.unwrap();
    let decision = database.store.claim(&attempt(2)).await.unwrap();
    assert!(
        matches!(decision, Decision::NotStored { .. }),
        "{decision:?}"
    );
}

#[tokio::test]
async fn what_is_kept_is_counted_whoever_deletes_it() {
    let database = Database::new().await;
    for key in ["a", "b"] {
        let claim = database.claimed_of(&attempt_of(key, 1)).await;
        finish_and_commit(&database, &claim, &answer(200, key))
            .await
            .unwrap();
    }
    let usage = || async {
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as("SELECT * FROM vestibule_usage ORDER BY caller")
                .fetch_all(&database.pool)
                .await
                .unwrap();
        rows
    };
    let bytes: i64 = sqlx::query_scalar("SELECT sum(bytes) FROM vestibule_record")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    let want = [
        (String::new(), 2, bytes),
        ("live:family".to_owned(), 2, bytes),
    ];
    assert_eq!(usage().await, want);
    // Made again, the tables keep what they hold.
    database.store.migrate().await.unwrap();
    assert_eq!(usage().await, want);
    sqlx::query("DELETE FROM vestibule_record")
        .execute(&database.pool)
        .await
        .unwrap();
    assert_eq!(usage().await, [(String::new(), 0, 0)]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_executes_nothing() {
    let database = Database::new().await;
    database.claimed(1).await;
    sqlx::query("UPDATE vestibule_record SET record = x'00'")
        .execute(&database.pool)
        .await
        .unwrap();
    let error = database.store.claim(&attempt(2)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotSent);
}

#[tokio::test]
async fn a_database_without_the_tables_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::over(
        open(&folder, "bare.db").await,
        ManualClock::at(Timestamp::EPOCH).shared(),
    );
    let error = store.claim(&attempt(1)).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("no such table: vestibule_record"), "{cause}");
}

impl Database {
    async fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_unix_millis(1_800_000_000_123));
        let folder = tempfile::tempdir().unwrap();
        let pool = open(&folder, "team.db").await;
        sqlx::query("CREATE TABLE effect (n INTEGER PRIMARY KEY)")
            .execute(&pool)
            .await
            .unwrap();
        let store = Store::over(pool.clone(), clock.shared());
        store.migrate().await.unwrap();
        Self {
            clock,
            pool,
            store,
            folder,
        }
    }

    async fn claimed(&self, token: u128) -> Claim {
        self.claimed_of(&attempt(token)).await
    }

    /// A claim as the layers make one.
    async fn claimed_of(&self, attempt: &Attempt) -> Claim {
        let decision = self.store.claim(attempt).await.unwrap();
        let Decision::Execute { lease_ends } = decision else {
            panic!("{decision:?}");
        };
        let mut options = crate::idempotency::Options::new(
            self.clock.shared(),
            crate::entropy::SystemEntropy::shared(),
        );
        options.kept_bytes = KEPT_BYTES;
        attempt.claim(lease_ends, &options)
    }

    async fn effect(&self) -> Transaction<'static, Sqlite> {
        let mut tx = begin(&self.pool).await;
        insert(&mut tx).await;
        tx
    }

    async fn effects(&self) -> i64 {
        let count = sqlx::query_scalar("SELECT count(*) FROM effect");
        count.fetch_one(&self.pool).await.unwrap()
    }

    /// One keyed request through the layer to a handler.
    fn call<H, F>(
        &self,
        handler: H,
    ) -> impl Future<Output = (StatusCode, HeaderMap, String)> + Send + use<H, F>
    where
        H: FnOnce(SqlitePool, Claim) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Response<String>, ApiError>> + Send + 'static,
    {
        let pool = self.pool.clone();
        let service = ServiceBuilder::new()
            .layer(
                IdempotencyLayer::new(self.store.clone())
                    .policy(Policy::authenticated().transactional())
                    .clock(self.clock.shared()),
            )
            .service_fn(move |request: Request<crate::RequestBody<Full<Bytes>>>| {
                let claim = request.extensions().get::<Claim>().cloned().unwrap();
                let answer = handler.clone()(pool.clone(), claim);
                async move {
                    let response: Response<crate::Body<String>> = match answer.await {
                        Ok(response) => response.map(crate::Body::inner),
                        Err(refusal) => refusal.into_response(),
                    };
                    Ok::<_, Infallible>(response)
                }
            });
        let mut request = Request::post("/charges")
            .header("idempotency-key", "key")
            .body(Full::default())
            .unwrap();
        let principal = Principal::builder("account", "family").build();
        request.extensions_mut().insert(principal);
        async move {
            let (head, body) = service.oneshot(request).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            (head.status, head.headers, body)
        }
    }
}

async fn charge_once(pool: SqlitePool, claim: Claim) -> Result<Response<String>, ApiError> {
    let mut tx = begin(&pool).await;
    insert(&mut tx).await;
    let response = answer(201, &format!("charged under {}", claim.token));
    claim.finish(&mut tx, &response).await?;
    tx.commit().await.unwrap();
    Ok(response)
}

async fn finish_and_commit(
    database: &Database,
    claim: &Claim,
    response: &Response<String>,
) -> Result<(), FinishError> {
    let mut tx = database.effect().await;
    claim.finish(&mut tx, response).await?;
    tx.commit().await.unwrap();
    Ok(())
}

async fn begin(pool: &SqlitePool) -> Transaction<'static, Sqlite> {
    pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
}

async fn insert(tx: &mut Transaction<'_, Sqlite>) {
    sqlx::query("INSERT INTO effect DEFAULT VALUES")
        .execute(&mut **tx)
        .await
        .unwrap();
}

async fn open(folder: &TempDir, name: &str) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join(name))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // No power is cut here, and a slow disk must not cost a claim its deadline.
        .synchronous(SqliteSynchronous::Off)
        .busy_timeout(Duration::from_secs(30));
    let pool = SqlitePoolOptions::new().max_connections(4);
    pool.connect_with(options).await.unwrap()
}

fn answer(status: u16, body: &str) -> Response<String> {
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header(DATE, "Thu, 01 Jan 1970 00:00:00 GMT");
    response.body(body.to_owned()).unwrap()
}

fn attempt(token: u128) -> Attempt {
    attempt_of("key", token)
}

fn attempt_of(key: &str, token: u128) -> Attempt {
    let id = HeaderValue::from_str(&format!("req_{token}")).unwrap();
    Attempt {
        owner: Owner {
            caller: Caller::new("live", "family"),
            key: IdempotencyKey::parse(key.as_bytes()).unwrap(),
            token,
        },
        fingerprint: Fingerprint::from_bytes([1; 32]),
        correlation_id: CorrelationId::parse(&id).unwrap(),
        lease: LEASE,
        retention: Duration::from_secs(24 * 3600),
        upstream: UpstreamKind::Deduplicates,
    }
}

/// What a team's own connection must be to be finished on.
const _: () = {
    const fn finishes<C: RecordsConnection>() {}
    finishes::<sqlx::SqliteConnection>();
    finishes::<Transaction<'_, Sqlite>>();
};

const LEASE: Duration = Duration::from_secs(10);
const KEPT_BYTES: usize = 256 << 10;
