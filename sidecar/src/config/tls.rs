//! `[tls]`: TLS for clients.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::value::Section;

/// What clients are shown. Without the section connections are not encrypted.
///
/// The files are read anew when they change. TLS 1.2 and 1.3 are spoken; HTTP/2 is offered
/// where `http2` is on. A client that names no server, or another one, is shown the same
/// certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `certificate`: a PEM file with the certificate, and after it those between it and an
    /// authority that clients know.
    pub certificate: PathBuf,
    /// `key`: a PEM file with its private key.
    pub key: PathBuf,
    /// `client_ca`: a PEM file of authorities. A client must show a certificate of one of
    /// them; by default none is asked for.
    pub client_ca: Option<PathBuf>,
    /// The line on which the section begins, for faults that are found in the files.
    pub line: usize,
}

// === impl Tls ===

impl Tls {
    pub(super) fn parse(
        mut section: Section<'_>,
        folder: &Path,
    ) -> Result<Option<Self>, ConfigError> {
        let line = section.line();
        let client_ca = section.file("client_ca", folder)?;
        let (certificate, key) = (
            section.file("certificate", folder)?,
            section.file("key", folder)?,
        );
        let tls = match (certificate, key) {
            (None, None) if client_ca.is_none() => None,
            (Some(certificate), Some(key)) => Some(Self {
                certificate,
                key,
                client_ca,
                line,
            }),
            (None, _) => return Err(section.lacks("certificate", PEM)),
            (Some(_), None) => return Err(section.lacks("key", PEM)),
        };
        section.finish()?;
        Ok(tls)
    }
}

const PEM: &str = "the path of a PEM file";
