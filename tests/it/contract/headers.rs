//! Contract §2: what headers mean, in either direction.

use harness::{Draft, Mounted, Mounting, Setup, token};

use super::against_both_mountings;

against_both_mountings![
    answers_under_v1_are_not_to_be_stored_by_caches,
    credentials_come_once_under_a_scheme_in_any_case,
    every_answer_carries_the_correlation_id,
    every_answer_after_authentication_tells_the_budget,
    only_the_layers_speak_under_reserved_names,
    other_headers_pass_in_both_directions,
    retry_after_is_told_where_waiting_helps,
    the_challenge_tells_what_is_missing,
    the_upstream_learns_who_is_calling_and_never_the_key,
];

async fn credentials_come_once_under_a_scheme_in_any_case(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let key = token("full");
    for (value, want) in [
        (format!("Bearer {key}"), 200),
        (format!("bearer {key}"), 200),
        (format!("BEARER   {key}"), 200),
        (format!("Basic {key}"), 401),
        (format!("Bearer{key}"), 401),
        (format!("Bearer {key} x"), 401),
        (key.clone(), 401),
        ("Bearer".to_owned(), 401),
        (String::new(), 401),
    ] {
        let draft = Draft::get("/v1/charges/17").field("Authorization", &value);
        assert_eq!(api.send(&draft).await.status, want, "{value:?}");
    }
    let twice = Draft::get("/v1/charges/17").key("full");
    let twice = twice.field("Authorization", &format!("Bearer {key}"));
    assert_eq!(api.send(&twice).await.verdict(), "401 invalid_api_key");
}

async fn every_answer_carries_the_correlation_id(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (what, draft) in answers() {
        let taken = api
            .send(&draft.clone().correlation_id("mine:1.a_b-c"))
            .await;
        assert_eq!(taken.one("x-correlation-id"), "mine:1.a_b-c", "{what}");
        let minted = api.send(&draft).await;
        let id = minted.one("x-correlation-id");
        assert!(id.starts_with("req_") && id.len() == 30, "{what}: {id}");
        for reply in [taken, minted] {
            if !reply.error().is_null() {
                let named = &reply.error()["correlation_id"];
                assert_eq!(named, reply.one("x-correlation-id"), "{what}");
            }
        }
    }
}

async fn every_answer_after_authentication_tells_the_budget(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (what, draft) in answers() {
        let reply = api.send(&draft).await;
        let expected = !what.starts_with("no key") && !what.starts_with("public");
        for name in [
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
        ] {
            let value = reply.one(name);
            assert_eq!(
                value.parse::<u64>().is_ok(),
                expected,
                "{what} {name}: {value:?}"
            );
        }
    }
}

async fn answers_under_v1_are_not_to_be_stored_by_caches(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (what, draft) in answers() {
        let draft = draft.origin("header Cache-Control: public, max-age=60");
        let reply = api.send(&draft).await;
        if what.starts_with("public") {
            assert_eq!(reply.one("cache-control"), "public, max-age=60", "{what}");
        } else {
            assert_eq!(reply.one("cache-control"), "no-store", "{what}");
        }
    }
}

async fn retry_after_is_told_where_waiting_helps(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let spent = Draft::get("/v1/charges/17").key("limited");
    for _ in 0..5 {
        assert!(!api.send(&spent).await.has("retry-after"));
    }
    assert_eq!(api.send(&spent).await.one("retry-after"), "60");
    api.clock.advance(std::time::Duration::from_millis(59_001));
    assert_eq!(api.send(&spent).await.one("retry-after"), "1");

    let running = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let mut first = api.wire().await;
    first
        .send(&running.clone().origin("wait end").to_bytes())
        .await;
    api.origin.executes(6).await;
    let second = api.send(&running).await;
    assert_eq!(second.verdict(), "409 idempotency_key_in_progress");
    assert_eq!(second.one("retry-after"), "1");
    api.origin.open("end");

    api.keys.lose(true);
    let lost = api.send(&spent).await;
    assert_eq!(lost.verdict(), "503 auth_store_unavailable");
    assert_eq!(lost.one("retry-after"), "1");
}

async fn the_challenge_tells_what_is_missing(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let at = Draft::post("/v1/charges");
    for (draft, want) in [
        (at.clone(), "Bearer"),
        (
            at.clone().field("Authorization", "Basic x"),
            "Bearer error=\"invalid_token\"",
        ),
        (
            at.clone().key("unheard-of"),
            "Bearer error=\"invalid_token\"",
        ),
        (at.clone().key("revoked"), "Bearer error=\"invalid_token\""),
        (
            at.clone().key("narrow"),
            "Bearer error=\"insufficient_scope\", scope=\"charges:write\"",
        ),
        (at.key("full"), ""),
    ] {
        let reply = api.send(&draft).await;
        assert_eq!(reply.one("www-authenticate"), want, "{}", reply.verdict());
    }
}

