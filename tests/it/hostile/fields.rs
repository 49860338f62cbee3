//! Fields that are too many, too long, too odd, or sent twice.

use harness::{Answer, Draft, Mounted, Mounting, Setup};

use super::against_both_mountings;

against_both_mountings![
    a_correlation_id_is_taken_as_the_contract_says_or_replaced,
    every_control_field_may_be_odd_and_nothing_breaks,
    no_bytes_in_a_value_split_an_answer,
    what_is_sent_twice_is_refused_or_replaced,
];

async fn a_correlation_id_is_taken_as_the_contract_says_or_replaced(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let (longest, too_long, huge) = ("a".repeat(128), "a".repeat(129), "a".repeat(8000));
    for (id, is_taken) in [
        ("a", true),
        ("0", true),
        ("A.b_c:d-e", true),
        ("550e8400-e29b-41d4-a716-446655440000", true),
        (&*longest, true),
        (&*too_long, false),
        (&*huge, false),
        ("", false),
        ("a b", false),
        ("a\tb", false),
        ("a,b", false),
        ("a;b", false),
        ("a/b", false),
        ("a\\b", false),
        ("<script>", false),
        ("${jndi:ldap://x}", false),
        ("%0d%0aSet-Cookie: a=1", false),
        ("\\r\\nX: y", false),
        ("{\"a\":1}", false),
        ("' OR '1'='1", false),
        ("$(id)", false),
        ("../../etc/passwd", false),
        ("schl\u{fc}ssel", false),
        ("\u{202e}abc", false),
        ("\u{1f600}", false),
    ] {
        for path in ["/v1/charges/17", "/v1/nowhere", "/healthz"] {
            let reply = api
                .send(&Draft::get(path).key("full").correlation_id(id))
                .await;
            let found = reply.one("x-correlation-id");
            if is_taken {
                assert_eq!(found, id);
            } else {
                assert!(
                    found.starts_with("req_") && found.len() == 30,
                    "{id:?}: {found}"
                );
                assert!(
                    id.is_empty() || !reply.text().contains(id),
                    "{id:?} is echoed"
                );
            }
        }
    }
}

async fn every_control_field_may_be_odd_and_nothing_breaks(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for name in CONTROL {
        for value in VALUES {
            let mut line = format!("{name}: ").into_bytes();
            line.extend_from_slice(value);
            let draft = Draft::post("/v1/charges").key("full").line(&line);
            survives(&api, &draft).await;
        }
    }
}

async fn what_is_sent_twice_is_refused_or_replaced(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let post = || Draft::post("/v1/charges").key("full");
    for (name, first, second, want) in [
        ("Authorization", "", "Bearer x", "401 invalid_api_key"),
        (
            "Content-Type",
            "",
            "application/json",
            "415 unsupported_media_type",
        ),
        ("Idempotency-Key", "k", "k", "422 invalid_idempotency_key"),
        ("X-Correlation-ID", "one", "two", "200"),
        ("Content-Length", "2", "3", "400"),
    ] {
        let draft = if first.is_empty() {
            post()
        } else {
            post().field(name, first)
        };
        let reply = api.send(&draft.field(name, second)).await;
        assert_eq!(reply.verdict(), want, "{name}");
        if name == "X-Correlation-ID" {
            assert!(reply.one("x-correlation-id").starts_with("req_"));
        }
    }
}

async fn no_bytes_in_a_value_split_an_answer(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for byte in 0..=255_u8 {
        let mut line = b"X-Correlation-ID: a".to_vec();
        line.extend([byte]);
        line.extend_from_slice(b"X-Split: 1");
        let draft = Draft::get("/healthz").line(&line);
        survives(&api, &draft).await;
    }
}

/// Sends a request: the answer is whole and no fault of ours, nothing that was sent comes
/// back as a field of its own, and the server serves on.
async fn survives(api: &Mounted, draft: &Draft) {
    let shown = String::from_utf8_lossy(&draft.head()).into_owned();
    let mut wire = api.wire().await;
    wire.send(&draft.to_bytes()).await;
    wire.finish().await;
    match wire.answer(false).await {
        Answer::Reply(reply) => {
            assert!(
                reply.status < 500 && reply.is_whole,
                "{}: {shown}",
                reply.status
            );
            assert!(!reply.has("x-split"), "{shown}");
        }
        Answer::Closed => {}
        Answer::Silence => panic!("no answer to {shown}"),
    }
}

/// What the layers and the proxy read.
const CONTROL: [&str; 16] = [
    "Authorization",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Expect",
    "Host",
    "Idempotency-Key",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Vestibule-Identity",
    "Vestibule-Replayed",
    "X-Correlation-ID",
    "X-RateLimit-Limit",
];

/// Values that none of them takes.
const VALUES: [&[u8]; 12] = [
    b"",
    b" ",
    b",",
    b",,a,,",
    b"\"",
    b"\xff\xfe",
    b"\xc3\xa4",
    b"-1",
    b"99999999999999999999999",
    b"chunked, chunked, identity",
    b"a\tb",
    b"%00%0d%0a",
];
