//! Certificates and keys out of PEM files, for either side of the sidecar, taken anew when a
//! file changes.
//!
//! A connection keeps what it was made with; the next one is made with the new files. A file
//! that is not good, or half written, changes nothing and is told in the log.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

/// A file that does not hold what it is to hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", file.display())]
pub(crate) struct TlsFault {
    file: PathBuf,
    fault: String,
}

/// Files that were read, and what tells them from others.
#[derive(Default)]
pub(crate) struct Files {
    digest: Sha256,
}

/// What was made of files, and is made anew when they change.
pub(crate) struct Fresh<T> {
    load: Load<T>,
    current: ArcSwap<T>,
    /// Of the files that were looked at last, whether they were good or not.
    seen: Mutex<Result<[u8; 32], TlsFault>>,
    reloads: Reloads,
}

/// How often files that had changed were taken, and were not. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reloads {
    pub(crate) taken: Counter,
    pub(crate) refused: Counter,
}

type Load<T> = Box<dyn Fn(&mut Files) -> Result<T, TlsFault> + Send + Sync>;

// === impl TlsFault ===

impl TlsFault {
    pub(crate) fn new(file: &Path, fault: impl Display) -> Self {
        Self {
            file: file.to_owned(),
            fault: fault.to_string(),
        }
    }
}

// === impl Files ===

impl Files {
    /// The certificates of a file, at least one.
    pub(crate) fn certificates(
        &mut self,
        file: &Path,
    ) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
        let text = self.read(file)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(found) if found.is_empty() => Err(TlsFault::new(file, "no certificate is in it")),
            Ok(found) => Ok(found),
            // The cause may quote the file, which may be another one than it should be.
            Err(_) => Err(TlsFault::new(file, "it is no file of certificates in PEM")),
        }
    }

    /// The private key of a file.
    pub(crate) fn key(&mut self, file: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
        let text = self.read(file)?;
        let key = PrivateKeyDer::from_pem_slice(&text);
        key.map_err(|_| TlsFault::new(file, "no private key in PEM is in it"))
    }

    /// The authorities of a file.
    pub(crate) fn authorities(&mut self, file: &Path) -> Result<Arc<RootCertStore>, TlsFault> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(file)? {
            let added = roots.add(certificate);
            added.map_err(|cause| TlsFault::new(file, cause))?;
        }
        Ok(Arc::new(roots))
    }

    /// What changes with the contents of any of the files.
    pub(crate) fn digest(self) -> [u8; 32] {
        self.digest.finalize().into()
    }

    fn read(&mut self, file: &Path) -> Result<Vec<u8>, TlsFault> {
        let text = std::fs::read(file);
        let text = text.map_err(|cause: io::Error| {
            TlsFault::new(file, format_args!("it cannot be read: {cause}"))
        })?;
        self.digest.update(text.len().to_be_bytes());
        self.digest.update(&text);
        Ok(text)
    }
}

// === impl Fresh ===

impl<T: Send + Sync + 'static> Fresh<T> {
    /// Reads the files, and counts from here on how often they are read anew.
    pub(crate) fn read(
        reloads: &Reloads,
        load: impl Fn(&mut Files) -> Result<T, TlsFault> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, TlsFault> {
        let mut files = Files::default();
        let current = ArcSwap::from_pointee(load(&mut files)?);
        Ok(Arc::new(Self {
            load: Box::new(load),
            current,
            seen: Mutex::new(Ok(files.digest())),
            reloads: reloads.clone(),
        }))
    }

    /// What was read last.
    pub(crate) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Reads the files anew. Whether they have changed, for the better.
    pub(crate) fn reload(&self) -> Result<bool, TlsFault> {
        let mut files = Files::default();
        let loaded = (self.load)(&mut files);
        let digest = files.digest();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok(_) if *seen == Ok(digest) => Ok(false),
            Ok(current) => {
                *seen = Ok(digest);
                self.current.store(Arc::new(current));
                self.reloads.taken.inc();
                tracing::info!("certificates have changed: new connections have the new ones");
                Ok(true)
            }
            Err(fault) => {
                // Told and counted once, not at every look.
                if seen.as_ref() != Err(&fault) {
                    self.reloads.refused.inc();
                    tracing::warn!(%fault, "certificates stay as they were");
                    *seen = Err(fault.clone());
                }
                Err(fault)
            }
        }
    }

    /// Looks for new files now and then, until nobody uses them.
    pub(crate) async fn watch(fresh: Weak<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let Some(fresh) = fresh.upgrade() else {
                return;
            };
            // What is wrong was logged.
            let _ = tokio::task::spawn_blocking(move || fresh.reload()).await;
        }
    }
}

impl<T> fmt::Debug for Fresh<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A private key may be in it.
        f.write_str("Fresh")
    }
}

/// The one that the whole binary uses.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate is renewed days before it ends; a look costs the reading of a few kilobytes.
const LOOK: Duration = Duration::from_secs(2);
