//! A Redis that comes back empty, and one whose answers are lost: what it saw of a claim.

use harness::{Draft, eventually};
use vestibule::testing::server::RedisServer;

use super::lossy::Loss;
use super::site::Site;

#[tokio::test]
async fn what_an_emptied_server_has_forgotten_is_lost_and_remembered_keys_go_on() {
    let server = RedisServer::start(&[]);
    let mut site = Site::open(server, Loss::Killed).await;
    site.create("full", |record| record.per_minute(9)).await;
    site.create("unheard", |record| record).await;
    let keyed = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let first = site.send(&keyed).await;
    assert_eq!(
        (first.status, first.one("x-ratelimit-remaining")),
        (200, "8")
    );
    site.store.lose();
    site.store.find_again();
    assert_eq!(site.store.server.cli(&["DBSIZE"]), "0");
    // The counter and the record of the execution are gone: a budget begins anew, and a
    // repetition is a first one.
    let second = site.until(&keyed, "200").await;
    assert!(!second.has("idempotent-replayed"));
    assert_eq!(site.origin.executions(), 2);
    assert_eq!(second.one("x-ratelimit-remaining"), "8");
    assert_eq!(site.send(&keyed).await.one("idempotent-replayed"), "true");
    let read = |key| Draft::get("/v1/charges/17").key(key);
    site.until(&read("unheard"), "401 invalid_api_key").await;
    assert_eq!(
        site.send(&read("full")).await.status,
        200,
        "it is remembered"
    );
    site.advance(61);
    let late = site.send(&read("full")).await;
    assert_eq!(
        late.verdict(),
        "401 invalid_api_key",
        "and then it is not known"
    );
    site.create("full", |record| record.per_minute(9)).await;
    assert_eq!(
        site.send(&read("full")).await.status,
        200,
        "once it is written again"
    );
}

#[tokio::test]
async fn a_claim_that_went_through_unheard_is_taken_back_at_the_server() {
    let mut site = Site::open(RedisServer::start(&[]), Loss::Unheard).await;
    site.create("full", |record| record).await;
    let read = Draft::get("/v1/charges/17").key("full");
    assert_eq!(site.send(&read).await.status, 200);
    site.store.lose();
    let claims = |site: &Site<RedisServer>| {
        let calls = site.store.server.cli(&["KEYS", "vestibule:record:*"]);
        calls.lines().filter(|line| !line.is_empty()).count()
    };
    let keyed = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let mut wire = site.wire().await;
    wire.send(&keyed.to_bytes()).await;
    eventually("the claim goes through", || claims(&site) == 1).await;
    let harness::Answer::Reply(reply) = wire.answer(false).await else {
        panic!("a claim that nobody hears of is answered");
    };
    assert_eq!(reply.verdict(), "503 idempotency_store_unavailable");
    eventually("it is taken back", || claims(&site) == 0).await;
    assert_eq!(site.origin.executions(), 1, "only what came before");
}
