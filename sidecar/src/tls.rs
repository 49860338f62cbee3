//! Certificates and keys out of PEM files, for either side of the sidecar.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// The one that the whole binary uses.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
