//! What is kept of a response, and when it is too much.

use harness::{Draft, Mounting, Setup};
use http::HeaderName;

use super::against_both_mountings;

against_both_mountings![
    a_response_up_to_the_cap_is_kept,
    a_response_that_does_not_end_is_passed_on_and_not_kept,
    a_response_that_is_too_long_is_passed_on_and_not_kept,
    headers_worth_repeating_are_kept,
    other_headers_are_kept_where_they_are_named,
];

async fn headers_worth_repeating_are_kept(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let (first, again) = answered_twice(&api).await;
    for (name, kept) in [
        ("content-type", true),
        ("location", true),
        ("content-language", true),
        ("set-cookie", false),
        ("x-custom", false),
        ("etag", false),
    ] {
        assert!(first.has(name), "{name}");
        assert_eq!(
            again.all(name),
            if kept { first.all(name) } else { vec![] },
            "{name}"
        );
    }
    assert_eq!(
        again.all("content-language"),
        ["de", "en"],
        "repeated ones stay repeated"
    );
    assert_eq!(again.one("x-correlation-id"), "second");
    assert_ne!(
        again.one("x-ratelimit-remaining"),
        first.one("x-ratelimit-remaining")
    );
}

async fn other_headers_are_kept_where_they_are_named(mounting: Mounting) {
    let names = [
        HeaderName::from_static("x-custom"),
        HeaderName::from_static("x-ratelimit-limit"),
    ];
    let api = Setup::new()
        .layers(move |api| api.kept_headers(names))
        .mount(mounting)
        .await;
    let (first, again) = answered_twice(&api).await;
    assert_eq!(again.all("x-custom"), first.all("x-custom"));
    assert_eq!(
        again.all("x-ratelimit-limit").len(),
        1,
        "reserved ones are the layers' own"
    );
}

async fn a_response_up_to_the_cap_is_kept(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for instruction in ["bytes 262144", "stream 262144", "bytes 0", "status 204"] {
        let draft = Draft::post("/v1/charges")
            .key("full")
            .idempotency_key(instruction);
        let first = api.send(&draft.clone().origin(instruction)).await;
        let again = api.send(&draft).await;
        assert_eq!(again.one("idempotent-replayed"), "true", "{instruction}");
        assert_eq!(
            (again.status, again.body),
            (first.status, first.body),
            "{instruction}"
        );
    }
}

async fn a_response_that_is_too_long_is_passed_on_and_not_kept(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (instruction, length) in [("bytes 262145", 262_145), ("stream 300000", 300_000)] {
        let draft = Draft::post("/v1/charges")
            .key("full")
            .idempotency_key(instruction);
        let first = api
            .send(&draft.clone().correlation_id("first").origin(instruction))
            .await;
        assert_eq!(
            (first.status, first.body.len(), first.is_whole),
            (200, length, true)
        );
        let again = api.send(&draft).await;
        assert_eq!(
            again.verdict(),
            "409 idempotency_response_not_stored",
            "{instruction}"
        );
        assert_eq!(
            again.error()["original_correlation_id"],
            "first",
            "{instruction}"
        );
    }
    assert_eq!(api.origin.executions(), 2);
}

async fn a_response_that_does_not_end_is_passed_on_and_not_kept(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (key, media_type) in [
        ("events", "text/event-stream; charset=utf-8"),
        ("slow", "text/plain"),
    ] {
        let draft = Draft::post("/v1/charges").key("full").idempotency_key(key);
        let first = draft.clone().origin("endless");
        let first = first.origin(&format!("header Content-Type: {media_type}"));
        let mut wire = api.wire().await;
        wire.send(&first.to_bytes()).await;
        let begun = wire.read_until(b"\r\n\r\n1\r\nx").await;
        assert!(
            begun,
            "{key}: head and first byte arrive though the end does not"
        );
        let again = api.send(&draft).await;
        assert_eq!(
            again.verdict(),
            "409 idempotency_response_not_stored",
            "{key}"
        );
        wire.cut();
    }
    assert_eq!(api.origin.executions(), 2);
}

async fn answered_twice(api: &harness::Mounted) -> (harness::Reply, harness::Reply) {
    let draft = Draft::post("/v1/charges").key("full").idempotency_key("k");
    let mut first = draft.clone().correlation_id("first");
    for header in [
        "Content-Type: text/odd",
        "Location: /v1/charges/17",
        "Content-Language: de",
        "Content-Language: en",
        "Set-Cookie: a=1",
        "ETag: \"1\"",
        "X-Custom: 1",
        "X-Custom: 2",
        "X-Correlation-ID: theirs",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT",
    ] {
        first = first.origin(&format!("header {header}"));
    }
    let first = api.send(&first).await;
    (first, api.send(&draft.correlation_id("second")).await)
}
