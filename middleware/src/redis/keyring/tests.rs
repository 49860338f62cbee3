//! Key records in Redis: what is changed holds on the next request, in one round trip.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use super::*;
use crate::api_key::{ApiKey, Cached, KeyRecordBuilder, Peppers};
use crate::body::RequestBody;
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::route::Policy;
use crate::stack::ApiLayer;
use crate::testing::server::RedisServer;

#[tokio::test]
async fn a_change_of_a_record_holds_on_the_next_request() {
    let site = Site::open().await;
    assert_eq!(site.post(None).await, (200, "100".to_owned()));
    for (what, change, unkeyed, keyed) in CHANGES {
        // Each kind of request is once the first one after a change.
        for key in [None, Some(format!("first after it is {what}"))] {
            site.change(|record| record.per_minute(90)).await;
            site.post(None).await;
            site.change(*change).await;
            let (status, limit) = if key.is_some() { *keyed } else { *unkeyed };
            let said = site.post(key.as_deref()).await;
            assert_eq!(said, (status, limit.to_owned()), "{what}, {key:?}");
            site.restore().await;
        }
    }
}

#[tokio::test]
async fn a_request_under_a_changed_record_is_charged_once_and_claims_once() {
    let site = Site::open().await;
    assert_eq!(site.left(None).await, 99);
    site.change(|record| record.name("renamed")).await;
    assert_eq!(site.left(Some("k")).await, 98);
    site.change(|record| record.name("renamed again")).await;
    // A replay: the claim of the request before was the only one.
    assert_eq!(site.left(Some("k")).await, 97);
    assert_eq!(site.executed.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_record_is_read_once_and_again_when_it_has_changed() {
    let site = Site::open().await;
    for key in [None, Some("a"), Some("a"), None] {
        site.post(key).await;
    }
    assert_eq!(site.keyring.counts(), (1, 0));
    site.change(|record| record.name("renamed")).await;
    for key in [Some("b"), None, None] {
        site.post(key).await;
    }
    assert_eq!(site.keyring.counts(), (1, 1));
}

#[tokio::test]
async fn of_two_replicas_each_holds_to_a_change_made_through_the_other() {
    let one = Site::open().await;
    let two = one.replica().await;
    for limit in [3, 70, 5] {
        one.change(|record| record.per_minute(limit)).await;
        assert_eq!(two.post(None).await.1, limit.to_string());
        assert_eq!(one.post(None).await.1, limit.to_string());
    }
}

#[tokio::test]
async fn a_command_that_ended_half_way_can_be_repeated_and_blocks_no_other() {
    let site = Site::open().await;
    let keyring = &site.keyring.keyring;
    let record =
        |id: &str| KeyRecord::builder(id, "acc", Digest::from_parts(None, [7; 32])).build();
    let half = record("half");
    keyring
        .enter(half.principal().caller(), &half)
        .await
        .unwrap();
    assert!(keyring.find(half.digest()).await.unwrap().is_none());
    assert!(keyring.get("half").await.unwrap().is_none());
    let ids = |page: Vec<Arc<KeyRecord>>| -> Vec<String> {
        page.iter()
            .map(|r| r.principal().key_id().to_owned())
            .collect()
    };
    assert_eq!(ids(keyring.page("", 1).await.unwrap()), ["key_1"]);
    keyring
        .write(&[KeyChange::create(record("other"))])
        .await
        .unwrap();
    let taken = keyring.write(&[KeyChange::create(half)]).await.unwrap_err();
    assert!(matches!(taken, KeyWriteError::SameDigest { .. }), "{taken}");
}

/// What becomes of a record, and the answers: to a request without an Idempotency-Key, and
/// to one with a key.
type Case = (
    &'static str,
    fn(KeyRecordBuilder) -> KeyRecordBuilder,
    (u16, &'static str),
    (u16, &'static str),
);

const CHANGES: &[Case] = &[
    (
        "lowered",
        |record| record.per_minute(50),
        (200, "50"),
        (200, "50"),
    ),
    (
        "raised",
        |record| record.per_minute(700),
        (200, "700"),
        (200, "700"),
    ),
    (
        "narrowed",
        |record| record.scopes(["a:b"]),
        (403, "90"),
        (403, "90"),
    ),
    (
        "bound to another agent",
        |record| record.agents(["a2"]),
        (200, "90"),
        (403, "90"),
    ),
    (
        "bound to this agent",
        |record| record.agents(["a1"]),
        (200, "90"),
        (200, "90"),
    ),
    (
        "expired",
        |record| record.expires(Timestamp::EPOCH),
        (401, ""),
        (401, ""),
    ),
    (
        "revoked",
        |record| record.revoked(Timestamp::EPOCH),
        (401, ""),
        (401, ""),
    ),
];

/// One process with a stack over a server, and a key.
struct Site {
    server: Arc<RedisServer>,
    keyring: Counting,
    secret: Arc<str>,
    first: Arc<KeyRecord>,
    api: ApiLayer<Store, Cached<Counting>>,
    executed: Arc<AtomicUsize>,
}

/// Counts what is asked of it.
#[derive(Clone)]
struct Counting {
    keyring: Keyring,
    asked: Arc<(AtomicUsize, AtomicUsize)>,
}

// === impl Site ===

impl Site {
    async fn open() -> Self {
        let server = Arc::new(RedisServer::start(&[]));
        let key = ApiKey::mint("mk", "live", &SystemEntropy);
        let record = KeyRecord::of(&key, &Peppers::none(), "key_1", "acc");
        let record = record.scopes(["*"]).per_minute(100).build();
        let store = Store::open(&server.address()).await.unwrap();
        let created = [KeyChange::create(record.clone())];
        store.keyring().write(&created).await.unwrap();
        Self::over(server, key.expose().into(), record).await
    }

    async fn replica(&self) -> Self {
        let (secret, first) = (Arc::clone(&self.secret), Arc::clone(&self.first));
        Self::over(Arc::clone(&self.server), secret, first).await
    }

    async fn over(server: Arc<RedisServer>, secret: Arc<str>, first: Arc<KeyRecord>) -> Self {
        let store = Store::open(&server.address()).await.unwrap();
        let keyring = Counting {
            keyring: store.keyring(),
            asked: Arc::default(),
        };
        let cached = Cached::new(keyring.clone(), SystemClock::shared()).counted();
        let policy = Policy::scope("charges:write").idempotent().agent("/agent");
        let api = ApiLayer::builder(store, cached).route("POST /charges", policy);
        Self {
            server,
            keyring,
            secret,
            first,
            api: api.build().unwrap(),
            executed: Arc::default(),
        }
    }

    async fn change(&self, change: impl Fn(KeyRecordBuilder) -> KeyRecordBuilder) {
        let held = self.keyring.keyring.get("key_1").await.unwrap().unwrap();
        let changed = change(held.to_builder()).build();
        let change = KeyChange::update(changed, &held);
        self.keyring.keyring.write(&[change]).await.unwrap();
    }

    /// Has the record as it was at first.
    async fn restore(&self) {
        let first = Arc::clone(&self.first);
        self.change(move |_| first.to_builder()).await;
    }

    /// The status of an answer and the limit that it tells.
    async fn post(&self, key: Option<&str>) -> (u16, String) {
        let response = self.send(key).await;
        let limit = response.headers().get("x-ratelimit-limit");
        let limit = limit.map_or("", |limit| limit.to_str().unwrap());
        (response.status().as_u16(), limit.to_owned())
    }

    async fn left(&self, key: Option<&str>) -> u32 {
        let response = self.send(key).await;
        let left = response.headers()["x-ratelimit-remaining"].to_str();
        left.unwrap().parse().unwrap()
    }

    async fn send(&self, key: Option<&str>) -> Response<()> {
        let executed = Arc::clone(&self.executed);
        let service = self
            .api
            .layer(service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
                executed.fetch_add(1, Ordering::Relaxed);
                async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("charged"))) }
            }));
        let mut request = Request::post("/charges")
            .header("authorization", format!("Bearer {}", self.secret))
            .header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key.replace(' ', "-"));
        }
        let request = request.body(Full::from(r#"{"agent":"a1"}"#)).unwrap();
        service.oneshot(request).await.unwrap().map(drop)
    }
}

// === impl Counting ===

impl Counting {
    /// Look-ups by a digest, and readings of a record that had changed.
    fn counts(&self) -> (usize, usize) {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        (count(&self.asked.0), count(&self.asked.1))
    }
}

impl Find for Counting {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.asked.0.fetch_add(1, Ordering::Relaxed);
        self.keyring.find(digest).await
    }

    async fn reread(&self, principal: &Principal) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.asked.1.fetch_add(1, Ordering::Relaxed);
        self.keyring.reread(principal).await
    }
}
