//! Contract §7: what holds while a store is down or full.

use harness::{Draft, Mounting, Setup, eventually};
use vestibule::testing::Fault;

use super::against_both_mountings;

against_both_mountings![
    a_claim_whose_reply_was_lost_is_taken_back,
    a_full_store_refuses_new_keys_and_goes_on_for_all_else,
    a_lost_key_store_is_503_and_never_401,
    a_lost_record_store_refuses_keyed_requests_and_executes_nothing,
    a_store_that_comes_back_needs_no_restart,
    an_outcome_that_could_not_be_kept_is_kept_later,
    one_caller_has_a_share_of_the_store,
    the_limit_goes_on_in_this_process_while_its_store_is_lost,
    public_routes_need_no_store,
];

async fn a_lost_key_store_is_503_and_never_401(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    api.keys.lose(true);
    for (key, want) in [
        ("full", "503 auth_store_unavailable"),
        ("unheard-of", "503 auth_store_unavailable"),
        ("revoked", "503 auth_store_unavailable"),
    ] {
        let reply = api.send(&Draft::get("/v1/charges/17").key(key)).await;
        assert_eq!(reply.verdict(), want, "{key}");
        assert_eq!(reply.error()["type"], "upstream_error", "{key}");
    }
    // What can be told offline is told.
    let malformed = Draft::get("/v1/charges/17").field("Authorization", "Bearer x");
    assert_eq!(api.send(&malformed).await.verdict(), "401 invalid_api_key");
    api.keys.lose(false);
    assert_eq!(
        api.send(&Draft::get("/v1/charges/17").key("full"))
            .await
            .status,
        200
    );
}

async fn the_limit_goes_on_in_this_process_while_its_store_is_lost(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("limited");
    for (fault, status, left) in [
        (None, 200, "4"),
        (None, 200, "3"),
        (Some(Fault::Refuses), 200, "2"),
        (Some(Fault::Hangs), 200, "1"),
        (Some(Fault::Refuses), 200, "0"),
        (Some(Fault::Refuses), 429, "0"),
    ] {
        match fault {
            Some(fault) => api.store.breaks(fault),
            None => api.store.heals(),
        }
        let reply = api.send(&draft).await;
        let found = (reply.status, reply.one("x-ratelimit-remaining"));
        assert_eq!(found, (status, left), "{fault:?}");
        assert_eq!(reply.one("x-ratelimit-reset"), "1795348861", "{fault:?}");
    }
}

async fn a_lost_record_store_refuses_keyed_requests_and_executes_nothing(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for fault in [Fault::Refuses, Fault::Hangs, Fault::LosesReplies] {
        api.store.breaks(fault);
        let keyed = Draft::post("/v1/charges").key("full").idempotency_key("k");
        let reply = api.send(&keyed).await;
        assert_eq!(
            reply.verdict(),
            "503 idempotency_store_unavailable",
            "{fault:?}"
        );
        assert_eq!(reply.one("retry-after"), "1", "{fault:?}");
        assert!(reply.has("x-ratelimit-limit"), "{fault:?}");
    }
    assert_eq!(api.origin.executions(), 0);
    let unkeyed = api.send(&Draft::post("/v1/charges").key("full")).await;
    assert_eq!(unkeyed.status, 200, "what is not keyed needs no record");
}

async fn a_claim_whose_reply_was_lost_is_taken_back(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    api.store.breaks(Fault::LosesReplies);
    assert_eq!(
        api.send(&draft).await.verdict(),
        "503 idempotency_store_unavailable"
    );
    assert_eq!(api.memory.records_held(), 1, "the claim went through");
    api.store.heals();
    eventually("the claim is released", || api.memory.records_held() == 0).await;
    assert_eq!(api.send(&draft).await.status, 200);
    assert_eq!(api.origin.executions(), 1);
}

async fn an_outcome_that_could_not_be_kept_is_kept_later(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let mut wire = api.wire().await;
    wire.send(
        &draft
            .clone()
            .origin("wait broken")
            .origin("status 201")
            .to_bytes(),
    )
    .await;
    api.origin.executes(1).await;
    api.store.breaks(Fault::Refuses);
    api.origin.open("broken");
    let harness::Answer::Reply(first) = wire.answer(false).await else {
        panic!("the real response is returned")
    };
    assert_eq!(first.status, 201);
    api.store.heals();
    let tasks = api.api().tasks().clone();
    eventually("the outcome is kept", || tasks.running() == 0).await;
    let second = api.send(&draft).await;
    assert_eq!(
        (second.status, second.one("idempotent-replayed")),
        (201, "true")
    );
    assert_eq!(second.body, first.body);
    assert_eq!(api.origin.executions(), 1);
}

async fn a_store_that_comes_back_needs_no_restart(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    api.store.breaks(Fault::Refuses);
    for _ in 0..10 {
        assert_eq!(api.send(&draft).await.status, 503);
    }
    assert!(
        api.api().store_is_cut_off(),
        "it is left alone after failures in a row"
    );
    api.store.heals();
    assert_eq!(
        api.send(&draft).await.status,
        503,
        "and asked again after a while"
    );
    api.advance(1);
    assert_eq!(
        api.send(&Draft::get("/v1/charges/17").key("full"))
            .await
            .status,
        200
    );
    assert_eq!(api.send(&draft).await.status, 200);
    assert!(!api.api().store_is_cut_off());
}

async fn a_full_store_refuses_new_keys_and_goes_on_for_all_else(mounting: Mounting) {
    let setup = Setup::new().store(|store| store.records(4));
    let api = setup.mount(mounting).await;
    for key in ["full", "default", "limited", "bound"] {
        let draft = Draft::post("/v1/charges").key(key).idempotency_key("k");
        api.send(&draft).await;
    }
    let draft = Draft::post("/v1/charges").key("old").idempotency_key("k");
    let refused = api.send(&draft).await;
    assert_eq!(refused.verdict(), "503 idempotency_store_full");
    assert!(refused.has("retry-after"));
    let replayed = api
        .send(&Draft::post("/v1/charges").key("full").idempotency_key("k"))
        .await;
    assert_eq!(
        replayed.one("idempotent-replayed"),
        "true",
        "live records are never evicted"
    );
    let unkeyed = api.send(&Draft::post("/v1/charges").key("old")).await;
    assert_eq!(unkeyed.status, 200);
    api.advance(24 * 3600);
    assert_eq!(
        api.send(&draft).await.verdict(),
        "200",
        "there is room once they are over"
    );
}

async fn one_caller_has_a_share_of_the_store(mounting: Mounting) {
    let setup = Setup::new().store(|store| store.records(8));
    let api = setup.mount(mounting).await;
    for (caller, key, want) in [
        ("full", "1", "200"),
        ("full", "2", "200"),
        ("full", "3", "503 idempotency_store_full"),
        ("default", "3", "200"),
    ] {
        let draft = Draft::post("/v1/charges").key(caller).idempotency_key(key);
        assert_eq!(api.send(&draft).await.verdict(), want, "{caller} {key}");
    }
}

async fn public_routes_need_no_store(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    api.store.breaks(Fault::Hangs);
    api.keys.lose(true);
    assert_eq!(api.send(&Draft::get("/healthz")).await.status, 200);
    let webhook = Draft::new("POST", "/webhooks/whatsapp").body("{}");
    assert_eq!(api.send(&webhook).await.status, 200);
}
