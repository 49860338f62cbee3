//! Rules of the limit as a layer of its own, with its store and without.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::header::RETRY_AFTER;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::clock::Timestamp;
use crate::header::{
    RATELIMIT, RATELIMIT_POLICY, X_RATELIMIT_LIMIT, X_RATELIMIT_REMAINING, X_RATELIMIT_RESET,
};
use crate::memory;
use crate::principal::{Caller, Principal};
use crate::rate_limit::{Quota, RateLimitLayer, WhenLost};
use crate::testing::{Fault, FaultyStore, TimerClock};

#[tokio::test(start_paused = true)]
async fn every_response_tells_the_budget_and_a_refused_one_never_reaches_the_handler() {
    let world = World::new(Quota::per_minute(2));
    for (status, remaining) in [(200, "1"), (200, "0"), (429, "0"), (429, "0")] {
        let response = world.send(Some(principal("a"))).await;
        let headers = response.headers();
        assert_eq!(response.status(), status);
        assert_eq!(headers[X_RATELIMIT_LIMIT], "2");
        assert_eq!(headers[X_RATELIMIT_REMAINING], remaining);
        assert_eq!(headers[X_RATELIMIT_RESET], "1060");
        assert_eq!(headers.contains_key(RETRY_AFTER), status == 429);
    }
    assert_eq!(world.executed(), 2);
    assert_eq!(world.send(Some(principal("b"))).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_fields_of_the_draft_agree_with_ours() {
    let mut world = World::new(Quota::per_minute(9));
    let response = world.send(Some(principal("a"))).await;
    assert!(!response.headers().contains_key(RATELIMIT));
    world.layer = world.layer.ietf_fields();
    sleep(Duration::from_millis(1_500)).await;
    let response = world.send(Some(principal("a"))).await;
    let headers = response.headers();
    assert_eq!(headers[RATELIMIT_POLICY], "\"default\";q=9;w=60");
    assert_eq!(headers[RATELIMIT], "\"default\";r=7;t=59");
    assert_eq!(headers[X_RATELIMIT_REMAINING], "7");
}

#[tokio::test(start_paused = true)]
async fn who_waits_as_long_as_he_is_told_passes() {
    for quota in [
        Quota::per_minute(1),
        Quota::per_minute(1).with_burst(1),
        Quota::new(1, Duration::from_millis(1_500)),
    ] {
        let world = World::new(quota);
        world.send(Some(principal("a"))).await;
        sleep(Duration::from_millis(700)).await;
        let refused = world.send(Some(principal("a"))).await;
        let wait = refused.headers()[RETRY_AFTER].to_str().unwrap();
        sleep(Duration::from_secs(wait.parse().unwrap())).await;
        let again = world.send(Some(principal("a"))).await;
        assert_eq!(again.status(), 200, "{quota:?} {wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_and_the_burst_of_the_caller_go_before_the_default() {
    let own = Principal::builder("account", "a").per_minute(600).burst(2);
    let own = own.build();
    for (quota, limit, passed) in [
        (Quota::per_minute(60), "600", 600),
        (Quota::per_minute(60).with_burst(1), "600", 2),
    ] {
        let world = World::new(quota);
        for _ in 0..610 {
            let response = world.send(Some(own.clone())).await;
            assert_eq!(response.headers()[X_RATELIMIT_LIMIT], limit);
        }
        assert_eq!(world.executed(), passed, "{quota:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_known_is_not_limited_unless_there_is_something_else_to_count_by() {
    let world = World::new(Quota::per_minute(1));
    for _ in 0..3 {
        let response = world.send(None).await;
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key(X_RATELIMIT_LIMIT));
    }
    let by_path = |parts: &http::request::Parts| Some(Caller::new("path", parts.uri.path()));
    let world = World {
        layer: world.layer.clone().key_by(by_path),
        ..world
    };
    assert_eq!(world.send(None).await.status(), 200);
    assert_eq!(world.send(Some(principal("a"))).await.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_lost_store_costs_50_ms_and_neither_the_count_nor_the_window() {
    for quota in [Quota::per_minute(4), Quota::per_minute(4).with_burst(4)] {
        for fault in [Fault::Refuses, Fault::Hangs, Fault::LosesReplies] {
            let world = World::new(quota);
            world.send(Some(principal("a"))).await;
            world.send(Some(principal("a"))).await;
            world.store.breaks(fault);
            let sent = Instant::now();
            let third = world.send(Some(principal("a"))).await;
            let longest = Duration::from_millis(if fault == Fault::Hangs { 50 } else { 0 });
            assert_eq!(sent.elapsed(), longest, "{fault:?}");
            assert_eq!(third.headers()[X_RATELIMIT_REMAINING], "1", "{fault:?}");
            world.send(Some(principal("a"))).await;
            let refused = world.send(Some(principal("a"))).await;
            assert_eq!(refused.status(), 429, "{fault:?} {quota:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_never_seen_has_the_full_limit_while_the_store_is_lost() {
    let world = World::new(Quota::per_minute(2));
    world.store.breaks(Fault::Refuses);
    for status in [200, 200, 429] {
        assert_eq!(world.send(Some(principal("a"))).await.status(), status);
    }
    world.store.heals();
    sleep(Duration::from_millis(500)).await;
    let back = world.send(Some(principal("a"))).await;
    assert_eq!(back.status(), 200, "the store counts again");
}

#[tokio::test(start_paused = true)]
async fn what_holds_without_the_store_can_be_chosen() {
    let third = WhenLost::Share(NonZeroU32::new(3).unwrap());
    for (when_lost, limit, passed) in [
        (WhenLost::Count, "5", 5),
        (third, "2", 2),
        (WhenLost::Refuse, "", 0),
    ] {
        let world = World::new(Quota::per_minute(5));
        world.store.breaks(Fault::Refuses);
        let layer = world.layer.clone().when_lost(when_lost);
        let world = World { layer, ..world };
        for _ in 0..6 {
            let response = world.send(Some(principal("a"))).await;
            let told = response.headers().get(X_RATELIMIT_LIMIT);
            assert_eq!(told.map_or("", |value| value.to_str().unwrap()), limit);
            let refused = if when_lost == WhenLost::Refuse {
                503
            } else {
                429
            };
            assert!(response.status() == 200 || response.status() == refused);
        }
        assert_eq!(world.executed(), passed, "{when_lost:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_for_whom_there_is_no_room_is_told_so() {
    let clock = TimerClock::at(Timestamp::from_unix_seconds(1_000));
    let store = memory::Store::new(clock.shared()).callers(1);
    let layer = RateLimitLayer::with_clock(store, Quota::per_minute(1), clock.shared());
    for (name, status) in [("a", 200), ("b", 503), ("a", 429)] {
        let inner = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
        let response = layer.layer(inner).oneshot(request(Some(principal(name))));
        assert_eq!(response.await.unwrap().status(), status, "{name}");
    }
}

/// A handler behind the layer, over a store that can be broken.
struct World {
    store: FaultyStore<memory::Store>,
    layer: RateLimitLayer<FaultyStore<memory::Store>>,
    executed: Arc<AtomicUsize>,
}

impl World {
    fn new(quota: Quota) -> Self {
        let clock = TimerClock::at(Timestamp::from_unix_seconds(1_000));
        let store = FaultyStore::new(memory::Store::new(clock.shared()));
        let layer = RateLimitLayer::with_clock(store.clone(), quota, clock.shared());
        Self {
            store,
            layer,
            executed: Arc::default(),
        }
    }

    async fn send(&self, principal: Option<Principal>) -> Response<Body<()>> {
        let executed = Arc::clone(&self.executed);
        let inner = service_fn(move |_: Request<()>| {
            executed.fetch_add(1, Ordering::AcqRel);
            async { Ok::<_, Infallible>(Response::new(())) }
        });
        let service = self.layer.layer(inner);
        service.oneshot(request(principal)).await.unwrap()
    }

    fn executed(&self) -> usize {
        self.executed.load(Ordering::Acquire)
    }
}

fn principal(family: &str) -> Principal {
    Principal::builder("account", family).build()
}

fn request(principal: Option<Principal>) -> Request<()> {
    let mut request = Request::new(());
    if let Some(principal) = principal {
        request.extensions_mut().insert(principal);
    }
    request
}
