//! `messaging serve --config FILE`: reads the configuration, listens, runs until told to stop.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use vestibule_messaging::config::Listen;
use vestibule_messaging::{Config, Listener, Messaging};

/// Accepts WhatsApp messages over HTTP and delivers them through Meta's Cloud API.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT, then finishes what is under way.
    Serve {
        /// The configuration, in TOML.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Where to listen, instead of what the configuration says: host:port or unix:/path.
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<String>,
        /// How log lines are written to stderr.
        #[arg(long, value_enum, default_value_t = LogFormat::Text)]
        log_format: LogFormat,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Serve {
        config,
        listen,
        log_format,
    } = Args::parse().command;
    log_to_stderr(log_format);
    match serve(config, listen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "messaging: {}", sentence(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: PathBuf, listen: Option<String>) -> Result<(), Box<dyn Error>> {
    let mut config = Config::read(&config)?;
    if let Some(listen) = listen {
        config.listen = Listen::parse(&listen)
            .ok_or_else(|| format!("--listen {listen:?} is neither host:port nor unix:/path"))?;
    }
    // Registered before anything is promised: a signal in between must not kill.
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let listener = Listener::bind(&config.listen)
        .await
        .map_err(|cause| format!("{:?} cannot be listened on: {cause}", config.listen))?;
    let address = listener.address()?;
    let messaging = Messaging::open(config).await?;
    tracing::info!(address, "listening");
    // Whoever started the process reads the real port here.
    let ready = serde_json::json!({ "listening": address });
    let _ = writeln!(io::stdout(), "{ready}");
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    };
    messaging.run(listener, shutdown).await;
    Ok(())
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.init(),
    }
}

/// An error and its causes, in one line.
fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