async fn only_the_layers_speak_under_reserved_names(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for path in [
        "/v1/charges",
        "/v1/whatsapp/messages",
        "/v1/unkeyed",
        "/webhooks/whatsapp",
    ] {
        let mut draft = Draft::post(path).key("full").correlation_id("mine");
        for name in RESERVED {
            draft = draft
                .field(name, "forged")
                .origin(&format!("header {name}: forged"));
        }
        let reply = api.send(&draft).await;
        assert_eq!(reply.status, 200, "{path}");
        let received = api.origin.last();
        for name in RESERVED {
            assert!(
                !received.all(name).contains(&"forged".to_owned()),
                "in: {path} {name}"
            );
            assert!(!reply.all(name).contains(&"forged"), "out: {path} {name}");
        }
    }
}

async fn other_headers_pass_in_both_directions(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::get("/v1/charges/17").key("full");
    let draft = draft
        .field("X-Custom", "a")
        .field("X-Custom", "b")
        .field("x_under_score", "c");
    let draft = draft
        .origin("header X-Answer: 1")
        .origin("header X-Answer: 2");
    let reply = api.send(&draft.origin("header X-Rate-Limit: theirs")).await;
    let received = api.origin.last();
    assert_eq!(received.all("x-custom"), ["a", "b"]);
    assert_eq!(received.all("x_under_score"), ["c"]);
    assert_eq!(reply.all("x-answer"), ["1", "2"]);
    assert_eq!(reply.one("x-rate-limit"), "theirs");
}

async fn the_upstream_learns_who_is_calling_and_never_the_key(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let draft = Draft::post("/v1/charges")
        .key("full")
        .correlation_id("mine");
    let draft = draft
        .field("X-Api-Key", "theirs")
        .idempotency_key("\"k 1\"");
    // A client cannot have the layers' word taken away on the way.
    let draft = draft.field("Connection", "Vestibule-Identity, X-Correlation-ID");
    assert_eq!(api.send(&draft).await.status, 200);
    let received = api.origin.last();
    assert!(received.all("authorization").is_empty());
    let key = token("full");
    assert!(!format!("{:?}", received.headers).contains(&key));
    assert_eq!(received.all("x-correlation-id"), ["mine"]);
    assert_eq!(received.all("idempotency-key"), ["\"k 1\""]);
    told(&api);
}

/// In process the caller is in the extensions; behind the sidecar it is asserted.
fn told(api: &Mounted) {
    let received = api.origin.last();
    let assertions = received.all("vestibule-identity");
    if api.is_in_process() {
        let principal = received.principal.expect("a caller is known");
        assert_eq!((principal.key_id(), principal.account()), ("full", "acc_1"));
        assert_eq!(
            received.claim.expect("a key was claimed").idempotency_key,
            "\"k 1\""
        );
        assert_eq!(
            received.correlation_id.expect("an id is known").as_str(),
            "mine"
        );
        assert!(assertions.is_empty());
        return;
    }
    let [assertion] = &assertions[..] else {
        panic!("one assertion: {assertions:?}")
    };
    let asserted = api.verify(assertion, &received);
    assert_eq!(asserted.principal.key_id(), "full");
    assert_eq!(asserted.correlation_id.as_str(), "mine");
    let claim = asserted.claim.expect("a key was claimed");
    assert_eq!(claim.idempotency_key, "\"k 1\"");
}

/// A request for each kind of answer, and what makes the answer.
fn answers() -> Vec<(&'static str, Draft)> {
    let post = || Draft::post("/v1/charges").key("full");
    vec![
        ("no key", Draft::post("/v1/charges")),
        ("no key, no route", Draft::get("/v1/nowhere")),
        ("public", Draft::get("/healthz")),
        ("200", post()),
        ("201", post().origin("status 201")),
        ("streamed", post().origin("stream 100000")),
        ("replayed", post().idempotency_key("k")),
        ("replayed", post().idempotency_key("k")),
        ("other request", post().idempotency_key("k").json("[1]")),
        ("bad idempotency key", post().idempotency_key("")),
        ("bound to other agents", bound()),
        ("scope", post().key("narrow")),
        ("404", Draft::get("/v1/nowhere").key("full")),
        ("405", Draft::new("DELETE", "/v1/charges").key("full")),
        ("413", post().body(vec![b' '; (1 << 20) + 1])),
        ("415", post().only("Content-Type", "text/plain")),
        ("500 of the upstream", post().origin("status 500")),
        (
            "deadline",
            Draft::post("/v1/brief").key("full").origin("never"),
        ),
        (
            "deadline",
            Draft::post("/v1/brief")
                .key("full")
                .idempotency_key("n")
                .origin("never"),
        ),
        (
            "unknown",
            Draft::post("/v1/brief").key("full").idempotency_key("n"),
        ),
        ("panic", post().origin("panic")),
        ("panic", post().origin("panic").idempotency_key("p")),
        ("unknown", post().idempotency_key("p")),
    ]
}

fn bound() -> Draft {
    let body = format!(r#"{{"agent_id":"{}"}}"#, harness::OTHER_AGENT);
    let draft = Draft::post("/v1/whatsapp/messages").key("bound");
    draft.json(&body).idempotency_key("a")
}

/// Names that only the layers may set.
const RESERVED: [&str; 8] = [
    "Idempotent-Replayed",
    "X-Original-Correlation-ID",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-RateLimit-Policy",
    "Vestibule-Identity",
    "Vestibule-Anything",
];
