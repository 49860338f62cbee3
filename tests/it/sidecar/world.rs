//! Services to stand behind a sidecar, the sidecar itself, and clients that speak in bytes.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use vestibule_sidecar::config::{Address, Config};
use vestibule_sidecar::{Running, Sidecar};

/// Starts a service on a free port.
pub(super) async fn service(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Starts a service that answers each connection as it is told; `n` counts them from 0.
pub(super) async fn raw_service<F, A>(mut answer: F) -> SocketAddr
where
    F: FnMut(usize, TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for n in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(n, stream));
        }
    });
    address
}

/// A sidecar whose every path is public, with these lines of configuration.
pub(super) fn open_sidecar(upstream: impl std::fmt::Display, more: &str) -> Running {
    sidecar(upstream, &format!("{more}\n{OPEN}"))
}

/// A sidecar with these lines of configuration.
pub(super) fn sidecar(upstream: impl std::fmt::Display, more: &str) -> Running {
    Sidecar::new(config(upstream, more)).spawn().unwrap()
}

/// A configuration with these lines in it, and a store that ends with the test unless they
/// name another.
pub(super) fn config(upstream: impl std::fmt::Display, more: &str) -> Config {
    let names_store = more.lines().any(|line| line.starts_with("store = "));
    let store = if names_store { "" } else { "store = 'memory:'" };
    let text = format!(
        "listen = '127.0.0.1:0'\nupstream = ['{upstream}']\n{store}\nthreads = 1\n{more}\n"
    );
    Config::parse("test.toml", &text).unwrap()
}

/// The port of a sidecar.
pub(super) fn address(running: &Running) -> SocketAddr {
    tcp(running.address())
}

/// The port of an address that has one.
pub(super) fn tcp(address: &Address) -> SocketAddr {
    match address {
        Address::Tcp(address) => *address,
        Address::Unix(path) => panic!("a port was asked for: {}", path.display()),
    }
}

/// Sends bytes and reads until the other side closes.
pub(super) async fn talk(address: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_ref()).await.unwrap();
    read_to_end(&mut stream).await
}

/// Reads until the other side closes; a reset ends it too.
pub(super) async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let _ = soon(stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads until this has been seen.
pub(super) async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut piece = [0; 4096];
        let length = soon(stream.read(&mut piece)).await.unwrap();
        assert!(length > 0, "it was closed after: {text}");
        text.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    text
}

/// Sends one request over a connection of its own.
pub(super) async fn send<B>(address: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    soon(sender.send_request(request)).await.unwrap()
}

/// The text of a body.
pub(super) async fn text(response: Response<Incoming>) -> String {
    let body = soon(response.into_body().collect()).await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// A GET without a body.
pub(super) fn get(path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(path).header("host", "api.test");
    request.body(Full::default()).unwrap()
}

/// A POST with this body.
pub(super) fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "api.test");
    request.body(Full::new(body.into())).unwrap()
}

/// What a test waits for comes soon, or the test has failed.
pub(super) async fn soon<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it takes too long")
}

/// Looks until it is so.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looks = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, looks).await;
    assert!(seen.is_ok(), "never: {what}");
}

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Every path is public.
pub(super) const OPEN: &str = "
[[route]]
match = '* /'
auth = 'none'
body_max = '2GB'
[[route]]
match = '* /{*path}'
auth = 'none'
body_max = '2GB'
";
