//! What the process tells of itself at its admin addresses.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::config::Config;
use crate::gauges::Gauges;
use crate::log::Log;
use crate::telemetry::Metrics;

/// Everything that is told, but for the stage of the process.
#[derive(Debug)]
pub(crate) struct Shown {
    gauges: Gauges,
    metrics: Metrics,
    /// None where the program writes its own.
    log: OnceLock<Log>,
    /// What `/v1/config` tells.
    configuration: Mutex<String>,
}

// === impl Shown ===

impl Shown {
    pub(crate) fn new() -> Self {
        Self {
            gauges: Gauges::default(),
            metrics: Metrics::new(),
            log: OnceLock::new(),
            configuration: Mutex::default(),
        }
    }

    /// Figures that are read when they are asked for.
    pub(crate) const fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// What is counted.
    pub(crate) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The log, where the process has one.
    pub(crate) fn log(&self) -> Option<&Log> {
        self.log.get()
    }

    /// This is the log.
    pub(crate) fn write_to(&self, log: Log) {
        let (diagnostics, requests) = (log.clone(), log.clone());
        self.gauges.count(
            "vestibule_diagnostic_lines_dropped_total",
            "Lines of diagnostics that found no room, or could not be written.",
            move || diagnostics.dropped().0,
        );
        self.gauges.count(
            "vestibule_access_lines_dropped_total",
            "Lines of requests that found no room, or could not be written.",
            move || requests.dropped().1,
        );
        // A process is bound once.
        let _ = self.log.set(log);
    }

    /// The configuration in force, as text.
    pub(crate) fn configuration(&self) -> String {
        let held = self.configuration.lock();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This configuration is in force from here on. No `Debug` of it shows a secret.
    pub(crate) fn configured(&self, config: &Config) {
        let held = self.configuration.lock();
        *held.unwrap_or_else(PoisonError::into_inner) = format!("{config:#?}\n");
    }
}
