//! The binary itself: signals, memory, and what it says when it cannot start.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use bytes::Bytes;
use futures_util::stream;
use harness::process::{Process, binary};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::Notify;

use super::world::{OPEN, get, send, service, soon, text};

#[tokio::test]
async fn sigterm_drains_and_sigint_does_not_wait() {
    for (signal, is_answered) in [("TERM", true), ("INT", false)] {
        let (arrived, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (arrives, release) = (Arc::clone(&arrived), Arc::clone(&released));
        let router = Router::new().fallback(any(move || async move {
            arrives.notify_one();
            release.notified().await;
            "slow"
        }));
        let (mut process, edge, _folder) = serve(service(router).await, "").await;
        let asked = tokio::spawn(async move {
            let response = tokio::time::timeout(Duration::from_secs(10), try_send(edge)).await;
            response.ok().flatten()
        });
        soon(arrived.notified()).await;
        process.signal(signal);
        if is_answered {
            released.notify_one();
        }
        // The service behind it runs on this very thread.
        let end = tokio::task::spawn_blocking(move || process.ended(Duration::from_secs(5)));
        let status = end.await.unwrap();
        assert!(status.success(), "{signal}: {status}");
        let answered = asked.await.unwrap().as_deref() == Some("slow");
        assert_eq!(answered, is_answered, "{signal}");
    }
}

#[tokio::test]
async fn the_command_drains_over_the_socket_among_several_admin_addresses() {
    let router = Router::new().fallback(any(|| async { "ok" }));
    let (mut process, edge, folder) = serve(service(router).await, "").await;
    assert_eq!(try_send(edge).await.as_deref(), Some("ok"));
    let file = folder.path().join("vestibule.toml");
    let drain = |words: [&std::ffi::OsStr; 2]| {
        let mut command = Command::new(binary("vestibule"));
        command.arg("drain").args(words).output().unwrap()
    };
    let nowhere = drain(["--admin".as_ref(), "unix:/nowhere.sock".as_ref()]);
    assert!(!nowhere.status.success());
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(
        said.starts_with("vestibule: unix:/nowhere.sock: "),
        "{said}"
    );
    let told = drain(["--config".as_ref(), file.as_ref()]);
    assert!(told.status.success(), "{told:?}");
    let end = tokio::task::spawn_blocking(move || process.ended(Duration::from_secs(5)));
    assert!(end.await.unwrap().success());
}

#[tokio::test]
async fn a_gibibyte_each_way_takes_less_than_64_mib() {
    let (process, edge, _folder) = serve(service(gibibyte()).await, "").await;
    let mut down = send(edge, get("/")).await;
    let mut length = 0;
    while let Some(frame) = soon(down.body_mut().frame()).await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length, GIBIBYTE);
    let pieces =
        stream::iter((0..GIBIBYTE / PIECE).map(|_| Ok::<_, std::io::Error>(Frame::data(piece()))));
    let request = http::Request::post("/")
        .header("host", "h")
        .body(StreamBody::new(pieces))
        .unwrap();
    let stream = tokio::net::TcpStream::connect(edge).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let up = tokio::time::timeout(Duration::from_secs(120), sender.send_request(request));
    let up = up.await.unwrap().unwrap();
    assert_eq!(text(up).await, GIBIBYTE.to_string());
    let high_water = process.kilobytes("VmHWM");
    assert!(high_water < 64 << 10, "{high_water} KiB");
}

#[test]
fn what_cannot_be_started_is_said_in_a_sentence_for_each_fault() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let name = file.display();
    for (text, want) in [
        (
            "listen = 'x'\nupstream = '127.0.0.1:1'",
            format!(
                "vestibule: {name}:1: listen = 'x': expected an address like \"0.0.0.0:8080\", \"[::]:8080\" or \"unix:/run/pod/api.sock\"\n\
                 {name}:1: there is no [[route]], so every request would be answered 404\n"
            ),
        ),
        (
            "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'",
            format!(
                "vestibule: {name}:1: there is no [[route]], so every request would be answered 404\n"
            ),
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = command(&file).env("RUST_LOG", "off").output().unwrap();
        assert!(!output.status.success());
        assert_eq!(String::from_utf8_lossy(&output.stderr), want);
    }
}

#[test]
fn the_address_of_the_store_may_stand_in_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.toml");
    let text =
        format!("listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\nstore = 'memory:'\n{OPEN}");
    std::fs::write(&file, text).unwrap();
    let output = command(&file)
        .env("RUST_LOG", "off")
        .env("VESTIBULE__STORE", "carrier-pigeon://coop")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("carrier-pigeon"), "{said}");
}

/// Starts the binary on a free port, and waits until it is ready.
async fn serve(upstream: SocketAddr, more: &str) -> (Process, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (listen, admin) = (free_port(), free_port());
    let socket = folder.path().join("admin.sock");
    let socket = socket.display();
    let text = format!(
        "listen = '{listen}'\nadmin = ['{admin}', 'unix:{socket}']\nupstream = '{upstream}'\nthreads = 1\n{more}\n\
         [drain]\nlag = '0s'\n{OPEN}"
    );
    let file = folder.path().join("vestibule.toml");
    std::fs::write(&file, text).unwrap();
    let process = Process::start(command(&file).stderr(Stdio::null()));
    soon(async {
        loop {
            let connected = tokio::net::TcpStream::connect(admin).await.is_ok();
            if connected && send(admin, get("/readyz")).await.status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    (process, listen, folder)
}

pub(super) fn command(file: &std::path::Path) -> Command {
    let mut command = Command::new(binary("vestibule"));
    command.arg("serve").arg("--config").arg(file);
    command
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn try_send(edge: SocketAddr) -> Option<String> {
    let stream = tokio::net::TcpStream::connect(edge).await.ok()?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
    tokio::spawn(connection);
    let response = sender.send_request(get("/")).await.ok()?;
    let body = response.into_body().collect().await.ok()?.to_bytes();
    String::from_utf8(body.to_vec()).ok()
}

/// Gives a gibibyte, or counts what it is given.
fn gibibyte() -> Router {
    Router::new().fallback(any(|request: Request| async move {
        if request.method() == http::Method::GET {
            let pieces = (0..GIBIBYTE / PIECE).map(|_| Ok::<_, std::io::Error>(piece()));
            return Body::from_stream(stream::iter(pieces));
        }
        let mut body = request.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().into_data().map_or(0, |data| data.len());
        }
        Body::from(length.to_string())
    }))
}

fn piece() -> Bytes {
    Bytes::from_static(&[b'x'; PIECE])
}

const GIBIBYTE: usize = 1 << 30;
const PIECE: usize = 64 << 10;
