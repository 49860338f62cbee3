//! `[upstream_tls]`: how an `https://` upstream is known, and how it knows this sidecar.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::value::Section;

/// TLS to the service. The files are read anew when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// `ca`: a PEM file of the authorities of the service's certificate. There is no
    /// default: the system's own are in a file too.
    pub ca: PathBuf,
    /// `certificate` and `key`: PEM files of what this sidecar shows; by default nothing.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `server_name`: the name in the service's certificate; by default the host of
    /// `upstream`.
    pub server_name: Option<String>,
    /// The line on which the section begins, for faults that are found in the files.
    pub line: usize,
}

// === impl UpstreamTls ===

impl UpstreamTls {
    /// The section, which stands beside an `https://` upstream and beside no other.
    pub(super) fn parse(
        mut section: Section<'_>,
        folder: &Path,
        is_https: bool,
    ) -> Result<Option<Self>, ConfigError> {
        let line = section.line();
        let ca = section.file("ca", folder)?;
        let certificate = section.file("certificate", folder)?;
        let key = section.file("key", folder)?;
        let server_name = match section.take("server_name") {
            Some(entry) => Some(entry.text(server_name)?),
            None => None,
        };
        let is_empty = (&ca, &certificate, &key, &server_name) == (&None, &None, &None, &None);
        if !is_https {
            return match is_empty {
                true => section.finish().map(|()| None),
                false => Err(section.fault("there is no https:// in 'upstream' for it")),
            };
        }
        let Some(ca) = ca else {
            return Err(section.lacks("ca", "a PEM file of the authorities of the upstream"));
        };
        let identity = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => return Err(section.lacks("key", "the path of a PEM file")),
            (None, Some(_)) => return Err(section.lacks("certificate", "the path of a PEM file")),
        };
        section.finish()?;
        Ok(Some(Self {
            ca,
            identity,
            server_name,
            line,
        }))
    }
}

fn server_name(text: &str) -> Result<String, &'static str> {
    rustls::pki_types::ServerName::try_from(text)
        .map(|_| text.to_owned())
        .map_err(|_| "a name like \"app.internal\", or an IP address")
}
