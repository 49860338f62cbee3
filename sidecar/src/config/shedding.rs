//! `[shedding]`: what is refused so that the rest is answered in time.

use std::time::Duration;

use super::schema::{Kind, Row};
use super::section::Section;

/// When requests are answered 503 with `Retry-After` though there is room for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shedding {
    /// `lateness`: how late the sidecar's own work may be, all the time; 250 ms by default,
    /// `"0s"` for ever so late. Past it a share of the requests is refused, a growing one
    /// while it lasts. The default is more than a limit of processor time makes of it, which
    /// pauses a container for up to 100 ms at a time.
    pub lateness: Duration,
    /// `at_once`: requests that the service works on at a time; as many as `limits.requests`
    /// by default. One more waits for its turn.
    pub at_once: Option<usize>,
    /// `wait`: how long it waits at most; 1 s by default. While everybody has to wait longer
    /// than a twentieth of it, a tenth is the most.
    pub wait: Duration,
}

// === impl Shedding ===

impl Shedding {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "lateness",
            Kind::Duration(0, 60_000),
            "How late the sidecar's own work may be, all the time; 250ms by default, 0s for ever so late.",
        ),
        Row::may(
            "at_once",
            Kind::Whole(1, 1_000_000),
            "Requests that the service works on at a time; by default as many as limits.requests.",
        ),
        Row::may(
            "wait",
            Kind::Duration(10, 60_000),
            "How long one more waits for its turn at most; 1s by default.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            lateness: section.or("lateness", default.lateness, |entry| {
                entry.duration(Duration::ZERO..=Duration::from_secs(60))
            }),
            at_once: section.maybe("at_once", |entry| entry.whole(1..=1_000_000)),
            wait: section.or("wait", default.wait, |entry| {
                entry.duration(Duration::from_millis(10)..=Duration::from_secs(60))
            }),
        }
    }
}

impl Default for Shedding {
    fn default() -> Self {
        Self {
            lateness: Duration::from_millis(250),
            at_once: None,
            wait: Duration::from_secs(1),
        }
    }
}
