//! `[shedding]`: what is refused so that the rest is answered in time.

use std::time::Duration;

use super::error::ConfigError;
use super::value::Section;

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
    pub(super) fn parse(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let shedding = Self {
            lateness: match section.take("lateness") {
                Some(entry) => entry.duration(Duration::ZERO..=Duration::from_secs(60))?,
                None => default.lateness,
            },
            at_once: match section.take("at_once") {
                Some(entry) => Some(entry.whole(1..=1_000_000)?),
                None => None,
            },
            wait: match section.take("wait") {
                Some(entry) => {
                    entry.duration(Duration::from_millis(10)..=Duration::from_secs(60))?
                }
                None => default.wait,
            },
        };
        section.finish()?;
        Ok(shedding)
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
