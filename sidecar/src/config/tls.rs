//! `[tls]`: TLS for clients.

use std::path::PathBuf;

use super::entry::Entry;
use super::error::Place;
use super::schema::{Kind, Row};
use super::section::Section;

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
    /// Where the section begins, for faults that are found in the files.
    pub place: Place,
}

// === impl Tls ===

impl Tls {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::must(
            "certificate",
            Kind::Text,
            "A PEM file with the certificate, and those between it and an authority that clients know.",
        ),
        Row::must("key", Kind::Text, "A PEM file with its private key."),
        Row::may(
            "client_ca",
            Kind::Text,
            "A PEM file of authorities, one of which must have signed a client's certificate. None is asked for by default.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Option<Self> {
        if section.is_empty() {
            return None;
        }
        let pem = |entry: &Entry<'_>| entry.path(PEM);
        let certificate = section.must("certificate", PEM, pem);
        let key = section.must("key", PEM, pem);
        let client_ca = section.file("client_ca");
        Some(Self {
            certificate: certificate?,
            key: key?,
            client_ca,
            place: section.place(),
        })
    }
}

const PEM: &str = "the path of a PEM file";
