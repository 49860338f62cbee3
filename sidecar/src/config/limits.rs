//! `[limits]`: what one sidecar holds at a time, and what one request may bring.

use super::schema::{Kind, Row};
use super::section::Section;

/// Numbers past which a connection or a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `per_minute`: requests a caller has where its key says nothing; 60 by default.
    pub per_minute: u32,
    /// `connections`: open at a time; one more is closed at once. 10 000 by default.
    pub connections: usize,
    /// `requests`: under way to the service at a time; one more is answered 503. 1024 by
    /// default.
    pub requests: usize,
    /// `idle_upstream`: connections to the service kept for the next request; 128 by default.
    pub idle_upstream: usize,
    /// `head_max`: bytes of a request's head; 16 KB by default.
    pub head_max: usize,
    /// `headers_max`: fields in a request's head; 100 by default.
    pub headers_max: usize,
    /// `buffer`: bytes of all the bodies that are held at one time, because their request
    /// is keyed or its agent is looked for; one more is answered 503. 64 MB by default: give
    /// it a quarter of the memory that the process may use.
    pub buffer: usize,
    /// `streams`: requests at a time on one HTTP/2 connection; 128 by default.
    pub streams: u32,
    /// `failed_auth_per_minute`: failed authentications of one address, of IPv6 one /64,
    /// after which requests with a key are answered 429 unread; 30 by default, 0 for as many
    /// as they like. A fleet that was given a wrong key fails less often, and is let in
    /// within seconds of the right one. A private address is counted only beside
    /// `trusted_proxies`, because most often it is a proxy's.
    pub failed_auth_per_minute: u32,
}

// === impl Limits ===

impl Limits {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "per_minute",
            Kind::Whole(1, 1_000_000),
            "Requests that a caller has where its key says nothing; 60 by default.",
        ),
        Row::may(
            "connections",
            Kind::Whole(1, 1_000_000),
            "Connections at a time; one more is closed at once. 10000 by default.",
        ),
        Row::may(
            "requests",
            Kind::Whole(1, 1_000_000),
            "Requests under way to the service at a time; one more is answered 503. 1024 by default.",
        ),
        Row::may(
            "idle_upstream",
            Kind::Whole(0, 100_000),
            "Connections to the service that are kept for the next request; 128 by default.",
        ),
        Row::may(
            "head_max",
            Kind::Size(8 << 10, 1 << 20),
            "Bytes of a request's head; 16KB by default.",
        ),
        Row::may(
            "headers_max",
            Kind::Whole(10, 1000),
            "Fields in a request's head; 100 by default.",
        ),
        Row::may(
            "buffer",
            Kind::Size(1 << 20, 1 << 40),
            "Bytes of all bodies that are held at a time; one more is answered 503. 64MB by default.",
        ),
        Row::may(
            "streams",
            Kind::Whole(1, 10_000),
            "Requests at a time on one HTTP/2 connection; 128 by default.",
        ),
        Row::may(
            "failed_auth_per_minute",
            Kind::Whole(0, 60_000),
            "Failed authentications of one address, after which it waits; 30 by default, 0 for as many as it likes.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            per_minute: section.or("per_minute", default.per_minute, |entry| {
                entry.whole(1..=1_000_000)
            }),
            connections: section.or("connections", default.connections, |entry| {
                entry.whole(1..=1_000_000)
            }),
            requests: section.or("requests", default.requests, |entry| {
                entry.whole(1..=1_000_000)
            }),
            idle_upstream: section.or("idle_upstream", default.idle_upstream, |entry| {
                entry.whole(0..=100_000)
            }),
            head_max: section.or("head_max", default.head_max, |entry| {
                entry.bytes(HEAD_MAX_LEAST..=1 << 20)
            }),
            headers_max: section.or("headers_max", default.headers_max, |entry| {
                entry.whole(10..=1000)
            }),
            buffer: section.or("buffer", default.buffer, |entry| {
                entry.bytes(1 << 20..=1 << 40)
            }),
            streams: section.or("streams", default.streams, |entry| entry.whole(1..=10_000)),
            failed_auth_per_minute: section.or(
                "failed_auth_per_minute",
                default.failed_auth_per_minute,
                |entry| entry.whole(0..=60_000),
            ),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_minute: 60,
            connections: 10_000,
            requests: 1024,
            idle_upstream: 128,
            head_max: 16 << 10,
            headers_max: 100,
            buffer: 64 << 20,
            streams: 128,
            failed_auth_per_minute: 30,
        }
    }
}

/// hyper's read buffer takes no less.
const HEAD_MAX_LEAST: usize = 8 << 10;
