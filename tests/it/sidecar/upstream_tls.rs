//! A service that is spoken to over TLS, over HTTP/2, or both.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::any;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsAcceptor;
use tower::util::MapRequestLayer;

use super::world::{address, get, open_sidecar, post, send, soon, text};

/// An authority, and the files that it has signed.
struct Site {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

/// How a service is to be spoken to.
#[derive(Clone, Copy)]
struct Manner<'a> {
    is_encrypted: bool,
    offers: &'a [&'a str],
    asks_for_certificate: bool,
}

#[tokio::test]
async fn the_service_is_spoken_to_in_the_version_that_was_agreed_upon() {
    let site = Site::new();
    let (both, one): (&[&str], &[&str]) = (&["h2", "http/1.1"], &["http/1.1"]);
    for (is_encrypted, offers, said, want) in [
        (true, both, "", "HTTP/2.0"),
        (true, one, "", "HTTP/1.1"),
        (true, &[], "", "HTTP/1.1"),
        (true, both, "upstream_http2 = false", "HTTP/1.1"),
        (true, both, "upstream_http2 = true", "HTTP/2.0"),
        (true, one, "upstream_http2 = true", "502"),
        (false, &[], "", "HTTP/1.1"),
        (false, &[], "upstream_http2 = true", "HTTP/2.0"),
        (false, &[], "upstream_http2 = false", "HTTP/1.1"),
    ] {
        let manner = Manner {
            is_encrypted,
            offers,
            asks_for_certificate: false,
        };
        let (service, connections) = site.serve(manner, echo()).await;
        let edge = open_sidecar(
            &service,
            &format!("{said}\n{}", site.section(is_encrypted, "")),
        );
        // More than one request, so that connections are seen to be kept.
        for _ in 0..3 {
            let response = send(address(&edge), post("/a?b=c", "hello")).await;
            if want == "502" {
                assert_eq!(response.status(), 502, "{said}");
                continue;
            }
            let got = text(response).await;
            assert_eq!(
                got,
                format!("{want} POST /a?b=c api.test 5 hello"),
                "{said} {offers:?}"
            );
        }
        if want != "502" {
            assert_eq!(connections.load(Ordering::SeqCst), 1, "{said} {offers:?}");
        }
    }
}

#[tokio::test]
async fn a_service_is_believed_and_believes_by_certificates() {
    let (site, other) = (Site::new(), Site::new());
    let manner = Manner {
        is_encrypted: true,
        offers: &["h2"],
        asks_for_certificate: true,
    };
    let (service, _) = site.serve(manner, echo()).await;
    let (mine, name) = (site.shown(), "server_name = 'another.test'\n");
    for (what, section, want) in [
        (
            "a certificate of its authority",
            site.section(true, &mine),
            200,
        ),
        ("none", site.section(true, ""), 502),
        (
            "one of another authority",
            site.section(true, &other.shown()),
            502,
        ),
        (
            "a service of another authority",
            other.section(true, &mine),
            502,
        ),
        (
            "a service of another name",
            site.section(true, &format!("{mine}{name}")),
            502,
        ),
    ] {
        let edge = open_sidecar(&service, &section);
        let status = send(address(&edge), get("/")).await.status();
        assert_eq!(status.as_u16(), want, "{what}");
    }
}

#[tokio::test]
async fn large_bodies_stream_both_ways_over_http2() {
    let site = Site::new();
    for is_encrypted in [true, false] {
        let (edge, _) = site.http2(is_encrypted, echo()).await;
        let pieces = (0..LARGE / PIECE.len()).map(|_| Ok::<_, std::io::Error>(piece()));
        let body = StreamBody::new(stream::iter(pieces));
        let request = http::Request::post("/")
            .header("host", "h")
            .body(body)
            .unwrap();
        let mut response = send(address(&edge), request).await;
        let mut length = 0;
        while let Some(frame) = soon(response.body_mut().frame()).await {
            length += frame.unwrap().into_data().map_or(0, |data| data.len());
        }
        assert_eq!(length, "HTTP/2.0 POST / h chunked ".len() + LARGE);
    }
}

