//! Handshakes over an in-memory stream, and files that change under them.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as ClientStream;

use super::*;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// An authority, and a folder with the files of a server.
struct Site {
    authority: Authority,
    folder: TempDir,
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_the_old_ones_go_on() {
    let site = Site::new();
    site.renew();
    let certificates = read(&site.files(None), true, &Reloads::default()).unwrap();
    let (mut kept, mut served) = site.connect(&certificates, site.client()).await.unwrap();
    let old = shown(&kept);
    assert_eq!(certificates.reload(), Ok(false), "nothing has changed");

    site.renew();
    assert_eq!(certificates.reload(), Ok(true));
    let (new, _served) = site.connect(&certificates, site.client()).await.unwrap();
    assert_ne!(shown(&new), old);
    assert_eq!(shown(&kept), old);
    kept.write_all(b"still here").await.unwrap();
    let mut text = [0; 10];
    served.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"still here");
}

#[tokio::test]
async fn a_file_that_is_not_good_changes_nothing_and_is_told_and_counted_once() {
    let site = Site::new();
    site.renew();
    let reloads = Reloads::default();
    let certificates = read(&site.files(None), true, &reloads).unwrap();
    let certificate = site.path("tls.crt");
    let good = std::fs::read_to_string(&certificate).unwrap();
    let foreign = KeyPair::generate().unwrap().serialize_pem();
    for (file, text, want) in [
        ("tls.crt", "", "no certificate is in it"),
        (
            "tls.crt",
            &good[..good.len() / 2],
            "no certificate is in it",
        ),
        ("tls.key", "", "no private key in PEM is in it"),
        ("tls.key", &*foreign, "keys may not be consistent"),
    ] {
        site.renew();
        std::fs::write(site.path(file), text).unwrap();
        for _ in 0..2 {
            let fault = certificates.reload().unwrap_err().to_string();
            assert!(fault.contains(file), "{fault}");
            let known =
                fault.contains(want) || fault.contains("KeyMismatch") || fault.contains("PEM");
            assert!(known, "{file}: {fault}");
            assert!(!fault.contains("BEGIN"), "{fault}");
        }
        assert!(site.connect(&certificates, site.client()).await.is_ok());
    }
    std::fs::remove_file(&certificate).unwrap();
    assert!(
        certificates
            .reload()
            .unwrap_err()
            .to_string()
            .contains("it cannot be read")
    );
    site.renew();
    assert_eq!(certificates.reload(), Ok(true), "it is good again");
    assert_eq!((reloads.refused.get(), reloads.taken.get()), (5, 1));
}

#[tokio::test]
async fn the_protocol_is_agreed_upon() {
    let site = Site::new();
    site.renew();
    let (h2, h1) = (&b"h2"[..], &b"http/1.1"[..]);
    for (http2, offered, want) in [
        (true, vec![h2, h1], Ok(Some(h2))),
        (true, vec![h1], Ok(Some(h1))),
        (true, vec![], Ok(None)),
        (false, vec![h2, h1], Ok(Some(h1))),
        (false, vec![h2], Err(())),
    ] {
        let certificates = read(&site.files(None), http2, &Reloads::default()).unwrap();
        let mut client = site.client();
        client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let connected = site.connect(&certificates, client).await;
        let agreed = connected
            .as_ref()
            .map(|(client, _)| client.get_ref().1.alpn_protocol());
        assert_eq!(agreed.map_err(drop), want, "{http2} {offered:?}");
    }
}

#[tokio::test]
async fn a_client_shows_a_certificate_where_one_is_asked_for() {
    let (site, stranger) = (Site::new(), Site::new());
    site.renew();
    std::fs::write(site.path("ca.crt"), site.authority.pem()).unwrap();
    let certificates = read(&site.files(Some("ca.crt")), true, &Reloads::default()).unwrap();
    for (who, signed_by, want) in [
        ("nobody", None, false),
        ("one of another authority", Some(&stranger.authority), false),
        ("one of this authority", Some(&site.authority), true),
    ] {
        let client = site.client_with(signed_by);
        let came_through = match site.connect(&certificates, client).await {
            Err(_) => false,
            // Under TLS 1.3 a client learns with its first read that it was not taken.
            Ok((mut client, mut served)) => {
                let _ = served.write_all(b"hello").await;
                client.read_u8().await.is_ok()
            }
        };
        assert_eq!(came_through, want, "{who}");
    }
}

#[tokio::test]
async fn a_client_that_names_no_server_or_another_one_is_shown_the_certificate() {
    let site = Site::new();
    site.renew();
    let certificates = read(&site.files(None), true, &Reloads::default()).unwrap();
    let mut client = site.client();
    client.enable_sni = false;
    assert!(site.connect(&certificates, client).await.is_ok());
}

#[test]
fn what_cannot_be_read_is_named() {
    let site = Site::new();
    let fault = read(&site.files(None), true, &Reloads::default()).unwrap_err();
    assert!(
        fault
            .to_string()
            .starts_with(&site.path("tls.crt").display().to_string()),
        "{fault}"
    );
    site.renew();
    let fault = read(&site.files(Some("ca.crt")), true, &Reloads::default()).unwrap_err();
    assert!(
        fault.to_string().contains("ca.crt: it cannot be read"),
        "{fault}"
    );
}

// === impl Site ===

impl Site {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            authority: CertifiedIssuer::self_signed(params, key).unwrap(),
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a new certificate and its key.
    fn renew(&self) {
        let (certificate, key) = signed(&self.authority);
        std::fs::write(self.path("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(self.path("tls.key"), key.serialize_pem()).unwrap();
    }

    fn files(&self, client_ca: Option<&str>) -> Tls {
        Tls {
            certificate: self.path("tls.crt"),
            key: self.path("tls.key"),
            client_ca: client_ca.map(|name| self.path(name)),
            place: crate::config::Place::Named(String::new()),
        }
    }

    fn client(&self) -> ClientConfig {
        self.client_with(None)
    }

    fn client_with(&self, signed_by: Option<&Authority>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match signed_by {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let (certificate, key) = signed(authority);
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                let chain = vec![certificate.der().clone()];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }

    async fn connect(
        &self,
        certificates: &Certificates,
        client: ClientConfig,
    ) -> std::io::Result<(ClientStream<DuplexStream>, TlsStream<DuplexStream>)> {
        let (near, far) = tokio::io::duplex(16 << 10);
        let name = ServerName::try_from("api.test").unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let (client, server) =
            tokio::join!(connector.connect(name, near), accept(certificates, far));
        Ok((client?, server?))
    }
}

fn signed(authority: &Authority) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["api.test".to_owned()]).unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}

fn shown(client: &ClientStream<DuplexStream>) -> Vec<u8> {
    client.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}
