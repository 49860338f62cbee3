//! `[timeouts]`: how long each side may keep the other waiting.

use std::time::Duration;

use super::schema::{self, Kind, Row};
use super::section::Section;

/// One bound for each thing that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// `first_byte`: a new connection that sends nothing; 10 s by default.
    pub first_byte: Duration,
    /// `head`: the whole head of a request, from its first byte; 10 s by default.
    pub head: Duration,
    /// `idle`: a kept connection between two requests; 75 s by default, longer than
    /// clients' pools keep theirs.
    pub idle: Duration,
    /// `body`: the next piece of a request's body; 30 s by default.
    pub body: Duration,
    /// `write`: a client that does not read its answer; 30 s by default.
    pub write: Duration,
    /// `request`: a whole request, from its head to the end of its answer; 1 h by default,
    /// which bounds downloads and streams of events too. The connection is closed then, on
    /// HTTP/2 with whatever else is on it. A route's `deadline` bounds the wait for the
    /// answer's head.
    pub request: Duration,
    /// `connect`: a connection to the service; 1 s by default, since it is in the pod.
    pub connect: Duration,
    /// `answer`: the head of the service's answer once it has the whole request; 30 s by
    /// default. A route's `deadline` bounds the same from its side.
    pub answer: Duration,
    /// `answer_body`: the next piece of the answer's body; 60 s by default.
    pub answer_body: Duration,
    /// `idle_upstream`: a kept connection to the service; 10 s by default. It must be
    /// shorter than the service's own.
    pub idle_upstream: Duration,
}

// === impl Timeouts ===

impl Timeouts {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "first_byte",
            Kind::Duration(1, schema::DAY),
            "A new connection that sends nothing; 10s by default.",
        ),
        Row::may(
            "head",
            Kind::Duration(1, schema::DAY),
            "The whole head of a request; 10s by default.",
        ),
        Row::may(
            "idle",
            Kind::Duration(1, schema::DAY),
            "A kept connection between two requests; 75s by default.",
        ),
        Row::may(
            "body",
            Kind::Duration(1, schema::DAY),
            "The next piece of a request's body; 30s by default.",
        ),
        Row::may(
            "write",
            Kind::Duration(1, schema::DAY),
            "A client that does not read its answer; 30s by default.",
        ),
        Row::may(
            "request",
            Kind::Duration(1, schema::DAY),
            "A whole request, to the end of its answer; 1h by default.",
        ),
        Row::may(
            "connect",
            Kind::Duration(1, schema::DAY),
            "A connection to the service; 1s by default.",
        ),
        Row::may(
            "answer",
            Kind::Duration(1, schema::DAY),
            "The head of the service's answer; 30s by default.",
        ),
        Row::may(
            "answer_body",
            Kind::Duration(1, schema::DAY),
            "The next piece of the answer's body; 60s by default.",
        ),
        Row::may(
            "idle_upstream",
            Kind::Duration(1, schema::DAY),
            "A kept connection to the service, shorter than the service's own; 10s by default.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Self {
        let bounds = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
        let mut duration =
            |key, default| section.or(key, default, |entry| entry.duration(bounds.clone()));
        let default = Self::default();
        Self {
            first_byte: duration("first_byte", default.first_byte),
            head: duration("head", default.head),
            idle: duration("idle", default.idle),
            body: duration("body", default.body),
            write: duration("write", default.write),
            request: duration("request", default.request),
            connect: duration("connect", default.connect),
            answer: duration("answer", default.answer),
            answer_body: duration("answer_body", default.answer_body),
            idle_upstream: duration("idle_upstream", default.idle_upstream),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            body: Duration::from_secs(30),
            write: Duration::from_secs(30),
            request: Duration::from_secs(3600),
            connect: Duration::from_secs(1),
            answer: Duration::from_secs(30),
            answer_body: Duration::from_secs(60),
            idle_upstream: Duration::from_secs(10),
        }
    }
}
