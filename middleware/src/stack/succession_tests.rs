//! One stack in the place of another: what it goes on with.

use std::convert::Infallible;
use std::pin::pin;

use http::HeaderMap;
use http_body_util::Full;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::api_key::{ApiKey, KeyRecord, Keys, Peppers};
use crate::clock::Timestamp;
use crate::entropy::SystemEntropy;
use crate::memory;
use crate::route::Policy;
use crate::testing::{CountingEntropy, ManualClock};

type Sent = Request<Full<Bytes>>;
type Got = Request<RequestBody<Full<Bytes>>>;
type Stack = ApiLayer<memory::Store, Keys>;

#[tokio::test]
async fn what_was_counted_counts_against_the_new_limit() {
    let world = World::new();
    let old = world.builder(5, 10).build().unwrap();
    let new = world.builder(9, 10).in_place_of(&old).build().unwrap();
    for (stack, limit, left) in [(&old, "5", "4"), (&new, "9", "7"), (&old, "5", "2")] {
        let headers = headers(stack, world.request("")).await;
        assert_eq!(headers["x-ratelimit-limit"], limit);
        assert_eq!(headers["x-ratelimit-remaining"], left);
    }
}

#[tokio::test]
async fn what_is_in_flight_on_the_old_one_has_its_place_on_the_new_one() {
    let world = World::new();
    let old = world.builder(60, 1).build().unwrap();
    let mut held = pin!(old.layer(service_fn(never)).oneshot(world.request("")));
    let is_pending = std::future::poll_fn(|cx| Poll::Ready(held.as_mut().poll(cx).is_pending()));
    assert!(is_pending.await);
    for (most, want) in [(1, 503), (2, 200)] {
        let new = world.builder(60, most).in_place_of(&old).build().unwrap();
        let answer = new.layer(service_fn(ok)).oneshot(world.request("")).await;
        assert_eq!(answer.unwrap().status(), want, "room for {most}");
    }
}

#[tokio::test]
async fn a_keyed_request_of_the_old_one_is_waited_for_and_replayed_by_the_new_one() {
    let world = World::new();
    let old = world.builder(60, 10).build().unwrap();
    let new = world.builder(60, 10).in_place_of(&old).build().unwrap();
    let begun = tokio::spawn(old.layer(service_fn(never)).oneshot(world.request("k1")));
    while new.tasks().running() == 0 {
        tokio::task::yield_now().await;
    }
    begun.abort();
    assert_eq!(new.drained(Duration::ZERO).await, 1);
    headers(&old, world.request("k2")).await;
    assert_eq!(
        headers(&new, world.request("k2")).await["idempotent-replayed"],
        "true"
    );
}

struct World {
    clock: ManualClock,
    store: memory::Store,
    keys: Keys,
    bearer: String,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_000_000));
        let key = ApiKey::mint("mk", "live", &SystemEntropy);
        let record = KeyRecord::of(&key, &Peppers::none(), "id", "acc").scopes(["*"]);
        Self {
            store: memory::Store::new(clock.shared()),
            keys: Keys::new([record.build()]).unwrap(),
            bearer: format!("Bearer {}", key.expose()),
            clock,
        }
    }

    fn builder(&self, limit: u32, in_flight: usize) -> ApiLayerBuilder<memory::Store, Keys> {
        ApiLayer::builder(self.store.clone(), self.keys.clone())
            .route("POST /v1/charges", Policy::authenticated().idempotent())
            .per_minute(limit)
            .in_flight(in_flight)
            .clock(self.clock.shared())
            .entropy(CountingEntropy::shared())
    }

    fn request(&self, key: &str) -> Sent {
        let mut request = Request::post("/v1/charges")
            .header("authorization", &self.bearer)
            .header("content-type", "application/json");
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        request.body(Full::from("{}")).unwrap()
    }
}

async fn headers(stack: &Stack, request: Sent) -> HeaderMap {
    let answer = stack.layer(service_fn(ok)).oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.headers().clone()
}

async fn ok(_: Got) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("ok")))
}

async fn never(_: Got) -> Result<Response<Full<Bytes>>, Infallible> {
    std::future::pending().await
}
