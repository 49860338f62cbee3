//! The rows of the table: what a second request with the same key is answered.

use harness::{AGENT, Draft, Mounting, OTHER_AGENT, Setup};

use super::against_both_mountings;

against_both_mountings![
    a_day_after_the_first_has_finished_it_is_executed_anew,
    a_key_belongs_to_an_environment_and_a_family,
    a_key_is_taken_byte_for_byte,
    a_route_may_oblige_to_send_a_key,
    another_request_under_the_same_key_is_refused,
    everything_in_front_is_judged_again_on_a_replay,
    headers_are_no_part_of_what_makes_two_requests_the_same,
    only_a_post_is_keyed,
    the_first_answer_is_replayed,
];

async fn the_first_answer_is_replayed(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (path, status) in [
        ("/v1/charges", 201),
        ("/v1/whatsapp/messages", 202),
        ("/v1/charges", 500),
    ] {
        let draft = Draft::post(path)
            .key("full")
            .idempotency_key(&format!("{path} {status}"));
        let first = draft.clone().correlation_id("first");
        let first = first
            .origin(&format!("status {status}"))
            .origin("header Location: /v1/charges/17");
        let first = api.send(&first).await;
        assert!(!first.has("idempotent-replayed") && !first.has("x-original-correlation-id"));
        for id in ["second", "third"] {
            let again = api.send(&draft.clone().correlation_id(id)).await;
            assert_eq!((again.status, &again.body), (status, &first.body), "{path}");
            assert_eq!(again.one("idempotent-replayed"), "true", "{path}");
            assert_eq!(again.one("x-original-correlation-id"), "first", "{path}");
            assert_eq!(again.one("x-correlation-id"), id, "{path}");
            assert_eq!(again.one("location"), "/v1/charges/17", "{path}");
            assert_eq!(again.one("content-type"), "application/json", "{path}");
        }
    }
    assert_eq!(api.origin.executions(), 3);
}

