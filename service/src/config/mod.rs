//! The service's configuration: one TOML file, read once and checked whole.
//!
//! ```toml
//! listen   = "127.0.0.1:8081"          # or "unix:/run/pod/messaging.sock"
//! database = "messaging.db"            # beside this file, unless absolute
//! show_recipient = false               # whether reads show `to`
//!
//! [api]                                # takes API keys
//! keys_file  = "keys.json"
//! brand      = "mk"
//! per_minute = 60
//!
//! [identity]                           # trusts a sidecar's assertions
//! secret_file = "identity.secret"      # or secret = "…", at least 32 bytes
//!                                      # previous_secret(_file) too, during rotation
//!
//! [cloud_api]
//! base_url     = "https://graph.facebook.com"
//! version      = "v25.0"
//! token_file   = "token"               # or token = "…"
//! app_secret_files = ["app.secret"]    # or app_secrets = ["…"]; two during rotation
//! verify_token = "…"                   # or verify_token_file
//!
//! [[account]]
//! id = "acme"
//! [[account.agent]]
//! id = "6f1de8f2-6a3c-4a51-8c0f-0d6f4a1f9a10"
//! phones = [{ number = "+15550001111", phone_number_id = "106540352242922" }]
//! ```
//!
//! At least one of `[api]` and `[identity]` is there; with both, a request with an
//! assertion needs no key. An error names the file, the line, the key and the value, and
//! never a secret.

mod section;

use std::fmt;
use std::path::{Path, PathBuf};

use self::section::{Source, read_text};
use crate::directory::Directory;

/// What the service runs with.
#[derive(Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// The database's file.
    pub database: PathBuf,
    /// Whether reads show the recipient.
    pub shows_recipient: bool,
    /// Where API keys come from, if they are taken.
    pub api: Option<Api>,
    /// What trusted assertions are signed with: none are trusted, one, or two while one
    /// takes the other's place.
    pub identity: Vec<Secret>,
    /// How Meta is reached, and how Meta reaches the service.
    pub cloud_api: CloudApi,
    /// Accounts, agents and numbers.
    pub directory: Directory,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `host:port`; port 0 takes a free one.
    Tcp(String),
    /// `unix:/path`.
    Unix(PathBuf),
}

/// How API keys are taken.
#[derive(Clone, Debug)]
pub struct Api {
    /// The file of key records.
    pub keys_file: PathBuf,
    /// What the keys begin with.
    pub brand: String,
    /// Requests a minute, where a key has no limit of its own.
    pub per_minute: u32,
}

/// Meta's side.
#[derive(Clone, Debug)]
pub struct CloudApi {
    /// The Graph host.
    pub base_url: String,
    /// The version in its paths.
    pub version: String,
    /// What the service shows to Meta.
    pub token: Secret,
    /// What Meta signs webhooks with.
    pub app_secrets: Vec<Secret>,
    /// What Meta shows when it verifies the endpoint.
    pub verify_token: Secret,
}

/// Text that is in no log and in no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// Why the service does not start: a sentence that names file, line, key and value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

// === impl Config ===

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], a sentence to print.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        Self::parse(path, &text)
    }

    /// Reads the text of the file at `path`, beside which other files are looked for.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], a sentence to print.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Source { path, text }.config()
    }
}

// === impl Listen ===

impl Listen {
    /// Reads an address.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return (!path.is_empty()).then(|| Self::Unix(path.into()));
        }
        let (host, port) = text.rsplit_once(':')?;
        (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| Self::Tcp(text.into()))
    }
}

// === impl Secret ===

impl Secret {
    /// Hides this text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests;
