//! Too much to do: a part is refused at once, and the rest is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::routing::any;
use tokio::task::JoinSet;
use tower::util::MapRequestLayer;
use vestibule_sidecar::Sidecar;

use super::world::{OPEN, address, config, get, open_sidecar, send, service, soon, text};

#[tokio::test]
async fn a_process_that_is_late_with_everything_refuses_a_share_and_recovers() {
    let ok = Router::new().fallback(any(|| async { "ok" }));
    let config = config(
        service(ok).await,
        &format!("[shedding]\nlateness = '400ms'\n{OPEN}"),
    );
    let is_slow = Arc::new(AtomicBool::new(true));
    let slow = Arc::clone(&is_slow);
    // A layer that blocks its thread, of which there is one: all else waits for it.
    let blocking = MapRequestLayer::new(move |request: http::Request<_>| {
        if slow.load(Ordering::SeqCst) {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        request
    });
    let edge = Sidecar::new(config).layer(blocking).spawn().unwrap();
    let edge_at = address(&edge);
    let mut clients = JoinSet::new();
    let is_seen = Arc::new(AtomicBool::new(false));
    for _ in 0..16 {
        let is_seen = Arc::clone(&is_seen);
        clients.spawn(async move {
            while !is_seen.load(Ordering::SeqCst) {
                let response = send(edge_at, get("/")).await;
                if response.status() == 503 {
                    assert_eq!(response.headers()["retry-after"], "1");
                    assert!(text(response).await.contains("overloaded"));
                    is_seen.store(true, Ordering::SeqCst);
                }
            }
        });
    }
    while let Some(client) = soon(clients.join_next()).await {
        client.unwrap();
    }
    is_slow.store(false, Ordering::SeqCst);
    // As many in a row as no share that is refused would let through.
    let mut answered = 0;
    soon(async {
        while answered < 100 {
            let is_answered = send(edge_at, get("/")).await.status() == 200;
            answered = if is_answered { answered + 1 } else { 0 };
        }
    })
    .await;
}

#[tokio::test]
async fn the_service_works_on_so_many_at_once_and_the_others_wait_their_turn() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counted = (Arc::clone(&now), Arc::clone(&most));
    let router = Router::new().fallback(any(move || {
        let (now, most) = counted.clone();
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            "worked on"
        }
    }));
    let edge = open_sidecar(
        service(router).await,
        "[shedding]\nat_once = 2\nwait = '60s'\n",
    );
    let edge_at = address(&edge);
    let asks = (0..20).map(|_| async move { text(send(edge_at, get("/")).await).await });
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(answer, "worked on");
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn whose_turn_does_not_come_is_told_to_come_again() {
    let gate = Arc::new(tokio::sync::Notify::new());
    let opens = Arc::clone(&gate);
    let router = Router::new().fallback(any(move || {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            "at last"
        }
    }));
    let edge = open_sidecar(
        service(router).await,
        "[shedding]\nat_once = 1\nwait = '10ms'\n",
    );
    let edge_at = address(&edge);
    let mut both = JoinSet::new();
    for _ in 0..2 {
        both.spawn(async move { send(edge_at, get("/")).await });
    }
    let refused = soon(both.join_next()).await.unwrap().unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    opens.notify_one();
    let answered = soon(both.join_next()).await.unwrap().unwrap();
    assert_eq!(text(answered).await, "at last");
}
