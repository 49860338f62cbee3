//! `[traces]`: where spans of requests are sent, and of how many.

use http::Uri;

use super::schema::{Kind, Row};
use super::section::Section;

/// Spans in OTLP. Without a collector there are none, and `traceparent` goes through as it
/// came.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// `otlp`: the collector, `http://HOST:PORT`; none by default.
    pub otlp: Option<String>,
    /// `protocol`: how it is spoken to; gRPC by default.
    pub protocol: TraceProtocol,
    /// `sampling`: the share of the traces begun here that is sent, from 0 to 1; 0.01 by
    /// default.
    pub sampling: f64,
    /// `trust_traceparent`: whether a caller's trace is gone on with, and its word on sampling
    /// taken; by default a new trace is begun, with a link to the caller's.
    pub trust_traceparent: bool,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceProtocol {
    /// `grpc`: OTLP over gRPC, without encryption.
    #[default]
    Grpc,
    /// `http`: protobuf over HTTP, to `/v1/traces` below the collector's address.
    Http,
}

// === impl Traces ===

impl Traces {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "otlp",
            Kind::Like("^http://[^/@?#]+", "http://127.0.0.1:4317"),
            "The collector that spans are sent to; none by default.",
        ),
        Row::may(
            "protocol",
            Kind::Word(&["grpc", "http"]),
            "How the collector is spoken to; grpc by default.",
        ),
        Row::may(
            "sampling",
            Kind::Share,
            "The share of the traces begun here that is sent; 0.01 by default.",
        ),
        Row::may(
            "trust_traceparent",
            Kind::Flag,
            "Whether a caller's trace is gone on with; by default a new one is begun, with a link to it.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            otlp: section.maybe("otlp", |entry| entry.word(collector)),
            protocol: section.or("protocol", default.protocol, |entry| {
                entry.word(TraceProtocol::parse)
            }),
            sampling: section.or("sampling", default.sampling, |entry| entry.share()),
            trust_traceparent: section.or("trust_traceparent", false, |entry| entry.flag()),
        }
    }
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            otlp: None,
            protocol: TraceProtocol::default(),
            sampling: 0.01,
            trust_traceparent: false,
        }
    }
}

// === impl TraceProtocol ===

impl TraceProtocol {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http" => Ok(Self::Http),
            _ => Err("\"grpc\" or \"http\""),
        }
    }
}

/// An address that shows no secret: a password has no place in it.
fn collector(text: &str) -> Result<String, &'static str> {
    let is_good = text.parse::<Uri>().is_ok_and(|uri| {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        uri.scheme_str() == Some("http")
            && !authority.is_empty()
            && !authority.contains('@')
            && uri.query().is_none()
    });
    is_good
        .then(|| text.to_owned())
        .ok_or("a collector like \"http://127.0.0.1:4317\", near enough to need no encryption")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_address_without_a_secret() {
        for (text, is_good) in [
            ("http://127.0.0.1:4317", true),
            ("http://collector.monitoring/otlp", true),
            ("https://collector:4317", false),
            ("http://user:secret@collector:4318", false),
            ("http://collector?token=secret", false),
            ("collector:4317", false),
            ("http://", false),
            ("", false),
        ] {
            assert_eq!(collector(text).is_ok(), is_good, "{text:?}");
        }
    }
}
