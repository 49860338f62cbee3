//! How the simulator behaves: versions, the window, and how fast messages travel.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

/// What applies to the whole world.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The versions of the Graph API that are answered.
    pub(crate) versions: Vec<String>,
    pub(crate) window_mode: WindowMode,
    /// From accepted to sent.
    pub(crate) sent_ms: Range,
    /// From sent to delivered.
    pub(crate) delivered_ms: Range,
    /// From delivered to read.
    pub(crate) read_ms: Range,
    /// Whether users read what they get.
    pub(crate) reads: bool,
    /// How long an app may take to answer a webhook.
    pub(crate) ack_timeout_ms: u64,
    /// Whether throughput and pair limit are kept.
    pub(crate) limits: bool,
    /// How many updates one webhook may carry.
    pub(crate) batch: usize,
    /// How long an update waits for others.
    pub(crate) batch_ms: u64,
}

/// How free-form messages outside the window fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WindowMode {
    /// Accepted, then a `failed` status.
    #[default]
    Async,
    /// They do not fail.
    Off,
    /// Refused at once.
    Sync,
}

/// From the least to the most, both included: `[least, most]`, or one number for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Written")]
pub(crate) struct Range(u64, u64);

/// A range as people write it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "neither a whole number nor [least, most]")]
enum Written {
    Exactly(u64),
    Between(u64, u64),
}

// === impl Settings ===

impl Settings {
    /// How long an app may take to answer a webhook.
    pub(crate) const fn ack_timeout(&self) -> Duration {
        Duration::from_millis(self.ack_timeout_ms)
    }

    /// Whether this version of the Graph API is answered.
    pub(crate) fn serves(&self, version: &str) -> bool {
        self.versions.iter().any(|served| served == version)
    }

    /// What no run can mean, with the key.
    pub(crate) fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        if !(1..=MAX_BATCH).contains(&self.batch) {
            return Some(("batch", self.batch.to_string(), "not between 1 and 1000"));
        }
        let reversed = [
            ("sent_ms", self.sent_ms),
            ("delivered_ms", self.delivered_ms),
            ("read_ms", self.read_ms),
        ]
        .into_iter()
        .find(|(_, range)| !range.is_ordered());
        reversed.map(|(key, Range(least, most))| {
            let value = format!("[{least}, {most}]");
            (key, value, "the least is more than the most")
        })
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            versions: VERSIONS.map(str::to_owned).to_vec(),
            window_mode: WindowMode::Async,
            sent_ms: Range(50, 300),
            delivered_ms: Range(200, 2000),
            read_ms: Range(1000, 5000),
            reads: true,
            ack_timeout_ms: 10_000,
            limits: true,
            batch: 1,
            batch_ms: 50,
        }
    }
}

// === impl Range ===

impl Range {
    /// Whether the most is not less than the least.
    pub(crate) const fn is_ordered(self) -> bool {
        self.0 <= self.1
    }

    /// Draws a duration.
    pub(crate) fn draw(self, random: &mut StdRng) -> Duration {
        Duration::from_millis(random.random_range(self.0..=self.1.max(self.0)))
    }
}

impl From<Written> for Range {
    fn from(written: Written) -> Self {
        match written {
            Written::Exactly(both) => Self(both, both),
            Written::Between(least, most) => Self(least, most),
        }
    }
}

/// As many updates as Meta puts into one webhook.
const MAX_BATCH: usize = 1000;

/// The versions that Meta serves in November 2026.
const VERSIONS: [&str; 6] = ["v21.0", "v22.0", "v23.0", "v24.0", "v25.0", "v26.0"];
