//! Contract §1: which endpoints there are, and what is no endpoint.

use harness::{Draft, Mounting, Setup};

use super::against_both_mountings;

against_both_mountings![
    a_body_of_unknown_length_is_held_to_the_cap,
    a_declared_length_is_held_to_the_cap,
    a_known_path_with_another_method_is_405_and_says_which_it_has,
    an_ambiguous_path_matches_no_route,
    an_answer_of_the_upstream_passes_unchanged,
    an_unknown_path_is_404_for_those_who_have_a_key,
    every_endpoint_reaches_the_upstream,
    head_is_answered_like_get,
    only_json_is_taken_on_post,
    public_routes_keep_raw_bytes_and_have_their_own_cap,
    public_routes_take_no_key,
];

async fn every_endpoint_reaches_the_upstream(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (method, path, status) in [
        ("POST", "/v1/whatsapp/messages", 202),
        ("POST", "/v1/whatsapp/templates", 202),
        ("GET", "/v1/whatsapp/messages/17", 200),
        ("GET", "/v1/whatsapp/messages/17?a=b%20c&d", 200),
    ] {
        let draft = Draft::new(method, path).key("full").json("{}");
        let reply = api.send(&draft.origin(&format!("status {status}"))).await;
        assert_eq!(reply.status, status, "{method} {path}");
        let received = api.origin.last();
        assert_eq!((&*received.method, &*received.target), (method, path));
    }
}

async fn an_unknown_path_is_404_for_those_who_have_a_key(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for path in [
        "/v1/nowhere",
        "/v1/whatsapp",
        "/v1/whatsapp/messages/",
        "/",
        "/v2/whatsapp/messages",
    ] {
        let without = api.send(&Draft::get(path)).await;
        assert_eq!(without.verdict(), "401 invalid_api_key", "{path}");
        let with = api.send(&Draft::get(path).key("full")).await;
        assert_eq!(with.verdict(), "404 endpoint_not_found", "{path}");
    }
    assert_eq!(api.origin.executions(), 0);
}

async fn a_known_path_with_another_method_is_405_and_says_which_it_has(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (method, path, allow) in [
        ("GET", "/v1/whatsapp/messages", "POST"),
        ("OPTIONS", "/v1/whatsapp/messages", "POST"),
        ("HEAD", "/v1/whatsapp/messages", "POST"),
        ("PURGE", "/v1/whatsapp/templates", "POST"),
        ("TRACE", "/v1/whatsapp/templates", "POST"),
        ("DELETE", "/v1/whatsapp/messages/17", "GET, HEAD"),
        ("OPTIONS", "/v1/charges/17", "GET, PUT, HEAD"),
    ] {
        let reply = api.send(&Draft::new(method, path).key("full")).await;
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(reply.one("allow"), allow, "{method} {path}");
        if method != "HEAD" {
            assert_eq!(reply.code(), "method_not_allowed", "{method} {path}");
        }
    }
    assert_eq!(api.origin.executions(), 0);
}

async fn head_is_answered_like_get(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for instruction in ["bytes 300", "stream 300", "status 404"] {
        let of = |method| {
            let draft = Draft::new(method, "/v1/whatsapp/messages/17").key("full");
            draft.correlation_id("mine").origin(instruction)
        };
        let (get, head) = (api.send(&of("GET")).await, api.send(&of("HEAD")).await);
        assert_eq!(head.status, get.status, "{instruction}");
        assert!(head.body.is_empty(), "{instruction}");
        for name in [
            "content-type",
            "cache-control",
            "x-correlation-id",
            "x-ratelimit-limit",
        ] {
            assert_eq!(head.one(name), get.one(name), "{instruction} {name}");
        }
    }
    let refused = Draft::new("HEAD", "/v1/whatsapp/messages/17");
    let reply = api.send(&refused).await;
    assert_eq!((reply.status, reply.body.len()), (401, 0));
}

async fn an_ambiguous_path_matches_no_route(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for path in [
        "//v1/charges",
        "/v1//charges",
        "/v1/charges/",
        "/v1/./charges",
        "/v1/x/../charges",
        "/v1/%2e/charges",
        "/v1/x/%2E%2e/charges",
        "/v1%2Fcharges",
        "/v1/charges%2f17",
        "/v1/charges/%00",
        "/v1/charges/a%5Cb",
        "/V1/charges",
        "/v1/%63harges",
        "/v1/charges;a=b",
    ] {
        for method in ["POST", "GET"] {
            let reply = api
                .send(&Draft::new(method, path).key("full").json("{}"))
                .await;
            assert_eq!(reply.verdict(), "404 endpoint_not_found", "{method} {path}");
        }
    }
    assert_eq!(api.origin.executions(), 0);
}

