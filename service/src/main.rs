//! The binary `messaging`: reads its arguments, runs, and says why where it cannot.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use vestibule_messaging::cli::{self, Args, Command, LogFormat};

/// Requests, the connection to the database and its thread pass buffers to one another.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let command = Args::parse().command;
    match &command {
        Command::Serve(serve) => log_to_stderr(serve.log_format, "info"),
        _ => log_to_stderr(LogFormat::Text, "warn"),
    }
    match cli::run(command, &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "messaging: {}", cli::sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// `RUST_LOG` chooses what is logged.
fn log_to_stderr(format: LogFormat, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
}
