//! `[health]`: how the services of a list are watched.

use std::time::Duration;

use super::schema::{self, Kind, Row};
use super::section::Section;

/// Which of several services get requests. Of one service alone nothing is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `path`: what is asked for with GET, and answered below 400 by a service that is well;
    /// by default a connection is made, and nothing is asked.
    pub path: Option<String>,
    /// `interval`: between two looks at a service; 5 s by default.
    pub interval: Duration,
    /// `timeout`: how long a look may take; 1 s by default.
    pub timeout: Duration,
    /// `failures`: in a row, of looks and of requests, after which a service is left out; 3 by
    /// default.
    pub failures: u32,
    /// `rest`: how long it is then left out, unless a look finds it well before; 10 s by
    /// default.
    pub rest: Duration,
}

// === impl Health ===

impl Health {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "path",
            Kind::Like("^/", "/readyz"),
            "What is asked for with GET; by default a connection is made, and nothing is asked.",
        ),
        Row::may(
            "interval",
            Kind::Duration(10, schema::HOUR),
            "Between two looks at a service; 5s by default.",
        ),
        Row::may(
            "timeout",
            Kind::Duration(10, schema::HOUR),
            "How long a look may take; 1s by default.",
        ),
        Row::may(
            "failures",
            Kind::Whole(1, 1000),
            "Failures in a row after which a service is left out; 3 by default.",
        ),
        Row::may(
            "rest",
            Kind::Duration(10, schema::HOUR),
            "How long it is then left out; 10s by default.",
        ),
    ];

    /// The section, which stands beside a list of services and beside no other.
    pub(super) fn parse(section: &mut Section<'_>, is_list: bool) -> Self {
        if !is_list && !section.is_empty() {
            section.fault("there is one 'upstream' alone, which is never left out");
        }
        let default = Self::default();
        let path = section.maybe("path", |entry| entry.word(target));
        let bounds = Duration::from_millis(10)..=Duration::from_secs(3600);
        let mut duration =
            |key, default| section.or(key, default, |entry| entry.duration(bounds.clone()));
        Self {
            path,
            interval: duration("interval", default.interval),
            timeout: duration("timeout", default.timeout),
            rest: duration("rest", default.rest),
            failures: section.or("failures", default.failures, |entry| entry.whole(1..=1000)),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            failures: 3,
            rest: Duration::from_secs(10),
        }
    }
}

fn target(text: &str) -> Result<String, &'static str> {
    let is_target = text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok();
    is_target
        .then(|| text.to_owned())
        .ok_or("a path like \"/readyz\"")
}
