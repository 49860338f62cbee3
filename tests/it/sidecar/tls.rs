//! Connections that are encrypted: what is agreed upon, and certificates that are renewed.

use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::routing::any;
use reqwest::tls::{Certificate, TlsInfo};
use reqwest::{Client, Response, Version};

use super::world::{address, open_sidecar, service, soon, talk};

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_drops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let first = renew(folder.path());
    let edge = open_sidecar(service(ok()).await, &section(folder.path()));
    let versions = [Version::HTTP_2, Version::HTTP_11];
    let kept = versions.map(|version| (version, client(address(&edge), version, &first)));
    for (version, client) in &kept {
        assert_eq!(ask(client).await.version(), *version);
    }

    let second = renew(folder.path());
    // A client that knows the new one alone comes through once it is shown. Those that know
    // the first one alone would not, so what they send goes over what they have.
    let news = soon(async {
        loop {
            let client = client(address(&edge), Version::HTTP_2, &second);
            for (_, kept) in &kept {
                ask(kept).await;
            }
            if let Ok(response) = client.get(URL).send().await {
                return shown(&response);
            }
        }
    })
    .await;
    for (version, client) in &kept {
        let response = ask(client).await;
        assert_eq!(response.version(), *version);
        assert_ne!(shown(&response), news);
    }
}

#[tokio::test]
async fn what_is_not_tls_is_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    renew(folder.path());
    let edge = open_sidecar(service(ok()).await, &section(folder.path()));
    let answer = talk(address(&edge), "GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_stops_the_start() {
    use vestibule_sidecar::Sidecar;
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{}{}", section(folder.path()), super::world::OPEN);
    let config = super::world::config("127.0.0.1:1", &text);
    let said = Sidecar::new(config).spawn().unwrap_err().to_string();
    assert!(said.starts_with("test.toml:5: [tls] "), "{said}");
    assert!(said.contains("tls.crt: it cannot be read"), "{said}");
}

async fn ask(client: &Client) -> Response {
    let response = soon(client.get(URL).send()).await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

fn shown(response: &Response) -> Vec<u8> {
    let info = response.extensions().get::<TlsInfo>().unwrap();
    info.peer_certificate().unwrap().to_vec()
}

/// A client that trusts this certificate alone, and speaks this version.
fn client(edge: SocketAddr, version: Version, trusted: &str) -> Client {
    // Another test may have chosen it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let trusted = Certificate::from_pem(trusted.as_bytes()).unwrap();
    let builder = Client::builder()
        .tls_certs_only([trusted])
        .tls_info(true)
        .resolve("api.test", edge);
    let builder = match version {
        Version::HTTP_11 => builder.http1_only(),
        _ => builder,
    };
    builder.build().unwrap()
}

/// Writes a new certificate and its key, and gives the certificate.
fn renew(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    made.cert.pem()
}

fn section(folder: &Path) -> String {
    let file = |name| folder.join(name).display().to_string();
    let (certificate, key) = (file("tls.crt"), file("tls.key"));
    format!("[tls]\ncertificate = '{certificate}'\nkey = '{key}'\n")
}

fn ok() -> Router {
    Router::new().fallback(any(|| async { "ok" }))
}

const URL: &str = "https://api.test/";
