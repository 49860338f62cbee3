//! `[drain]`: how the process ends on SIGTERM.

use std::time::Duration;

use super::schema::{self, Kind, Row};
use super::section::Section;

/// How long each part of the end may take. A pod's `terminationGracePeriodSeconds` must
/// exceed the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// `lag`: how long connections are still taken after readiness is off, because load
    /// balancers learn of it late; 5 s by default. Meanwhile each answer ends its connection.
    /// Where a process hands over, nothing is taken any more, and `lag` is how long an idle
    /// connection has for one more request.
    pub lag: Duration,
    /// `max`: how long running requests and detached work may then take; 30 s by default.
    /// The process ends as soon as nothing is running.
    pub max: Duration,
}

// === impl Drain ===

impl Drain {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "lag",
            Kind::Duration(0, schema::HOUR),
            "How long connections are still taken after readiness is off; 5s by default.",
        ),
        Row::may(
            "max",
            Kind::Duration(0, schema::HOUR),
            "How long running requests and detached work may then take; 30s by default.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Self {
        let bounds = Duration::ZERO..=Duration::from_secs(3600);
        let mut duration =
            |key, default| section.or(key, default, |entry| entry.duration(bounds.clone()));
        Self {
            lag: duration("lag", Self::default().lag),
            max: duration("max", Self::default().max),
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            lag: Duration::from_secs(5),
            max: Duration::from_secs(30),
        }
    }
}