async fn only_json_is_taken_on_post(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (media_type, want) in [
        ("application/json", "200"),
        ("application/json; charset=utf-8", "200"),
        ("Application/JSON;charset=UTF-8", "200"),
        ("text/plain", "415 unsupported_media_type"),
        ("application/jsonp", "415 unsupported_media_type"),
        (
            "application/x-www-form-urlencoded",
            "415 unsupported_media_type",
        ),
        ("", "415 unsupported_media_type"),
    ] {
        let draft = Draft::post("/v1/charges").key("full");
        let reply = api.send(&draft.only("Content-Type", media_type)).await;
        assert_eq!(reply.verdict(), want, "{media_type:?}");
    }
    let none = Draft::post("/v1/charges")
        .key("full")
        .without("Content-Type");
    assert_eq!(api.send(&none).await.status, 415);
    let twice = Draft::post("/v1/charges").key("full");
    let twice = twice.field("Content-Type", "application/json");
    assert_eq!(api.send(&twice).await.status, 415);
}

async fn a_declared_length_is_held_to_the_cap(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (path, length, keyed, want) in [
        ("/v1/charges", MIB, false, "200"),
        ("/v1/charges", MIB, true, "200"),
        ("/v1/charges", MIB + 1, false, "413 payload_too_large"),
        ("/v1/charges", MIB + 1, true, "413 payload_too_large"),
        ("/v1/small", 10, true, "200"),
        ("/v1/small", 11, true, "413 payload_too_large"),
    ] {
        let mut draft = Draft::post(path).key("full").body("x".repeat(length));
        if keyed {
            draft = draft.idempotency_key(&format!("{path} {length}"));
        }
        let reply = api.send(&draft).await;
        assert_eq!(reply.verdict(), want, "{path} {length} keyed: {keyed}");
        if want == "200" {
            assert_eq!(
                reply.json()["bytes"],
                length,
                "{path} {length} keyed: {keyed}"
            );
        }
    }
}

async fn a_body_of_unknown_length_is_held_to_the_cap(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (length, keyed, want) in [
        (MIB, false, "200"),
        (MIB, true, "200"),
        (MIB + 1, false, "413 payload_too_large"),
        (MIB + 1, true, "413 payload_too_large"),
    ] {
        let body = "x".repeat(length);
        let mut draft = Draft::post("/v1/charges")
            .key("full")
            .body(body)
            .chunked(64 << 10);
        if keyed {
            draft = draft.idempotency_key(&format!("chunked {length}"));
        }
        let before = api.origin.executions();
        let reply = api.send(&draft).await;
        assert_eq!(reply.verdict(), want, "{length} keyed: {keyed}");
        let executed = api.origin.executions() - before;
        assert_eq!(
            executed,
            usize::from(want == "200"),
            "{length} keyed: {keyed}"
        );
    }
}

async fn public_routes_take_no_key(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (method, path) in [
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("GET", "/webhooks/whatsapp?hub.mode=subscribe"),
        ("POST", "/webhooks/whatsapp"),
        ("PURGE", "/webhooks/whatsapp"),
    ] {
        for key in [None, Some("full"), Some("revoked")] {
            let draft = Draft::new(method, path);
            let draft = key.map_or_else(|| draft.clone(), |key| draft.clone().key(key));
            let reply = api.send(&draft).await;
            assert_eq!(reply.status, 200, "{method} {path} {key:?}");
            assert!(!reply.has("x-ratelimit-limit"), "{method} {path} {key:?}");
            let credentials = api.origin.last().all("authorization");
            assert!(credentials.is_empty(), "{method} {path} {key:?}");
        }
    }
    let foreign = Draft::new("POST", "/webhooks/whatsapp").field("Authorization", "Basic YTpi");
    api.send(&foreign).await;
    assert_eq!(api.origin.last().all("authorization"), ["Basic YTpi"]);
}

async fn public_routes_keep_raw_bytes_and_have_their_own_cap(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let all_bytes: Vec<u8> = (0..=255).cycle().take(4 * MIB).collect();
    let draft = Draft::new("POST", "/webhooks/whatsapp").body(&all_bytes);
    assert_eq!(api.send(&draft).await.status, 200);
    assert_eq!(api.origin.last().body, all_bytes);
    let chunked = api
        .send(&draft.clone().body(&all_bytes).chunked(100_000))
        .await;
    assert_eq!(chunked.status, 200);
    assert_eq!(api.origin.last().body, all_bytes);
    let over = api.send(&draft.body(vec![0; 4 * MIB + 1])).await;
    assert_eq!(over.verdict(), "413 payload_too_large");
    assert_eq!(api.origin.executions(), 2);
}

async fn an_answer_of_the_upstream_passes_unchanged(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for status in [200, 201, 204, 301, 304, 400, 404, 418, 422, 451, 500, 503] {
        let draft = Draft::get("/v1/charges/17").key("full");
        let draft = draft.origin(&format!("status {status}"));
        let draft = draft.origin("body <not> an {envelope}");
        let draft = draft.origin("header Content-Type: text/odd; a=b");
        let draft = draft
            .origin("header Set-Cookie: a=1")
            .origin("header Set-Cookie: b=2");
        let reply = api.send(&draft).await;
        assert_eq!(reply.status, status);
        let want = if matches!(status, 204 | 304) {
            ""
        } else {
            "<not> an {envelope}"
        };
        assert_eq!(reply.text(), want, "{status}");
        assert_eq!(reply.one("content-type"), "text/odd; a=b", "{status}");
        assert_eq!(reply.all("set-cookie"), ["a=1", "b=2"], "{status}");
    }
}

const MIB: usize = 1 << 20;
