//! The commands of the binary `messaging`: serve, and what an operator does meanwhile.
//!
//! ```text
//! messaging serve            --config FILE [--listen ADDRESS] [--log-format json]
//! messaging migrate          --config FILE
//! messaging messages list    --config FILE [--state S] [--correlation-id C] [--to +1555…] [--limit N]
//! messaging messages show    --config FILE ID|CORRELATION-ID
//! messaging messages retry   --config FILE ID [--may-send-twice]
//! messaging messages cancel  --config FILE ID
//! messaging windows import   --config FILE windows.csv|-
//! messaging windows show     --config FILE --phone-number-id N --user +1555…|ID
//! messaging holds list       --config FILE
//! messaging holds lift       --config FILE SCOPE|--all
//! ```
//!
//! Every command but `serve` works on the database alone, while services run on it: a file
//! of SQLite's takes a second process, and replicas on PostgreSQL are told at once that there
//! is something to send; a service on a file looks within five seconds. What is listed can be
//! had with `--json`, one object a line. No text of a message is ever shown, and its recipient
//! only with `--show-recipient`.
//!
//! They end with 0, with 1 and a sentence that names the message and its state, or with 2
//! where the arguments make no sense.
//!
//! # Messages
//!
//! `show` takes what support was sent: the id of a message, or the correlation id of the
//! request that caused it. It shows every attempt with Meta's code, status and `fbtrace_id`.
//!
//! `retry` puts a message that has failed into the queue again. One whose state is
//! `outcome_unknown` or `expired` may have reached the customer, so that needs
//! `--may-send-twice`. `cancel` takes one out of the queue that is `queued`, `retry_wait` or
//! `blocked`; its caller reads that it has failed, with the code `cancelled`.
//!
//! # Windows
//!
//! `import` tells a new deployment which windows were open before it. It reads CSV with the
//! header `phone_number_id,phone,user_id,opened_at`, in any order, or JSON Lines with these
//! fields. `phone` is in E.164 or its digits; `phone` or `user_id` may be empty; `opened_at`
//! is when the customer last wrote, in RFC 3339 or as Unix seconds. Every line is judged
//! before the first is written: each fault is named with its line and its field, and one
//! fault is enough for nothing to be imported. An import can be repeated, and never closes
//! what is open.
//!
//! # Holds
//!
//! A hold says what is not sent, and why: Meta has refused a number, an account, an app or a
//! token. `lift` is for whoever has removed the reason; where Meta still refuses, the hold is
//! back after one message.

mod holds;
mod import;
mod messages;
mod serve;
mod table;
mod windows;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use vestibule::clock::{SharedClock, SystemClock, Timestamp};
use vestibule::entropy::SystemEntropy;

pub use self::holds::{HoldsCommand, Lifted};
pub use self::messages::{List, MessagesCommand, Show};
pub use self::serve::{LogFormat, Serve};
pub use self::windows::WindowsCommand;
use crate::config::{Config, ConfigError};
use crate::http::openapi::document;
use crate::metrics::Metrics;
use crate::service::{StartError, settings};
use crate::store::{Address, Database, StoreError};

/// Accepts WhatsApp messages over HTTP and delivers them through Meta's Cloud API.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Args {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary does.
#[derive(Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Serves until SIGTERM or SIGINT, then finishes what is under way.
    Serve(Serve),
    /// Brings the tables of the database up to date; `serve` does so too.
    Migrate {
        /// Which database.
        #[command(flatten)]
        at: At,
    },
    /// Prints the OpenAPI document.
    Openapi,
    /// Finds messages, sends them again, takes them out of the queue.
    #[command(subcommand)]
    Messages(MessagesCommand),
    /// Imports and shows customers' windows.
    #[command(subcommand)]
    Windows(WindowsCommand),
    /// Shows and lifts what keeps messages from being sent.
    #[command(subcommand)]
    Holds(HoldsCommand),
}

/// Which database a command is about.
#[derive(Clone, Debug, clap::Args)]
pub struct At {
    /// The configuration of the service, in TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Why a command has not done what it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something cannot be read or written.
    #[error("{what}")]
    Io {
        /// What.
        what: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The message, the hold or the input is not such that it can be done.
    #[error("{0}")]
    Refused(String),
    /// The service does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a command works with.
struct Desk {
    config: Config,
    store: Database,
    clock: SharedClock,
}

/// Does what the arguments say; what is shown is written to `out`.
///
/// # Errors
///
/// [`CliError`], a sentence to print.
pub async fn run(command: Command, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        Command::Serve(serve) => serve.run(out).await,
        Command::Migrate { at } => migrate(&at, out).await,
        Command::Openapi => out
            .write_all(document().as_bytes())
            .map_err(|cause| CliError::Io {
                what: "the document cannot be written".to_owned(),
                cause,
            }),
        Command::Messages(command) => command.run(out).await,
        Command::Windows(command) => command.run(out).await,
        Command::Holds(command) => command.run(out).await,
    }
}

/// An error and its causes, in one line.
pub fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn migrate(at: &At, out: &mut dyn Write) -> Result<(), CliError> {
    let config = Config::read(&at.config)?;
    let said = match Database::migrate(&config.database).await? {
        0 => "the database was up to date".to_owned(),
        1 => "the database is up to date: 1 migration was applied".to_owned(),
        steps => format!("the database is up to date: {steps} migrations were applied"),
    };
    say(out, &said)
}

fn say(out: &mut dyn Write, line: &str) -> Result<(), CliError> {
    writeln!(out, "{line}").map_err(|cause| CliError::io("the output cannot be written", cause))
}

// === impl At ===

impl At {
    async fn open(&self) -> Result<Desk, CliError> {
        let config = Config::read(&self.config)?;
        // A mistyped path must not look like a database without messages.
        if let Address::File(path) = &config.database
            && !path.exists()
        {
            return Err(CliError::Refused(format!(
                "there is no database at {}; 'messaging migrate' makes one",
                path.display()
            )));
        }
        let (clock, entropy) = (SystemClock::shared(), SystemEntropy::shared());
        let settings = settings(&config, Metrics::new());
        let store = Database::attach(&config.database, settings, clock.clone(), entropy).await?;
        Ok(Desk {
            config,
            store,
            clock,
        })
    }
}

// === impl Desk ===

impl Desk {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Wakes the services. That they were not told is not worth an error: what was asked for
    /// is done, and they look by themselves.
    async fn wake(&self) {
        if let Err(cause) = self.store.flush().await {
            tracing::warn!(?cause, "the services could not be told");
        }
    }
}

// === impl CliError ===

impl CliError {
    fn io(what: impl Into<String>, cause: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            cause,
        }
    }

    /// Whether nobody reads the output any more, as after `| head`.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_sentence_tells_the_cause_too() {
        let cause = io::Error::other("no space");
        let error = CliError::io("the output cannot be written", cause);
        assert_eq!(sentence(&error), "the output cannot be written: no space");
    }
}