#[tokio::test]
async fn many_requests_share_a_connection() {
    let site = Site::new();
    let gate = Arc::new(tokio::sync::Barrier::new(20));
    let router = Router::new().fallback(any(move || {
        let gate = Arc::clone(&gate);
        async move {
            gate.wait().await;
            "together"
        }
    }));
    let first = Router::new().route("/first", any(|| async { "first" }));
    let (edge, connections) = site.http2(true, first.merge(router)).await;
    assert_eq!(
        text(send(address(&edge), get("/first")).await).await,
        "first"
    );
    let asks = (0..20).map(|_| async { text(send(address(&edge), get("/")).await).await });
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(answer, "together");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_the_service_ends_is_not_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(ends_after_a_request(stream));
        }
    });
    let edge = open_sidecar(at, "upstream_http2 = true");
    for number in 0..20 {
        let response = send(address(&edge), post("/", "order")).await;
        assert_eq!(response.status(), 200, "request {number}");
    }
    assert!(connections.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_not_kept_for_ever() {
    let site = Site::new();
    let manner = Manner {
        is_encrypted: false,
        offers: &[],
        asks_for_certificate: false,
    };
    let (service, connections) = site.serve(manner, echo()).await;
    let said = "upstream_http2 = true\n[timeouts]\nidle_upstream = '1ms'\n";
    let edge = open_sidecar(&service, said);
    for _ in 0..3 {
        assert_eq!(send(address(&edge), get("/")).await.status(), 200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

/// Says goodbye while the first request is being answered. The next one may be on its way.
async fn ends_after_a_request(stream: tokio::net::TcpStream) {
    let asked = Arc::new(Notify::new());
    let asks = Arc::clone(&asked);
    let router = echo().layer(MapRequestLayer::new(move |request: Request| {
        asks.notify_one();
        request
    }));
    let connection = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = asked.notified() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[tokio::test]
async fn a_request_that_is_broken_off_is_not_taken_for_a_whole_one() {
    let site = Site::new();
    let (ends, mut ended) = mpsc::channel(1);
    let router = Router::new().fallback(any(move |request: Request| {
        let ends = ends.clone();
        async move {
            let whole = request.into_body().collect().await;
            ends.send(whole.is_ok()).await.unwrap();
        }
    }));
    let (edge, _) = site.http2(true, router).await;
    let mut client = tokio::net::TcpStream::connect(address(&edge))
        .await
        .unwrap();
    let head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut client, head)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(client);
    assert_eq!(soon(ended.recv()).await, Some(false));
}

#[tokio::test]
async fn an_early_answer_and_a_broken_one_are_seen_as_what_they_are() {
    let site = Site::new();
    let router = Router::new()
        .route("/early", any(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
        .route(
            "/cut",
            any(|| async {
                let pieces = [Ok(Bytes::from("some")), Err(std::io::Error::other("cut"))];
                Body::from_stream(stream::iter(pieces))
            }),
        );
    let (edge, _) = site.http2(true, router).await;
    let response = send(address(&edge), post("/early", vec![b'x'; LARGE])).await;
    assert_eq!(response.status(), 413);
    let response = send(address(&edge), get("/cut")).await;
    assert!(response.status() == 502 || soon(response.into_body().collect()).await.is_err());
}

// === impl Site ===

impl Site {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        let site = Self {
            authority: authority.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        let (certificate, key) = site.signed();
        std::fs::write(site.file("ca.crt"), site.authority.pem()).unwrap();
        std::fs::write(site.file("mine.crt"), certificate.pem()).unwrap();
        std::fs::write(site.file("mine.key"), key.serialize_pem()).unwrap();
        site
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn signed(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.authority).unwrap(), key)
    }

    /// A sidecar before a service of HTTP/2.
    async fn http2(
        &self,
        is_encrypted: bool,
        router: Router,
    ) -> (vestibule_sidecar::Running, Arc<AtomicUsize>) {
        let manner = Manner {
            is_encrypted,
            offers: &["h2"],
            asks_for_certificate: false,
        };
        let (service, connections) = self.serve(manner, router).await;
        let said = format!("upstream_http2 = true\n{}", self.section(is_encrypted, ""));
        (open_sidecar(service, &said), connections)
    }

    fn section(&self, is_encrypted: bool, more: &str) -> String {
        if is_encrypted {
            let ca = self.file("ca.crt");
            format!("[upstream_tls]\nca = '{}'\n{more}\n", ca.display())
        } else {
            String::new()
        }
    }

    /// That this site's certificate is shown.
    fn shown(&self) -> String {
        let file = |name| Path::display(&self.file(name)).to_string();
        let (certificate, key) = (file("mine.crt"), file("mine.key"));
        format!("certificate = '{certificate}'\nkey = '{key}'\n")
    }

    /// A service, and the number of connections that were made to it.
    async fn serve(&self, manner: Manner<'_>, router: Router) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at: SocketAddr = listener.local_addr().unwrap();
        let acceptor = manner.is_encrypted.then(|| self.acceptor(manner));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    counted.fetch_add(1, Ordering::SeqCst);
                    let _ = match acceptor {
                        None => {
                            builder
                                .serve_connection(TokioIo::new(stream), service)
                                .await
                        }
                        Some(acceptor) => {
                            let Ok(stream) = acceptor.accept(stream).await else {
                                return;
                            };
                            builder
                                .serve_connection(TokioIo::new(stream), service)
                                .await
                        }
                    };
                });
            }
        });
        let scheme = if manner.is_encrypted { "https" } else { "http" };
        (format!("{scheme}://{at}"), connections)
    }

    fn acceptor(&self, manner: Manner<'_>) -> TlsAcceptor {
        let (certificate, key) = self.signed();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if manner.asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = manner
            .offers
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Says version, method, target, host and framing, and then the body as it comes.
fn echo() -> Router {
    Router::new().fallback(any(|request: Request| async move {
        let length = request.headers().get("content-length");
        let length = length.map_or("chunked", |length| length.to_str().unwrap());
        let host = request
            .headers()
            .get("host")
            .map(|host| host.to_str().unwrap());
        let host = host.or_else(|| request.uri().authority().map(|host| host.as_str()));
        let target = request.uri().path_and_query().unwrap();
        let line = format!(
            "{:?} {} {target} {} {length} ",
            request.version(),
            request.method(),
            host.unwrap_or("nobody"),
        );
        let line = stream::iter([Ok(Bytes::from(line))]);
        Body::from_stream(stream::StreamExt::chain(
            line,
            request.into_body().into_data_stream(),
        ))
    }))
}

fn piece() -> Frame<Bytes> {
    Frame::data(Bytes::from_static(&PIECE))
}

static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
const LARGE: usize = 16 << 20;
