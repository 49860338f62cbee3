//! `[limits]`: what one sidecar holds at a time, and what one request may bring.

use super::error::ConfigError;
use super::value::Section;

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
    pub(super) fn parse(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let limits = Self {
            per_minute: match section.take("per_minute") {
                Some(entry) => entry.whole(1..=1_000_000)?,
                None => default.per_minute,
            },
            connections: match section.take("connections") {
                Some(entry) => entry.whole(1..=1_000_000)?,
                None => default.connections,
            },
            requests: match section.take("requests") {
                Some(entry) => entry.whole(1..=1_000_000)?,
                None => default.requests,
            },
            idle_upstream: match section.take("idle_upstream") {
                Some(entry) => entry.whole(0..=100_000)?,
                None => default.idle_upstream,
            },
            head_max: match section.take("head_max") {
                Some(entry) => {
                    usize::try_from(entry.size(HEAD_MAX_LEAST..=1 << 20)?).expect("at most 1 MiB")
                }
                None => default.head_max,
            },
            headers_max: match section.take("headers_max") {
                Some(entry) => entry.whole(10..=1000)?,
                None => default.headers_max,
            },
            buffer: match section.take("buffer") {
                Some(entry) => {
                    usize::try_from(entry.size(1 << 20..=1 << 40)?).expect("at most 1 TiB")
                }
                None => default.buffer,
            },
            streams: match section.take("streams") {
                Some(entry) => entry.whole(1..=10_000)?,
                None => default.streams,
            },
            failed_auth_per_minute: match section.take("failed_auth_per_minute") {
                Some(entry) => entry.whole(0..=60_000)?,
                None => default.failed_auth_per_minute,
            },
        };
        section.finish()?;
        Ok(limits)
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
const HEAD_MAX_LEAST: u64 = 8 << 10;
