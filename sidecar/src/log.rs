//! What a process writes about itself: diagnostics to standard error, one line for each request
//! to standard output.
//!
//! Both go through a bounded queue and a thread of their own, so that a sink that is slow or
//! stuck makes no request wait; what is dropped is counted in the metrics.
//!
//! ```no_run
//! use vestibule_sidecar::Sidecar;
//! use vestibule_sidecar::config::Config;
//! use vestibule_sidecar::log::Log;
//!
//! let config = Config::read("vestibule.toml")?;
//! let log = Log::start(&config.log)?;
//! Sidecar::new(config).log(&log).run()?;
//! log.flush();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use crate::config::{self, LogFormat, LogLevel};
use crate::telemetry::Lines;

/// The log of this process. Clones are one.
#[derive(Clone, Debug)]
pub struct Log {
    level: reload::Handle<EnvFilter, Registry>,
    diagnostics: Lines,
    /// None where requests are not written down.
    pub(crate) access: Option<Lines>,
}

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No thread can be started to write it.
    #[error("the log cannot be written: {0}")]
    Thread(#[from] io::Error),
    /// The program has another subscriber of `tracing` already.
    #[error("the program writes another log already")]
    Taken,
}

// === impl Log ===

impl Log {
    /// Starts it, for the whole program. `RUST_LOG` in the environment takes the place of the
    /// configured level.
    ///
    /// # Errors
    ///
    /// [`LogError`] where there is one already, or no thread can be started.
    pub fn start(config: &config::Log) -> Result<Self, LogError> {
        let filter = EnvFilter::try_from_default_env();
        let filter = filter.unwrap_or_else(|_| config.level.filter());
        let (filter, level) = reload::Layer::new(filter);
        let diagnostics = Lines::to("diagnostics", io::stderr())?;
        let access = match config.access {
            true => Some(Lines::to("access", io::stdout())?),
            false => None,
        };
        let is_read_by_people = io::stderr().is_terminal();
        let lines = fmt::layer().with_ansi(is_read_by_people);
        let lines = lines.with_writer(diagnostics.clone());
        let registry = tracing_subscriber::registry().with(filter);
        let started = match config.format {
            LogFormat::Json => registry.with(lines.json()).try_init(),
            LogFormat::Text => registry.with(lines).try_init(),
        };
        started.map_err(|_| LogError::Taken)?;
        Ok(Self {
            level,
            diagnostics,
            access,
        })
    }

    /// Waits until everything so far is written, unless that takes longer than a second.
    pub fn flush(&self) {
        for lines in [Some(&self.diagnostics), self.access.as_ref()]
            .into_iter()
            .flatten()
        {
            lines.flush(FLUSHED_WITHIN);
        }
    }

    /// The level that is in force.
    pub(crate) fn level(&self) -> String {
        let level = self.level.with_current(ToString::to_string);
        level.unwrap_or_default()
    }

    /// Puts another level in force, from here on.
    pub(crate) fn set_level(&self, level: &LogLevel) {
        // It fails where the subscriber is gone, and with it every reader.
        let _ = self.level.reload(level.filter());
    }

    /// How many lines of diagnostics, and of requests, were dropped.
    pub(crate) fn dropped(&self) -> (u64, u64) {
        let requests = self.access.as_ref().map_or(0, Lines::dropped);
        (self.diagnostics.dropped(), requests)
    }
}

/// A sink that is stuck does not hold up the end of the process.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);
