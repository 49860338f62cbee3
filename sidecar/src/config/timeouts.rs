//! `[timeouts]`: how long each side may keep the other waiting.

use std::time::Duration;

use super::error::ConfigError;
use super::value::Section;

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
    pub(super) fn parse(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let bounds = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
        let mut duration = |key, default| match section.take(key) {
            Some(entry) => entry.duration(bounds.clone()),
            None => Ok(default),
        };
        let default = Self::default();
        let timeouts = Self {
            first_byte: duration("first_byte", default.first_byte)?,
            head: duration("head", default.head)?,
            idle: duration("idle", default.idle)?,
            body: duration("body", default.body)?,
            write: duration("write", default.write)?,
            request: duration("request", default.request)?,
            connect: duration("connect", default.connect)?,
            answer: duration("answer", default.answer)?,
            answer_body: duration("answer_body", default.answer_body)?,
            idle_upstream: duration("idle_upstream", default.idle_upstream)?,
        };
        section.finish()?;
        Ok(timeouts)
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
