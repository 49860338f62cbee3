//! The commands of the binary.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// The vestibule layers in front of a service: correlation ids, API keys, rate limits,
/// Idempotency-Key replay.
#[derive(Debug, Parser)]
#[command(name = "vestibule", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the binary does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Proxy to the service, until SIGTERM.
    Serve {
        /// The configuration, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}
