//! TLS for clients: the certificate that is shown, taken anew when its file changes.
//!
//! A connection keeps what it was made with; the next one is shown the new certificate. A
//! file that is not good, or half written, changes nothing and is told in the log.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Tls;
use crate::tls::{Files, TlsFault, provider};

/// What clients are shown, and what is asked of them.
pub(crate) struct Certificates {
    files: Tls,
    http2: bool,
    current: ArcSwap<ServerConfig>,
    /// Of the files that were looked at last, whether they were good or not.
    seen: Mutex<Result<[u8; 32], TlsFault>>,
}

// === impl Certificates ===

impl Certificates {
    /// Reads the files.
    pub(crate) fn read(files: &Tls, http2: bool) -> Result<Arc<Self>, TlsFault> {
        let (current, digest) = load(files, http2)?;
        Ok(Arc::new(Self {
            files: files.clone(),
            http2,
            current: ArcSwap::from(current),
            seen: Mutex::new(Ok(digest)),
        }))
    }

    /// Reads the files anew. Whether they have changed, for the better or not.
    pub(crate) fn reload(&self) -> Result<bool, TlsFault> {
        let loaded = load(&self.files, self.http2);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok((_, digest)) if *seen == Ok(digest) => Ok(false),
            Ok((current, digest)) => {
                *seen = Ok(digest);
                self.current.store(current);
                tracing::info!(certificate = %self.files.certificate.display(), "a new certificate is shown");
                Ok(true)
            }
            Err(fault) => {
                // Told once, not at every look.
                if seen.as_ref() != Err(&fault) {
                    tracing::warn!(%fault, "the certificate stays as it was");
                    *seen = Err(fault.clone());
                }
                Err(fault)
            }
        }
    }

    /// Shakes hands with a client.
    pub(crate) async fn accept<I>(&self, io: I) -> std::io::Result<TlsStream<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.current.load_full()).accept(io).await
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Looks for new files now and then, until nobody uses them.
pub(crate) async fn watch(certificates: Weak<Certificates>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(certificates) = certificates.upgrade() else {
            return;
        };
        // What is wrong was logged.
        let _ = tokio::task::spawn_blocking(move || certificates.reload()).await;
    }
}

fn load(files: &Tls, http2: bool) -> Result<(Arc<ServerConfig>, [u8; 32]), TlsFault> {
    let mut read = Files::default();
    let certificates = read.certificates(&files.certificate)?;
    let key = read.key(&files.key)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3");
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = read.authorities(file)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let verifier = verifier.map_err(|cause| TlsFault::new(file, cause))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(certificates, key);
    let mut config = config.map_err(|cause| TlsFault::new(&files.key, cause))?;
    config.alpn_protocols = protocols(http2);
    Ok((Arc::new(config), read.digest()))
}

fn protocols(http2: bool) -> Vec<Vec<u8>> {
    let all: &[&[u8]] = &[b"h2", b"http/1.1"];
    let from = usize::from(!http2);
    all[from..].iter().map(|name| name.to_vec()).collect()
}

/// A certificate is renewed days before it ends; a look costs the reading of a few kilobytes.
const LOOK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
