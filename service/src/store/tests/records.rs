//! The records of the service: the cases of every store, through the writer that commits in
//! groups, and what a message has to do with the claim on its key.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tower::{ServiceBuilder, ServiceExt as _};
use vestibule::clock::{Clock as _, Timestamp};
use vestibule::idempotency::IdempotencyLayer;
use vestibule::route::Policy;
use vestibule::testing::Subject;
use vestibule::{Body, Claim, Pair, Principal, RequestBody, memory};

use super::scene::{self, CLAIM as LEASE};
use crate::store::{Address, Database, Filter, Insertion, Kept, Ledger as _, Once, Operator as _};

vestibule::store_conformance!(conformance, || Place::new().await);

#[tokio::test]
async fn a_message_ends_the_claim_on_its_key_in_its_own_transaction() {
    let place = Place::new().await;
    let claim = place.claimed().await;
    assert_eq!(place.insert(&claim, 1).await, Insertion::Inserted);
    // Nobody but the transaction of the message has ended it.
    place.scene.clock.advance(LEASE * 2);
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
    place.scene.clock.advance(LEASE * 2);
    let second = place.claimed().await;
    assert_eq!(place.insert(&late, 1).await, Insertion::LeaseEnded);
    let all = Filter {
        max: 10,
        ..Filter::default()
    };
    assert_eq!(place.store.list(all).await.unwrap(), []);
    let kept = place.store.kept("live:family", b"key").await.unwrap();
    assert_eq!(kept, None);
    assert_eq!(place.insert(&second, 2).await, Insertion::Inserted);
}

/// A database of the service, and one that has little room.
struct Place {
    scene: scene::Place,
    store: Database,
    small: Database,
    _other: scene::Place,
}

impl Place {
    async fn new() -> Self {
        let (scene, mut other) = (scene::Place::sqlite(), scene::Place::sqlite());
        other.clock = scene.clock.clone();
        let (store, small) = (scene.open().await, other.open().await);
        let Address::File(path) = &other.address else {
            panic!("it is a file");
        };
        let mut connection = SqliteConnectOptions::new()
            .filename(path)
            .connect()
            .await
            .unwrap();
        sqlx::query("UPDATE vestibule_capacity SET records = 12, bytes = 1048576")
            .execute(&mut connection)
            .await
            .unwrap();
        Self {
            scene,
            store,
            small,
            _other: other,
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
        tower::layer::util::Stack<IdempotencyLayer<Database>, tower::layer::util::Identity>,
    > {
        let layer = IdempotencyLayer::new(self.store.clone())
            .policy(Policy::authenticated().transactional())
            .clock(self.scene.clock.shared());
        ServiceBuilder::new().layer(layer)
    }

    async fn insert(&self, claim: &Claim, n: u64) -> Insertion {
        let message = self.scene.message(n);
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
    type Store = Pair<memory::Store, Database>;

    fn store(&self) -> Self::Store {
        let counters = memory::Store::new(self.scene.clock.shared());
        Pair::new(counters, self.store.clone())
    }

    async fn small(&self) -> Self::Store {
        let counters = memory::Store::new(self.scene.clock.shared());
        Pair::new(counters, self.small.clone())
    }

    async fn now(&self) -> Timestamp {
        self.scene.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.scene.clock.advance(by);
    }

    async fn jump_ahead(&self, by: Duration) {
        self.scene.clock.jump_ahead(by);
    }

    async fn jump_back(&self, by: Duration) {
        self.scene.clock.jump_back(by);
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