async fn another_request_under_the_same_key_is_refused(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let first = || {
        Draft::post("/v1/charges?a=1")
            .key("full")
            .json(r#"{"a":1}"#)
    };
    let keyed = first().idempotency_key("k").correlation_id("first");
    assert_eq!(api.send(&keyed).await.status, 200);
    for (what, draft) in [
        ("body", first().json(r#"{"a":2}"#)),
        ("one space", first().json(r#"{"a": 1}"#)),
        ("no body", first().json("")),
        (
            "query",
            Draft::post("/v1/charges?a=2")
                .key("full")
                .json(r#"{"a":1}"#),
        ),
        (
            "no query",
            Draft::post("/v1/charges").key("full").json(r#"{"a":1}"#),
        ),
        (
            "path",
            Draft::post("/v1/keeping?a=1")
                .key("full")
                .json(r#"{"a":1}"#),
        ),
    ] {
        let reply = api.send(&draft.idempotency_key("k")).await;
        let want = "422 idempotency_key_in_use_with_different_params";
        assert_eq!(reply.verdict(), want, "{what}");
        assert_eq!(reply.error()["original_correlation_id"], "first", "{what}");
    }
    assert_eq!(api.origin.executions(), 1);
}

async fn headers_are_no_part_of_what_makes_two_requests_the_same(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = || {
        Draft::post("/v1/charges")
            .key("full")
            .idempotency_key("k")
            .json(r#"{"a":1}"#)
    };
    assert_eq!(api.send(&draft()).await.status, 200);
    for (what, again) in [
        (
            "media type",
            draft().only("Content-Type", "application/json; charset=utf-8"),
        ),
        ("agent", draft().field("User-Agent", "other")),
        ("host", draft().only("Host", "other.test")),
        ("framing", draft().chunked(3)),
        (
            "an empty query",
            Draft::post("/v1/charges?")
                .key("full")
                .idempotency_key("k")
                .json(r#"{"a":1}"#),
        ),
    ] {
        let reply = api.send(&again).await;
        assert_eq!(reply.one("idempotent-replayed"), "true", "{what}");
    }
    assert_eq!(api.origin.executions(), 1);
}

async fn a_key_is_taken_byte_for_byte(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let longest = "k".repeat(255);
    let different = [
        "k",
        "K",
        "\"k\"",
        "k k",
        "k  k",
        "{live:full}",
        "*",
        "k,k",
        "../k",
        "%6b",
        &longest,
    ];
    for key in different {
        let draft = Draft::post("/v1/charges").key("full").idempotency_key(key);
        let reply = api.send(&draft).await;
        assert_eq!(reply.one("idempotent-replayed"), "", "{key:?}");
        assert_eq!(api.origin.last().all("idempotency-key"), [key]);
    }
    for same in [" k", "k ", "\t k \t"] {
        let draft = Draft::post("/v1/charges").key("full").idempotency_key(same);
        assert_eq!(
            api.send(&draft).await.one("idempotent-replayed"),
            "true",
            "{same:?}"
        );
    }
    assert_eq!(api.origin.executions(), different.len());
}

async fn a_key_belongs_to_an_environment_and_a_family(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (key, replayed) in [
        ("old", ""),
        ("new", "true"),
        ("full", ""),
        ("sandbox@test", ""),
        ("default", ""),
        ("full", "true"),
    ] {
        let reply = api
            .send(&Draft::post("/v1/charges").key(key).idempotency_key("k"))
            .await;
        assert_eq!(
            (reply.status, reply.one("idempotent-replayed")),
            (200, replayed),
            "{key}"
        );
    }
}

async fn a_day_after_the_first_has_finished_it_is_executed_anew(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let mut wire = api.wire().await;
    wire.send(&draft.clone().origin("wait end").to_bytes())
        .await;
    api.origin.executes(1).await;
    // The day begins when the work ends.
    api.advance(5);
    api.origin.open("end");
    assert!(matches!(
        wire.answer(false).await,
        harness::Answer::Reply(_)
    ));
    api.advance(24 * 3600 - 1);
    assert_eq!(api.send(&draft).await.one("idempotent-replayed"), "true");
    api.advance(1);
    assert_eq!(api.send(&draft).await.one("idempotent-replayed"), "");
    assert_eq!(api.origin.executions(), 2);
}

async fn only_a_post_is_keyed(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (method, path) in [
        ("GET", "/v1/charges/17"),
        ("HEAD", "/v1/charges/17"),
        ("PUT", "/v1/charges/17"),
        ("POST", "/v1/unkeyed"),
    ] {
        let draft = || Draft::new(method, path).key("full").json("{}");
        for attempt in [
            draft().idempotency_key("k"),
            draft().idempotency_key("k"),
            draft().idempotency_key(""),
        ] {
            let reply = api.send(&attempt).await;
            assert_eq!(
                (reply.status, reply.one("idempotent-replayed")),
                (200, ""),
                "{method} {path}"
            );
        }
    }
    assert_eq!(
        (api.origin.executions(), api.memory.records_held()),
        (12, 0)
    );
}

async fn a_route_may_oblige_to_send_a_key(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/strict").key("full");
    assert_eq!(
        api.send(&draft).await.verdict(),
        "422 invalid_idempotency_key"
    );
    assert_eq!(api.send(&draft.idempotency_key("k")).await.status, 200);
}

async fn everything_in_front_is_judged_again_on_a_replay(mounting: Mounting) {
    let api = Setup::new()
        .key("few", |key| key.agents([AGENT]).per_minute(3))
        .mount(mounting)
        .await;
    let body = format!(r#"{{"agent_id":"{AGENT}"}}"#);
    let draft = Draft::post("/v1/agents")
        .key("few")
        .json(&body)
        .idempotency_key("k");
    assert_eq!(api.send(&draft).await.status, 200);
    assert_eq!(api.send(&draft).await.one("idempotent-replayed"), "true");
    let held = api.keys.keys().get("few").expect("the key is there");
    let moved = held.to_builder().agents([OTHER_AGENT]).build();
    api.keys
        .keys()
        .insert(moved)
        .expect("it replaces the other");
    assert_eq!(api.send(&draft).await.verdict(), "403 agent_not_authorized");
    assert_eq!(api.send(&draft).await.verdict(), "429 rate_limit_exceeded");
}
