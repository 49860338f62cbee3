//! `[health]`: how the services of a list are watched.

use std::time::Duration;

use super::error::ConfigError;
use super::value::Section;

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
    /// The section, which stands beside a list of services and beside no other.
    pub(super) fn parse(mut section: Section<'_>, is_list: bool) -> Result<Self, ConfigError> {
        let default = Self::default();
        let bounds = Duration::from_millis(10)..=Duration::from_secs(3600);
        let path = section.take("path");
        let mut is_empty = path.is_none();
        let mut duration = |key, default| match section.take(key) {
            Some(entry) => {
                is_empty = false;
                entry.duration(bounds.clone())
            }
            None => Ok(default),
        };
        let health = Self {
            path: match path {
                Some(entry) => Some(entry.text(target)?),
                None => None,
            },
            interval: duration("interval", default.interval)?,
            timeout: duration("timeout", default.timeout)?,
            rest: duration("rest", default.rest)?,
            failures: match section.take("failures") {
                Some(entry) => {
                    is_empty = false;
                    entry.whole(1..=1000)?
                }
                None => default.failures,
            },
        };
        if !is_list && !is_empty {
            return Err(section.fault("there is one 'upstream' alone, which is never left out"));
        }
        section.finish()?;
        Ok(health)
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
