//! `messaging serve`: listens, runs until told to stop.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, say};
use crate::config::{Config, Listen};
use crate::listen::Listener;
use crate::service::Messaging;

/// How to serve.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// The configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Where to listen, instead of what the configuration says: host:port or unix:/path.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// How log lines are written to stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One object a line.
    Json,
    /// For people.
    Text,
}

// === impl Serve ===

impl Serve {
    pub(super) async fn run(self, out: &mut dyn Write) -> Result<(), CliError> {
        let mut config = Config::read(&self.config)?;
        if let Some(listen) = self.listen {
            config.listen = Listen::parse(&listen).ok_or_else(|| {
                let said = format!("--listen {listen:?} is neither host:port nor unix:/path");
                CliError::Refused(said)
            })?;
        }
        // Registered before anything is promised: a signal in between must not kill.
        let (mut terminate, mut interrupt) = (
            watched(SignalKind::terminate())?,
            watched(SignalKind::interrupt())?,
        );
        let unbound = |what: String| {
            move |cause| CliError::io(format!("{what} cannot be listened on"), cause)
        };
        let listener = Listener::bind(&config.listen)
            .await
            .map_err(unbound(format!("{:?}", config.listen)))?;
        let address = listener.address().map_err(unbound("it".to_owned()))?;
        let messaging = Messaging::open(config).await?;
        let admin = messaging.bind_admin().await;
        let admin = admin.map_err(unbound("[admin] listen".to_owned()))?;
        tracing::info!(address, "listening");
        // Whoever started the process reads the real ports here.
        let mut ready = serde_json::json!({ "listening": address });
        if let Some(admin) = &admin {
            let address = admin.address().map_err(unbound("[admin]".to_owned()))?;
            ready["admin"] = address.into();
        }
        say(out, &ready.to_string())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("stopping");
        };
        messaging.run(listener, admin, shutdown).await;
        Ok(())
    }
}

fn watched(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|cause| CliError::io("signals cannot be watched", cause))
}
