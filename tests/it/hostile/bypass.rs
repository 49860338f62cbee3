//! Nothing that a caller writes differently gives it another budget, or another name.

use harness::{Draft, Mounting, Setup, token};

use super::against_both_mountings;

against_both_mountings![
    a_caller_cannot_choose_its_own_identity,
    a_spent_budget_is_spent_however_the_request_is_written,
    one_caller_never_reads_what_another_was_answered,
];

async fn a_spent_budget_is_spent_however_the_request_is_written(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    let get = || Draft::get("/v1/charges/17").key("limited");
    for _ in 0..5 {
        assert_eq!(api.send(&get()).await.status, 200);
    }
    let mut written: Vec<Draft> = FORWARDED
        .iter()
        .flat_map(|name| {
            ["10.0.0.1", "10.0.0.1, 10.0.0.2", "::1", ""].map(|value| get().field(name, value))
        })
        .collect();
    for path in [
        "/v1/charges/18",
        "/v1/charges/17?a=1",
        "/v1//charges",
        "/V1/charges",
        "/v1/%63harges",
        "/v1/nowhere",
        "/v1/charges/17/.",
    ] {
        written.push(Draft::get(path).key("limited"));
    }
    for method in ["HEAD", "OPTIONS", "POST", "PUT", "PURGE"] {
        written.push(Draft::new(method, "/v1/charges/17").key("limited"));
    }
    let key = token("limited");
    for credentials in [
        format!("bearer {key}"),
        format!("BEARER  {key}"),
        format!("Bearer {key} "),
    ] {
        written.push(get().only("Authorization", &credentials));
    }
    written.push(get().field("X-HTTP-Method-Override", "PUT"));
    written.push(get().field("X-Api-Key", &token("full")));
    written.push(get().idempotency_key("k"));
    written.push(get().only("Host", "other.test"));
    written.push(get().version("HTTP/1.0"));
    for draft in written {
        let reply = api.send(&draft).await;
        assert_eq!(
            reply.status,
            429,
            "{}",
            String::from_utf8_lossy(&draft.head())
        );
        assert_eq!(reply.one("x-ratelimit-remaining"), "0");
    }
    assert_eq!(api.origin.executions(), 5);
}

async fn a_caller_cannot_choose_its_own_identity(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for (name, value) in [
        ("Vestibule-Identity", "eyJhbGciOiJub25lIn0.e30."),
        ("vestibule-identity", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"),
        ("X-Api-Key", &*token("full")),
        ("Cookie", "session=1"),
        ("Proxy-Authorization", "Bearer x"),
        ("X-Forwarded-User", "root"),
    ] {
        let reply = api
            .send(&Draft::get("/v1/charges/17").field(name, value))
            .await;
        assert_eq!(reply.verdict(), "401 invalid_api_key", "{name}");
        let with_a_key = Draft::get("/v1/charges/17")
            .key("narrow")
            .field(name, value);
        let reply = api.send(&with_a_key).await;
        assert_eq!(reply.verdict(), "403 insufficient_scope", "{name}");
    }
    assert_eq!(api.origin.executions(), 0);
}

async fn one_caller_never_reads_what_another_was_answered(mounting: Mounting) {
    let api = Setup::new().mount(mounting).await;
    for key in ["k", "live:full", "full", "{live:full}:k", "*", "a\\0b"] {
        let first = Draft::post("/v1/charges").key("full").idempotency_key(key);
        let first = first.origin(&format!("body secret of {}", key.len()));
        assert_eq!(api.send(&first).await.status, 200, "{key}");
        for other in ["default", "sandbox@test", "bound"] {
            let reply = api
                .send(&Draft::post("/v1/charges").key(other).idempotency_key(key))
                .await;
            assert_eq!(reply.one("idempotent-replayed"), "", "{key} {other}");
            assert!(!reply.text().contains("secret"), "{key} {other}");
        }
    }
}

/// Where other servers look for an address.
const FORWARDED: [&str; 7] = [
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
];
