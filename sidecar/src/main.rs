//! The binary `vestibule`: reads its arguments, runs, and says why where it cannot.

mod check;
mod cli;
mod drain;
mod explaining;
mod input;
mod manage;
mod open;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use vestibule_sidecar::Sidecar;
use vestibule_sidecar::config::{self, Address, Config};
use vestibule_sidecar::log::Log;

use self::cli::{Cli, Command};

/// Under glibc an idle connection holds three times as much, because the buffers of
/// bodies leave holes between what lives longer.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            complain(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Box<dyn Error>> {
    match cli.command {
        Command::Serve {
            config,
            louder,
            upgrade,
        } => {
            let config = Config::read_under(config, &louder.heard())?;
            let log = Log::start(&config.log)?;
            for warning in config.warnings() {
                tracing::warn!("{warning}");
            }
            let sidecar = Sidecar::new(config).log(&log);
            let sidecar = if upgrade { sidecar.upgrade() } else { sidecar };
            let ran = sidecar.run_and_tell(tell);
            log.flush();
            ran?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check {
            files,
            replicas,
            louder,
        } => check::run(&files, replicas, louder.heard()),
        Command::Schema => {
            write!(std::io::stdout(), "{}", config::schema())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Drain { config, admin } => drain::run(config.as_deref(), admin),
        Command::Explain {
            config,
            admin,
            request,
            curl,
            json,
        } => {
            log_to_stderr();
            let place = (config.as_deref(), admin.as_deref());
            let asked = (request.as_deref(), curl.as_deref());
            explaining::run(place, asked, json).or_else(|fault| {
                complain(&*fault);
                // 1 says that the request would be refused.
                Ok(ExitCode::from(2))
            })
        }
        Command::Keys { command } => {
            log_to_stderr();
            manage::run(&command)
        }
    }
}

/// Whoever started the process reads the real ports on the first line of its output.
fn tell(address: &Address, admin: Option<&Address>) {
    let admin = admin.map(ToString::to_string);
    let line = serde_json::json!({ "listening": address.to_string(), "admin": admin });
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What stores have to say to a command; `RUST_LOG` chooses how much of it is shown.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}

#[expect(
    clippy::print_stderr,
    reason = "a fault at the start is said where it is looked for"
)]
fn complain(error: &dyn Error) {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    eprintln!("vestibule: {text}");
}
