//! An address that keeps failing to authenticate waits, and nobody else does.

use harness::{Draft, Reply, Setup, Wire, token};
use vestibule::testing::ManualClock;
use vestibule_sidecar::{Running, Sidecar};

use super::world::{address, config, service};

#[tokio::test]
async fn an_address_that_keeps_failing_waits_before_its_key_is_looked_at() {
    let (edge, clock, _folder) = site("trusted_proxies = '127.0.0.1'").await;
    let (theirs, ours) = ("2001:db8:0:1::7", "203.0.113.9");
    for attempt in 0..3 {
        let reply = send(&edge, theirs, "unknown").await;
        assert_eq!(reply.verdict(), "401 invalid_api_key", "attempt {attempt}");
    }
    for (who, key, want) in [
        (theirs, "unknown", "429 too_many_failed_attempts"),
        (theirs, "full", "429 too_many_failed_attempts"),
        (
            "2001:db8:0:1:ffff::1",
            "full",
            "429 too_many_failed_attempts",
        ),
        ("2001:db8:0:2::7", "full", "200"),
        (ours, "full", "200"),
        (ours, "unknown", "401 invalid_api_key"),
    ] {
        let reply = send(&edge, who, key).await;
        assert_eq!(reply.verdict(), want, "{who} {key}");
        if want.starts_with("429") {
            assert_eq!(reply.one("retry-after"), "20");
            assert_eq!(reply.one("cache-control"), "no-store");
            assert!(reply.text().contains(reply.one("x-correlation-id")));
        }
    }
    let public = Draft::get("/open").field("X-Forwarded-For", theirs);
    let mut wire = Wire::connect(address(&edge)).await;
    assert_eq!(wire.exchange(&public).await.status, 200, "no key, no look");
    clock.advance(std::time::Duration::from_secs(20));
    assert_eq!(send(&edge, theirs, "full").await.verdict(), "200");
}

#[tokio::test]
async fn where_clients_cannot_be_told_apart_or_it_is_off_nobody_waits() {
    for said in [
        "",
        "trusted_proxies = '127.0.0.1'\n[limits]\nfailed_auth_per_minute = 0",
    ] {
        let (edge, _clock, _folder) = site(said).await;
        for _ in 0..40 {
            let reply = send(&edge, "203.0.113.9", "unknown").await;
            assert_eq!(reply.verdict(), "401 invalid_api_key", "{said}");
        }
    }
}

async fn site(said: &str) -> (Running, ManualClock, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    Setup::new().write_keys(&keys);
    let limits = if said.contains("[limits]") {
        ""
    } else {
        "[limits]\nfailed_auth_per_minute = 3"
    };
    let more = format!(
        "{said}\n{limits}\n[keys]\nsource = '{}'\n[[route]]\nmatch = 'GET /a'\n\
         [[route]]\nmatch = 'GET /open'\nauth = 'none'\n",
        keys.display()
    );
    let router = axum::Router::new().fallback(axum::routing::any(|| async { "ok" }));
    let config = config(service(router).await, &more);
    let clock = ManualClock::at(harness::START);
    let edge = Sidecar::new(config).clock(clock.shared()).spawn().unwrap();
    (edge, clock, folder)
}

async fn send(edge: &Running, who: &str, key: &str) -> Reply {
    let draft = Draft::get("/a").field("X-Forwarded-For", who);
    let draft = draft.field("Authorization", &format!("Bearer {}", token(key)));
    Wire::connect(address(edge)).await.exchange(&draft).await
}
