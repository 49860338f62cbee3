//! The end: what is under way is finished, what is new is refused, nothing sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use vestibule::api_key::{ApiKey, KeyRecord, Keys};
use vestibule::entropy::SystemEntropy;

use super::world::{
    OPEN, address, get, open_sidecar, read_to_end, read_until, send, service, sidecar, soon, tcp,
    text, until,
};

#[tokio::test]
async fn an_idle_sidecar_ends_at_once() {
    let edge = open_sidecar(service(ok()).await, NO_LAG);
    let mut kept = TcpStream::connect(address(&edge)).await.unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut kept, "ok").await;
    let began = Instant::now();
    edge.drain();
    assert_eq!(
        read_to_end(&mut kept).await,
        "",
        "an idle connection is closed"
    );
    ended(edge).await;
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_what_is_new_is_refused() {
    let (asked, go) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let edge = open_sidecar(service(gated(&asked, &go)).await, NO_LAG);
    let address = address(&edge);
    let request = tokio::spawn(async move { text(send(address, get("/")).await).await });
    until("the service is asked", || asked.load(Ordering::SeqCst)).await;
    edge.drain();
    soon(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    go.notify_one();
    assert_eq!(request.await.unwrap(), "gone through");
    ended(edge).await;
}

#[tokio::test]
async fn during_the_lag_readiness_is_off_and_requests_are_served() {
    let more = "admin = '127.0.0.1:0'\n[drain]\nlag = '1h'\n";
    let edge = open_sidecar(service(ok()).await, more);
    let admin = tcp(edge.admin().unwrap());
    assert_eq!(send(admin, get("/readyz")).await.status(), 200);
    edge.drain();
    soon(async { while send(admin, get("/readyz")).await.status() != 503 {} }).await;
    assert_eq!(send(admin, get("/healthz")).await.status(), 200);
    let metrics = text(send(admin, get("/metrics")).await).await;
    assert!(metrics.contains("vestibule_ready 0\n"), "{metrics}");
    assert_eq!(text(send(address(&edge), get("/")).await).await, "ok");
    tokio::task::spawn_blocking(move || drop(edge))
        .await
        .unwrap();
}

#[tokio::test]
async fn work_whose_caller_has_left_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (asked, go) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
    let done = Arc::new(AtomicBool::new(false));
    let router = {
        let (gate, done) = (gated(&asked, &go), Arc::clone(&done));
        gate.layer(axum::middleware::map_response(
            move |response: axum::response::Response| {
                done.store(true, Ordering::SeqCst);
                async { response }
            },
        ))
    };
    let (key, source) = key_file(&folder);
    let more = format!(
        "{NO_LAG}[keys]\nsource = '{source}'\n[[route]]\nmatch = 'POST /a'\nidempotency = 'executes'\n"
    );
    let edge = sidecar(service(router).await, &more);
    let mut stream = TcpStream::connect(address(&edge)).await.unwrap();
    let request = format!(
        "POST /a HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\nidempotency-key: one\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    until("the service is asked", || asked.load(Ordering::SeqCst)).await;
    drop(stream);
    edge.drain();
    let end = tokio::spawn(ended(edge));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!end.is_finished(), "it ended while work was under way");
    go.notify_one();
    end.await.unwrap();
    assert!(done.load(Ordering::SeqCst));
}

#[tokio::test]
async fn the_service_is_told_who_is_calling_and_not_with_which_key() {
    let folder = tempfile::tempdir().unwrap();
    let (key, source) = key_file(&folder);
    let router = Router::new().fallback(any(|headers: http::HeaderMap| async move {
        let names = headers.keys().map(http::HeaderName::as_str);
        names.collect::<Vec<_>>().join(" ")
    }));
    let more = format!("[keys]\nsource = '{source}'\n[[route]]\nmatch = 'GET /a'\n");
    let edge = sidecar(service(router).await, &more);
    let mut request = get("/a");
    let bearer = format!("Bearer {key}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let response = send(address(&edge), request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["x-ratelimit-remaining"], "59");
    let names = text(response).await;
    assert!(names.contains("vestibule-identity"), "{names}");
    assert!(names.contains("x-correlation-id"), "{names}");
    assert!(!names.contains("authorization"), "{names}");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    use vestibule_sidecar::Sidecar;
    use vestibule_sidecar::config::KeySource;
    let held = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = held.local_addr().unwrap();
    let good = || super::world::config("127.0.0.1:1", OPEN);
    let fault = |config| Sidecar::new(config).spawn().unwrap_err().to_string();
    let mut config = good();
    config.keys.source = KeySource::File("nowhere.json".into());
    assert_eq!(fault(config), "the keys cannot be read");
    let mut config = good();
    config.store.address = "redis://r".to_owned();
    let said = fault(config);
    assert!(
        said.starts_with("test.toml:3: store \"redis://r\""),
        "{said}"
    );
    let mut config = good();
    config.listen = vestibule_sidecar::config::Address::Tcp(taken);
    assert_eq!(fault(config), format!("cannot listen on {taken}"));
}

/// Waits until the sidecar has ended by itself.
async fn ended(edge: vestibule_sidecar::Running) {
    soon(tokio::task::spawn_blocking(move || edge.wait()))
        .await
        .unwrap();
}

/// Answers when it may.
fn gated(asked: &Arc<AtomicBool>, go: &Arc<Notify>) -> Router {
    let (asked, go) = (Arc::clone(asked), Arc::clone(go));
    Router::new().fallback(any(move || async move {
        asked.store(true, Ordering::SeqCst);
        go.notified().await;
        "gone through"
    }))
}

fn ok() -> Router {
    Router::new().fallback(any(|| async { "ok" }))
}

/// A fresh key, and a file that holds its record.
fn key_file(folder: &tempfile::TempDir) -> (String, String) {
    let key = ApiKey::mint("mk", "live", &SystemEntropy);
    let digest = vestibule::api_key::Digest::plain(&key);
    let record = KeyRecord::builder("key_1", "acc_1", digest).build();
    let file = folder.path().join("keys.json");
    let keys = Keys::new([record]).unwrap().to_json().to_string();
    std::fs::write(&file, keys).unwrap();
    (key.expose().to_owned(), file.display().to_string())
}

const NO_LAG: &str = "[drain]\nlag = '0s'\n";
