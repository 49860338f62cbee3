//! The rows of contract §7 while a server is lost, and once it is back.

use std::time::Duration;

use harness::{Answer, Draft, Reply, eventually};
use vestibule::rate_limit::WhenLost;
use vestibule::testing::server::RedisServer;

use super::lossy::{Loss, Postgres, Server};
use super::site::{Builder, Site};

/// Runs each case at one kind of server, with the kind in the name of the test.
macro_rules! at {
    ($kind:ident: $server:ident, $($case:ident),* $(,)?) => {
        mod $kind {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case::<super::$server>().await;
                }
            )*
        }
    };
}

at![
    redis: RedisServer,
    a_remembered_key_goes_on_and_any_other_is_503_and_never_401,
    a_limit_goes_on_from_the_last_count_and_refuses_nobody_wrongly,
    a_limit_that_is_not_to_be_counted_here_refuses_all,
    without_a_claim_nothing_is_executed_and_the_key_is_free_once_the_store_is_back,
    a_response_is_returned_at_once_and_kept_once_the_store_is_back,
    a_response_that_could_not_be_kept_in_time_leaves_its_outcome_unknown,
];

at![
    postgres: Postgres,
    a_remembered_key_goes_on_and_any_other_is_503_and_never_401,
    without_a_claim_nothing_is_executed_and_the_key_is_free_once_the_store_is_back,
    a_response_is_returned_at_once_and_kept_once_the_store_is_back,
    a_response_that_could_not_be_kept_in_time_leaves_its_outcome_unknown,
];

async fn a_remembered_key_goes_on_and_any_other_is_503_and_never_401<S: Server>() {
    let mut server = S::start();
    for loss in Loss::ALL {
        let mut site = Site::open(server, loss).await;
        let ends = site.now() + Duration::from_secs(30);
        site.create("remembered", |record| record).await;
        site.create("ending", |record| record.expires(ends)).await;
        site.create("unheard", |record| record).await;
        for key in ["remembered", "ending"] {
            site.until(&read(key), "200").await;
        }
        site.store.lose();
        for key in ["remembered", "ending"] {
            assert_eq!(site.send(&read(key)).await.status, 200, "{loss:?} {key}");
        }
        let mut fastest = Duration::MAX;
        for key in ["unheard", "nobody's", "unheard"] {
            let (reply, took) = site.timed(&read(key)).await;
            assert_eq!(reply.verdict(), UNCHECKED, "{loss:?} {key}");
            assert_eq!(reply.one("retry-after"), "1", "{loss:?} {key}");
            fastest = fastest.min(took);
        }
        assert!(fastest < 5 * LOOKED_UP, "{loss:?}: {fastest:?}");
        site.advance(31);
        let ended = site.send(&read("ending")).await;
        assert_eq!(
            ended.verdict(),
            UNCHECKED,
            "{loss:?}: it may have been prolonged"
        );
        site.advance(28);
        assert_eq!(site.send(&read("remembered")).await.status, 200, "{loss:?}");
        site.advance(2);
        let late = site.send(&read("remembered")).await;
        assert_eq!(late.verdict(), UNCHECKED, "{loss:?}");
        site.store.find_again();
        for key in ["remembered", "unheard"] {
            site.until(&read(key), "200").await;
        }
        site.until(&read("nobody's"), "401 invalid_api_key").await;
        server = site.store.into_server();
    }
}

async fn a_limit_goes_on_from_the_last_count_and_refuses_nobody_wrongly<S: Server>() {
    let mut server = S::start();
    for loss in Loss::ALL {
        let mut site = Site::open(server, loss).await;
        site.create("limited", |record| record.per_minute(5)).await;
        site.create("free", |record| record).await;
        let first = site.send(&read("limited")).await;
        assert_eq!(told(&first), (200, "4"), "{loss:?}");
        site.store.lose();
        let mut fastest = Duration::MAX;
        for want in [(200, "3"), (200, "2"), (200, "1"), (200, "0"), (429, "0")] {
            let (reply, took) = site.timed(&read("limited")).await;
            assert_eq!(told(&reply), want, "{loss:?}");
            let reset = reply.one("x-ratelimit-reset");
            assert_eq!(reset, first.one("x-ratelimit-reset"), "{loss:?}");
            fastest = fastest.min(took);
        }
        assert!(fastest < 5 * COUNTED, "{loss:?}: {fastest:?}");
        site.store.find_again();
        site.until(&read("free"), "200").await;
        server = site.store.into_server();
    }
}

async fn a_limit_that_is_not_to_be_counted_here_refuses_all<S: Server>() {
    let refuse = |api: Builder<S>| api.when_limits_lost(WhenLost::Refuse);
    let mut site = Site::<S>::with(S::start(), Loss::Frozen, refuse).await;
    site.create("full", |record| record).await;
    site.until(&read("full"), "200").await;
    site.store.lose();
    let refused = site.send(&read("full")).await;
    assert_eq!(refused.verdict(), "503 overloaded");
    assert!(refused.has("retry-after"));
    site.store.find_again();
    site.until(&read("full"), "200").await;
}

