//! The records of the service: the cases of every store, through the writer that commits in
//! groups, and what a message has to do with the claim on its key.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tower::{ServiceBuilder, ServiceExt as _};
use uuid::Uuid;
use vestibule::clock::{Clock as _, Timestamp};
use vestibule::idempotency::IdempotencyLayer;
use vestibule::route::Policy;
use vestibule::testing::{CountingEntropy, ManualClock, Subject};
use vestibule::{Body, Claim, Pair, Principal, RequestBody, memory};

use super::*;
use crate::message::{Content, Message, MessageId, State};
use crate::recipient::PhoneNumber;
use crate::store::{Insertion, Kept, Ledger as _, NewMessage, Once};

vestibule::store_conformance!(conformance, || Place::new().await);

#[tokio::test]
async fn a_message_ends_the_claim_on_its_key_in_its_own_transaction() {
    let place = Place::new().await;
    let claim = place.claimed().await;
    assert_eq!(place.insert(&claim, 1).await, Insertion::Inserted);
    // Nobody but the transaction of the message has ended it.
    place.clock.advance(LEASE * 2);
    let repeated = place.call().await;
    assert_eq!(repeated.status(), 202);
    assert_eq!(repeated.headers()["idempotent-replayed"], "true");
    assert_eq!(repeated.headers()["content-type"], "application/json");
    let body = repeated.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "body 1");
}

#[tokio::test]
async fn a_claim_that_was_taken_over_inserts_nothing() {
    let place = Place::new().await;
    let late = place.claimed().await;
    place.clock.advance(LEASE * 2);
    let second = place.claimed().await;
    assert_eq!(place.insert(&late, 1).await, Insertion::LeaseEnded);
    let rows = |table: &str| {
        let query = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar::<_, i64>(query).fetch_one(&place.store.readers)
    };
    for table in ["message", "deduplication"] {
        assert_eq!(rows(table).await.unwrap(), 0, "{table}");
    }
    assert_eq!(place.insert(&second, 2).await, Insertion::Inserted);
}

/// A database of the service, and the clock of both.
struct Place {
    clock: ManualClock,
    store: Sqlite,
    small: Sqlite,
    _folder: TempDir,
}

impl Place {
    async fn new() -> Self {
        let clock = ManualClock::at(NOW);
        let folder = tempfile::tempdir().unwrap();
        let open = async |name: &str| {
            let path = folder.path().join(name);
            let store = Sqlite::open(&path, clock.shared(), CountingEntropy::shared());
            store.await.unwrap()
        };
        let (store, small) = (open("m.db").await, open("small.db").await);
        let mut connection = SqliteConnectOptions::new()
            .filename(folder.path().join("small.db"))
            .connect()
            .await
            .unwrap();
        sqlx::query("UPDATE vestibule_capacity SET records = 12, bytes = 1048576")
            .execute(&mut connection)
            .await
            .unwrap();
        Self {
            clock,
            store,
            small,
            _folder: folder,
        }
    }

    /// A claim as the layers make one, under which nothing is executed yet.
    async fn claimed(&self) -> Claim {
        let (claim, released) = (Arc::new(Mutex::new(None)), tokio::sync::Notify::new());
        let (slot, released) = (Arc::clone(&claim), Arc::new(released));
        let arrived = Arc::clone(&released);
        let service = self.layer().service_fn(move |request: Asked| {
            let held = request.extensions().get::<Claim>().cloned();
            *slot.lock().unwrap() = held;
            arrived.notify_one();
            std::future::pending::<Result<Response<Body<String>>, Infallible>>()
        });
        tokio::spawn(service.oneshot(request()));
        released.notified().await;
        let mut claim = claim.lock().unwrap();
        claim.take().expect("the handler is called under a claim")
    }

    /// A repetition, which must not get through.
    async fn call(&self) -> Response<Body<Body<String>>> {
        let service = self.layer().service_fn(|_: Asked| async {
            Ok::<_, Infallible>(Response::new(Body::full(Bytes::from_static(b"executed"))))
        });
        service.oneshot(request()).await.unwrap()
    }

    fn layer(
        &self,
    ) -> ServiceBuilder<
        tower::layer::util::Stack<IdempotencyLayer<Sqlite>, tower::layer::util::Identity>,
    > {
        let layer = IdempotencyLayer::new(self.store.clone())
            .policy(Policy::authenticated().transactional())
            .clock(self.clock.shared());
        ServiceBuilder::new().layer(layer)
    }

    async fn insert(&self, claim: &Claim, n: u64) -> Insertion {
        let content = Content::text("hello").unwrap();
        let message = NewMessage {
            message: Message {
                id: MessageId::mint(NOW, n.into()),
                account: "acme".into(),
                agent_id: Uuid::nil(),
                to: PhoneNumber::parse("+15551234567").unwrap(),
                kind: content.kind(),
                state: State::Queued,
                wamid: None,
                failure: None,
                created_at: NOW,
                sent_at: None,
                failed_at: None,
            },
            phone_number_id: "10".into(),
            content,
            correlation_id: "req_1".into(),
            expires_at: NOW + LEASE,
        };
        let once = Once {
            caller: "live:family".into(),
            claim: claim.clone(),
            response: Kept {
                fingerprint: claim.fingerprint,
                status: 202,
                body: format!("body {n}").into(),
                correlation_id: format!("req_{n}").into(),
            },
        };
        self.store.insert(message, Some(once)).await.unwrap()
    }
}

impl Subject for Place {
    type Store = Pair<memory::Store, Sqlite>;

    fn store(&self) -> Self::Store {
        let counters = memory::Store::new(self.clock.shared());
        Pair::new(counters, self.store.clone())
    }

    async fn small(&self) -> Self::Store {
        let counters = memory::Store::new(self.clock.shared());
        Pair::new(counters, self.small.clone())
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

fn request() -> Request<String> {
    let mut request = Request::post("/messages")
        .header("idempotency-key", "key")
        .body(String::new())
        .unwrap();
    let principal = Principal::builder("acme", "family").build();
    request.extensions_mut().insert(principal);
    request
}

type Asked = Request<RequestBody<String>>;

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const LEASE: Duration = Duration::from_secs(10);
