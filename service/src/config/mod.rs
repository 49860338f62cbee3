//! The service's configuration: one TOML file, read once and checked whole.
//!
//! ```toml
//! listen   = "127.0.0.1:8081"          # or "unix:/run/pod/messaging.sock"
//! database = "messaging.db"            # beside this file, unless absolute; replicas share a
//!                                      # "postgres://…", or one that database_file holds
//! replicas = 1                         # how many share it at most; a file is one's alone
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
//! [delivery]                           # all of it may be left out
//! at_least_once_keys = []              # API keys, by id: rather sent twice than never
//! burst = 5                            # messages in a row to one customer, up to 45
//! shaping = true                       # false only where Meta's limits are not Meta's
//! confirm_within_seconds = 600         # how long an unclear attempt may be confirmed
//! keep_content_days = 30               # how long texts and phone numbers are kept
//! connect_timeout_ms = 3000            # to Meta, TLS included
//! timeout_ms = 30000                   # for Meta's whole answer
//!
//! [window]                             # the same
//! unknown = "reject"                   # or "allow": where it is not known, Meta decides
//! opened_by_reaction = false
//! opened_by_request_welcome = false
//!
//! [admin]                              # the same
//! listen = "127.0.0.1:9091"            # health, readiness and metrics, for operators
//!
//! [[account]]
//! id = "acme"
//! [[account.agent]]
//! id = "6f1de8f2-6a3c-4a51-8c0f-0d6f4a1f9a10"
//! phones = [{ number = "+15550001111", phone_number_id = "106540352242922" }]
//!                                      # also: waba_id = "…", per_second = 80
//! ```
//!
//! At least one of `[api]` and `[identity]` is there; with both, a request with an
//! assertion needs no key. An error names the file, the line, the key and the value, and
//! never a secret.

mod database;
mod section;
mod tuning;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use self::section::{Source, read_text};
use crate::delivery::BURST;
use crate::directory::Directory;
use crate::store::Address;
use crate::window::Rules;

/// What the service runs with.
#[derive(Debug)]
pub struct Config {
    /// Where it listens.
    pub listen: Listen,
    /// Where everything is kept.
    pub database: Address,
    /// Whether reads show the recipient.
    pub shows_recipient: bool,
    /// Where API keys come from, if they are taken.
    pub api: Option<Api>,
    /// What trusted assertions are signed with: none are trusted, one, or two while one
    /// takes the other's place.
    pub identity: Vec<Secret>,
    /// How Meta is reached, and how Meta reaches the service.
    pub cloud_api: CloudApi,
    /// How messages are delivered.
    pub delivery: Delivery,
    /// What opens a window, and what holds where it is not known.
    pub window: Window,
    /// Where operators look, if anywhere.
    pub admin: Option<Listen>,
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

/// How messages are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The API keys, by id, whose messages are rather sent twice than never.
    pub at_least_once_keys: HashSet<Box<str>>,
    /// How many messages in a row one customer may be sent at once.
    pub burst: u32,
    /// Whether messages wait so that Meta's limits are never met: off only against a simulator
    /// that has none.
    pub shapes: bool,
    /// For how long an attempt of unknown outcome may be confirmed.
    pub confirm_within: Duration,
    /// For how long texts and phone numbers are kept.
    pub keep_content: Duration,
    /// How long a connection to Meta may take, TLS included.
    pub connect_timeout: Duration,
    /// How long Meta's whole answer may take.
    pub timeout: Duration,
}

/// What opens a window, and what holds where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// What opens it, where Meta is silent.
    pub rules: Rules,
    /// Whether Meta is asked where it is not known.
    pub allows_unknown: bool,
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

// === impl Delivery ===

impl Default for Delivery {
    fn default() -> Self {
        Self {
            at_least_once_keys: HashSet::new(),
            burst: BURST,
            shapes: true,
            confirm_within: Duration::from_secs(10 * 60),
            keep_content: Duration::from_secs(30 * 24 * 60 * 60),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(30),
        }
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
    /// A few digits that tell it from another, and that nobody can turn back.
    pub fn fingerprint(&self) -> Box<str> {
        hex::encode(&Sha256::digest(self.0.as_bytes())[..4]).into()
    }

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
