//! The demo, as whoever tries it starts it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use harness::PATIENCE;
use harness::process::Process;
use serde_json::Value;

/// A demo that runs, until it is dropped.
pub(crate) struct Demo {
    said: Value,
    process: Process,
}

// === impl Demo ===

impl Demo {
    /// Starts it, with all spans of its sidecar sent to this address. It blocks.
    pub(crate) fn start(collector: SocketAddr) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new("./examples/demo");
        command
            .arg("--json")
            .current_dir(root)
            .env("VESTIBULE__TRACES__OTLP", format!("http://{collector}"))
            .env("VESTIBULE__TRACES__SAMPLING", "1");
        let (process, line) = Process::announced(&mut command);
        let said = serde_json::from_str(&line).expect("it says what to try");
        Self { said, process }
    }

    /// Where its programs show metrics, and under which path.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = (SocketAddr, &'static str)> {
        [
            ("admin_url", "/metrics"),
            ("messaging_admin_url", "/metrics"),
            ("standalone_admin_url", "/metrics"),
            ("simulator_url", "/__sim/metrics"),
        ]
        .into_iter()
        .map(|(name, path)| (self.address(name), path))
    }

    /// What it says under this name.
    pub(crate) fn text(&self, name: &str) -> String {
        let text = self.said[name].as_str();
        text.unwrap_or_else(|| panic!("the demo says no {name}"))
            .to_owned()
    }

    /// Where the URL with this name leads.
    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        let url = self.text(name);
        let address = url
            .strip_prefix("http://")
            .and_then(|text| text.parse().ok());
        address.unwrap_or_else(|| panic!("{name} is no URL of the loopback"))
    }
}

impl Drop for Demo {
    /// Its programs end with it only where it is asked to end.
    fn drop(&mut self) {
        self.process.signal("TERM");
        self.process.ended(PATIENCE);
    }
}
