//! TLS for clients: what they are shown, and what is asked of them.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use vestibule::clock::Timestamp;

use crate::config::Tls;
use crate::tls::{Files, Fresh, Reloads, TlsFault, provider};
use crate::validity;

/// What clients are shown, and what is asked of them.
pub(crate) type Certificates = Fresh<Shown>;

/// What a handshake is made with.
pub(crate) struct Shown {
    config: Arc<ServerConfig>,
    /// When the certificate ends, as far as that can be read.
    pub(crate) ends: Option<Timestamp>,
}

/// Reads the files, and counts how often they are read anew.
pub(crate) fn read(
    tls: &Tls,
    http2: bool,
    reloads: &Reloads,
) -> Result<Arc<Certificates>, TlsFault> {
    let tls = tls.clone();
    Fresh::read(reloads, move |files| load(&tls, http2, files))
}

/// Shakes hands with a client.
pub(crate) async fn accept<I>(certificates: &Certificates, io: I) -> std::io::Result<TlsStream<I>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let shown = certificates.current();
    TlsAcceptor::from(Arc::clone(&shown.config))
        .accept(io)
        .await
}

fn load(tls: &Tls, http2: bool, files: &mut Files) -> Result<Shown, TlsFault> {
    let certificates = files.certificates(&tls.certificate)?;
    let ends = certificates.first().and_then(|leaf| validity::ends(leaf));
    let key = files.key(&tls.key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3");
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = files.authorities(file)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let verifier = verifier.map_err(|cause| TlsFault::new(file, cause))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(certificates, key);
    let mut config = config.map_err(|cause| TlsFault::new(&tls.key, cause))?;
    config.alpn_protocols = protocols(http2);
    let config = Arc::new(config);
    Ok(Shown { config, ends })
}

fn protocols(http2: bool) -> Vec<Vec<u8>> {
    let all: &[&[u8]] = &[b"h2", b"http/1.1"];
    let from = usize::from(!http2);
    all[from..].iter().map(|name| name.to_vec()).collect()
}

#[cfg(test)]
mod tests;
