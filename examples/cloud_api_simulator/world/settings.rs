//! How the simulator behaves: versions, the window, and how fast messages travel.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde::Deserialize;

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

/// From the least to the most, both included; `[least, most]` in the file.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Range(u64, u64);

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
    pub(crate) fn fault(&self) -> Option<(&'static str, String)> {
        [
            ("sent_ms", self.sent_ms),
            ("delivered_ms", self.delivered_ms),
            ("read_ms", self.read_ms),
        ]
        .into_iter()
        .find(|(_, Range(least, most))| least > most)
        .map(|(key, Range(least, most))| (key, format!("[{least}, {most}]")))
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
        }
    }
}

// === impl Range ===

impl Range {
    /// Draws a duration.
    pub(crate) fn draw(self, random: &mut StdRng) -> Duration {
        Duration::from_millis(random.random_range(self.0..=self.1.max(self.0)))
    }
}

/// The versions that Meta serves in November 2026.
const VERSIONS: [&str; 6] = ["v21.0", "v22.0", "v23.0", "v24.0", "v25.0", "v26.0"];
