//! A sidecar in the place of another, with real processes and under load: nobody notices.

use std::process::Stdio;

use axum::Router;
use axum::routing::any;
use harness::{By, Draft, Pod, Replaced};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use vestibule::testing::server::RedisServer;
use vestibule_sidecar::Sidecar;
use vestibule_sidecar::config::Address;

use super::world::{OPEN, config, read_until, service, soon};

#[tokio::test]
async fn a_hand_over_under_load_fails_no_request_and_readiness_stays_on() {
    let replaced = Replaced::under_load(By::HandOver, 3, 2000).await;
    assert!(replaced.tally.failed.is_empty(), "{:?}", replaced.tally);
    assert!(
        replaced.tally.answered >= 2000 && replaced.twice == 0,
        "{replaced}"
    );
    assert!(replaced.tally.farewells >= 3 * 8, "{replaced}");
    let (asked, off) = replaced.probes;
    assert!(asked > 0 && off == 0, "{off} of {asked} probes");
}

#[tokio::test]
async fn a_drain_under_load_loses_no_answer() {
    let replaced = Replaced::under_load(By::Drain, 2, 2000).await;
    assert!(replaced.tally.failed.is_empty(), "{:?}", replaced.tally);
    assert!(
        replaced.tally.answered >= 2000 && replaced.twice == 0,
        "{replaced}"
    );
    assert!(replaced.tally.farewells >= 2 * 8, "{replaced}");
}

#[tokio::test]
async fn a_new_process_that_cannot_start_leaves_the_running_one_as_it_is() {
    let redis = RedisServer::start(&[]);
    let top = format!(
        "store = \"{}\"\nupgrade_sock = \"upgrade.sock\"",
        redis.address()
    );
    let pod = Pod::new(&top).await;
    let edge = pod.start().await;
    let text = std::fs::read_to_string(pod.config()).unwrap();

    // Its keys are gone, so its stack cannot be built.
    std::fs::rename(pod.path("keys.json"), pod.path("away.json")).unwrap();
    let said = upgrade_fails(&pod).await;
    assert!(
        said.starts_with("vestibule: the keys cannot be read"),
        "{said}"
    );
    std::fs::rename(pod.path("away.json"), pod.path("keys.json")).unwrap();

    // Two processes that overlap must see one another's records.
    let other = text.replace(
        "store = \"redis:",
        "counters = \"memory:\"\nstore = \"redis:",
    );
    std::fs::write(pod.config(), other).unwrap();
    let said = upgrade_fails(&pod).await;
    assert!(
        said.ends_with("it says: its store, or its version of this exchange, is another one"),
        "{said}"
    );

    std::fs::write(pod.config(), text).unwrap();
    // By which other programs hand over; it would end this one by itself.
    edge.signal("QUIT");
    assert_eq!(edge.send(&Draft::get("/healthz")).await.status, 200);
    let heir = pod.upgrade().await;
    assert!(edge.ended().await.success());
    assert_eq!(heir.send(&Draft::get("/healthz")).await.status, 200);
    assert!(heir.end("TERM").await.success());
    assert!(
        !pod.path("upgrade.sock").exists(),
        "its name goes with the last process"
    );
    let said = upgrade_fails(&pod).await;
    assert!(
        said.contains("cannot take over from the process at"),
        "{said}"
    );
}

#[tokio::test]
async fn unix_sockets_are_handed_over_with_their_names() {
    let redis = RedisServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let router = Router::new().fallback(any(|| async { "ok" }));
    let more = format!(
        "store = '{}'\nadmin = 'unix:{}'\nupgrade_sock = '{}'\n[drain]\nlag = '0s'\n{OPEN}",
        redis.address(),
        path("admin.sock").display(),
        path("upgrade.sock").display(),
    );
    let mut config = config(service(router).await, &more);
    config.listen = Address::Unix(path("edge.sock"));
    let mut running = Sidecar::new(config.clone()).spawn().unwrap();
    for _ in 0..2 {
        let heir = Sidecar::new(config.clone()).upgrade().spawn().unwrap();
        let before = std::mem::replace(&mut running, heir);
        // It ends by itself.
        soon(tokio::task::spawn_blocking(move || before.wait()))
            .await
            .unwrap();
        let mut client = UnixStream::connect(path("edge.sock")).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut client, "ok").await;
    }
    tokio::task::spawn_blocking(move || drop(running))
        .await
        .unwrap();
    for name in ["edge.sock", "admin.sock", "upgrade.sock"] {
        assert!(!path(name).exists(), "{name} goes with the last process");
    }
}

#[tokio::test]
async fn a_store_of_one_process_refuses_an_upgrade() {
    for store in ["file:store.redb", "memory:"] {
        let pod = Pod::new(&format!(
            "store = \"{store}\"\nupgrade_sock = \"upgrade.sock\""
        ))
        .await;
        let said = upgrade_fails(&pod).await;
        let wanted = "expected a store that two processes may share, redis:// or postgres://";
        assert!(
            said.contains("upgrade_sock = \"upgrade.sock\"") && said.contains(wanted),
            "{said}"
        );
    }
    let pod = Pod::new("store = \"file:store.redb\"").await;
    let said = upgrade_fails(&pod).await;
    assert!(said.contains("'upgrade_sock' is missing"), "{said}");
}

/// What a process says that is to take over and cannot.
async fn upgrade_fails(pod: &Pod) -> String {
    let mut command = pod.command();
    command.arg("--upgrade").stdout(Stdio::null());
    // The origin, and the proxy that waits for it, run on this very thread.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned()
}