async fn without_a_claim_nothing_is_executed_and_the_key_is_free_once_the_store_is_back<
    S: Server,
>() {
    let mut server = S::start();
    for loss in Loss::ALL {
        let mut site = Site::open(server, loss).await;
        site.create("full", |record| record).await;
        site.until(&read("full"), "200").await;
        site.store.lose();
        let mut fastest = Duration::MAX;
        for key in ["a", "b", "c"] {
            let (reply, took) = site.timed(&charge(key)).await;
            assert_eq!(reply.verdict(), UNCLAIMED, "{loss:?} {key}");
            assert_eq!(reply.one("retry-after"), "1", "{loss:?} {key}");
            assert!(reply.has("x-ratelimit-remaining"), "{loss:?} {key}");
            fastest = fastest.min(took);
        }
        assert!(fastest < 5 * CLAIMED, "{loss:?}: {fastest:?}");
        let before = site.origin.executions();
        assert_eq!(before, 1, "{loss:?}: only what came before");
        site.store.find_again();
        // The lease of a claim that stayed would hold for longer than this waits.
        for (executed, key) in ["a", "b", "c"].into_iter().enumerate() {
            let reply = site.until(&charge(key), "200").await;
            assert!(!reply.has("idempotent-replayed"), "{loss:?} {key}");
            assert_eq!(site.origin.executions(), executed + 2, "{loss:?} {key}");
        }
        server = site.store.into_server();
    }
}

async fn a_response_is_returned_at_once_and_kept_once_the_store_is_back<S: Server>() {
    let mut server = S::start();
    for loss in Loss::ALL {
        let mut site = Site::open(server, loss).await;
        site.create("full", |record| record).await;
        let first = lost_at_its_end(&mut site).await;
        assert_eq!(first.status, 201, "{loss:?}: the real response is returned");
        site.store.find_again();
        let again = site.until(&charge("k"), "201").await;
        assert_eq!(again.one("idempotent-replayed"), "true", "{loss:?}");
        assert_eq!(again.body, first.body, "{loss:?}");
        assert_eq!(site.origin.executions(), 1, "{loss:?}");
        let tasks = site.api.tasks().clone();
        eventually("nothing is repeated", || tasks.running() == 0).await;
        server = site.store.into_server();
    }
}

async fn a_response_that_could_not_be_kept_in_time_leaves_its_outcome_unknown<S: Server>() {
    // What was sent to a server that stands still arrives in the end, and is kept; only with
    // a server that dies the response is lost.
    let lease = Duration::from_secs(1);
    let site = Site::<S>::with(S::start(), Loss::Killed, |api| api.lease(lease, lease / 4));
    let mut site = site.await;
    site.create("full", |record| record).await;
    let first = lost_at_its_end(&mut site).await;
    assert_eq!(first.status, 201, "the real response is returned");
    let tasks = site.api.tasks().clone();
    eventually("it is given up", || tasks.running() == 0).await;
    site.store.find_again();
    site.until(&charge("k"), "409 idempotency_outcome_unknown")
        .await;
    assert_eq!(site.origin.executions(), 1);
}

/// Sends a request and loses the store while it is executed: the answer to it.
async fn lost_at_its_end<S: Server>(site: &mut Site<S>) -> Reply {
    let waiting = charge("k").origin("wait lost").origin("status 201");
    let mut wire = loop {
        let mut wire = site.wire().await;
        wire.send(&waiting.to_bytes()).await;
        tokio::select! {
            () = site.origin.executes(1) => break wire,
            // A slow disk let the deadline of the claim pass.
            _refused = wire.answer(false) => tokio::time::sleep(CLAIMED).await,
        }
    };
    site.store.lose();
    site.origin.open("lost");
    match wire.answer(false).await {
        Answer::Reply(reply) => reply,
        other => panic!("no reply but {other:?}"),
    }
}

fn read(key: &str) -> Draft {
    Draft::get("/v1/charges/17").key(key)
}

fn charge(key: &str) -> Draft {
    Draft::post("/v1/charges").key("full").idempotency_key(key)
}

fn told(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.one("x-ratelimit-remaining"))
}

const UNCHECKED: &str = "503 auth_store_unavailable";
const UNCLAIMED: &str = "503 idempotency_store_unavailable";

/// The deadlines of contract §7. Of some requests the fastest is held to five times that: a
/// busy machine delays one of them, and not each.
const LOOKED_UP: Duration = Duration::from_millis(100);
const COUNTED: Duration = Duration::from_millis(50);
const CLAIMED: Duration = Duration::from_millis(200);
