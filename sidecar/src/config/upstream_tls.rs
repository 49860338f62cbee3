//! `[upstream_tls]`: how an `https://` upstream is known, and how it knows this sidecar.

use std::path::PathBuf;

use super::error::Place;
use super::schema::{Kind, Row};
use super::section::Section;

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
    /// Where the section begins, for faults that are found in the files.
    pub place: Place,
}

// === impl UpstreamTls ===

impl UpstreamTls {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::must(
            "ca",
            Kind::Text,
            "A PEM file of the authorities of the service's certificate.",
        ),
        Row::may(
            "certificate",
            Kind::Text,
            "A PEM file of what this sidecar shows; nothing by default.",
        ),
        Row::may("key", Kind::Text, "A PEM file with the private key of it."),
        Row::may(
            "server_name",
            Kind::Like("^[^ ]+$", "app.internal"),
            "The name in the service's certificate; by default the host of upstream.",
        ),
    ];

    /// The section, which stands beside an `https://` upstream and beside no other.
    /// Where nobody knows the upstream, it is judged as far as it goes.
    pub(super) fn parse(section: &mut Section<'_>, is_https: Option<bool>) -> Option<Self> {
        if is_https != Some(true) && section.is_empty() {
            return None;
        }
        if is_https == Some(false) {
            section.fault("there is no https:// in 'upstream' for it");
        }
        let (has_certificate, has_key) = (section.has("certificate"), section.has("key"));
        let ca = match is_https {
            Some(true) => section.must("ca", CA, |entry| entry.path(CA)),
            Some(false) | None => section.file("ca"),
        };
        let identity = section.file("certificate").zip(section.file("key"));
        match (has_certificate, has_key) {
            (true, false) => section.lacks("key", PEM),
            (false, true) => section.lacks("certificate", PEM),
            (true, true) | (false, false) => {}
        }
        let server_name = section.maybe("server_name", |entry| entry.word(server_name));
        Some(Self {
            ca: ca?,
            identity,
            server_name,
            place: section.place(),
        })
    }
}

fn server_name(text: &str) -> Result<String, &'static str> {
    rustls::pki_types::ServerName::try_from(text)
        .map(|_| text.to_owned())
        .map_err(|_| "a name like \"app.internal\", or an IP address")
}

const CA: &str = "a PEM file of the authorities of the upstream";
const PEM: &str = "the path of a PEM file";
