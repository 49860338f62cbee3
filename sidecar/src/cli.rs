//! The commands of the binary.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use vestibule::api_key::KeyFormat;
use vestibule_sidecar::config;
use vestibule_sidecar::keys::{Change, Expiry, is_scope, span};

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
        #[command(flatten)]
        louder: Louder,
        /// Take the listening sockets over from the process that runs with the same
        /// upgrade_sock; it ends once this one serves.
        #[arg(long)]
        upgrade: bool,
    },
    /// Judge configurations as serve does, and print all that is wrong with them.
    Check {
        /// The configurations, in TOML.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How many sidecars have them, in the place of their own 'replicas'.
        #[arg(long, value_name = "N")]
        replicas: Option<u32>,
        #[command(flatten)]
        louder: Louder,
    },
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Let a running sidecar end as SIGTERM does, and return at once: the hook of a container
    /// without a shell, which is told before the service behind it.
    #[command(group(clap::ArgGroup::new("sidecar").required(true).args(["config", "admin"])))]
    Drain {
        /// The configuration of the sidecar, one of whose admin addresses is a Unix socket.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The admin socket of the sidecar.
        #[arg(long, value_name = "unix:PATH", value_parser = socket)]
        admin: Option<PathBuf>,
    },
    /// Tell what each layer would say to a request, and why; nothing is charged or sent. It ends
    /// with 0 where the request would pass, 1 where it would be refused, 2 where nobody can say.
    #[command(group(clap::ArgGroup::new("sidecar").required(true).args(["config", "admin"])))]
    #[command(group(clap::ArgGroup::new("asked").required(true).args(["request", "curl"])))]
    Explain {
        /// The configuration; the sidecar that runs with it is asked, where its admin socket answers.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The admin socket of a running sidecar.
        #[arg(long, value_name = "unix:PATH", value_parser = socket)]
        admin: Option<PathBuf>,
        /// The request, as HTTP/1.1 has it; - is standard input.
        #[arg(long, value_name = "FILE|-")]
        request: Option<PathBuf>,
        /// A command of curl that sends it, in quotes; - is standard input, where no other user
        /// of the machine can read the API key.
        #[arg(long, value_name = "COMMAND|-", allow_hyphen_values = true)]
        curl: Option<String>,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Manage API keys, in a file, a store or a running sidecar.
    Keys {
        #[command(subcommand)]
        command: Box<KeysCommand>,
    },
}

/// What is louder than a configuration.
#[derive(Debug, Args)]
pub(crate) struct Louder {
    /// A key of the configuration and its value, as limits.per_minute=120; several. It is
    /// louder than the environment (VESTIBULE__LIMITS__PER_MINUTE), which is than the file.
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<String>,
}

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key; its secret is shown this once.
    Create {
        #[command(flatten)]
        place: Place,
        /// The account that the key belongs to.
        #[arg(long)]
        account: String,
        /// What the key is made for: live, test, or another word.
        #[arg(long, default_value = "live", value_parser = word)]
        env: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// List the keys.
    List {
        #[command(flatten)]
        place: Place,
        /// Only those of this account.
        #[arg(long)]
        account: Option<String>,
    },
    /// Show one key.
    Show {
        #[command(flatten)]
        place: Place,
        /// The id of the key.
        id: String,
    },
    /// Change a key's fields; those that are not named stay.
    Update {
        #[command(flatten)]
        place: Place,
        /// The id of the key.
        id: String,
        #[command(flatten)]
        fields: Fields,
        /// Lift the restriction to agents.
        #[arg(long, conflicts_with = "agent")]
        all_agents: bool,
    },
    /// Make a new key of the same family, and let the old one live for an overlap.
    Rotate {
        #[command(flatten)]
        place: Place,
        /// The id of the old key.
        id: String,
        /// How long the old key stays good: 90s, 15m, 24h, 30d; 0s ends it now.
        #[arg(long, value_name = "SPAN", value_parser = overlap)]
        overlap: Duration,
        /// When the new key ends, instead of living as long as the old one was to.
        #[arg(long, value_name = "30d|TIME|never", value_parser = expiry)]
        expires: Option<Expiry>,
    },
    /// Take a key back, now.
    Revoke {
        #[command(flatten)]
        place: Place,
        /// The id of the key.
        id: String,
    },
    /// Take records as JSON Lines, with a secret or a digest each; a file takes all or none.
    Import {
        #[command(flatten)]
        place: Place,
        /// The lines; - is standard input.
        #[arg(value_name = "FILE|-")]
        from: PathBuf,
        /// Take secrets of another make too: 16 to 256 visible characters.
        #[arg(long)]
        opaque: bool,
    },
    /// Print all records as JSON Lines, as import takes them: digests, never secrets.
    Export {
        #[command(flatten)]
        place: Place,
    },
    /// Read a key from standard input, and tell whom it belongs to or why it would be refused.
    Verify {
        #[command(flatten)]
        place: Place,
        /// Judge as a place that serves this environment only.
        #[arg(long, value_parser = word)]
        env: Option<String>,
        /// Take keys of another make too.
        #[arg(long)]
        opaque: bool,
    },
    /// Print the regular expression by which scanners of secrets find keys.
    Pattern {
        /// The first part of the keys; any by default.
        #[arg(long, value_parser = word)]
        brand: Option<String>,
    },
}

/// Where the keys are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The first part of a key: mk in mk_live_…
    #[arg(long, value_parser = word)]
    pub(crate) brand: Option<String>,
    /// A pepper of the digests; several, the newest first.
    #[arg(long, value_name = "ID=FILE", value_parser = pepper)]
    pub(crate) pepper: Vec<(String, PathBuf)>,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The place, or what names it.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Source {
    /// The key file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The configuration of a sidecar, with its source of keys, its brand and its peppers.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A store: redis://HOST, postgres://HOST/DATABASE, or file:PATH that no sidecar has open.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) store: Option<String>,
    /// The admin socket of a running sidecar, whose store has the keys.
    #[arg(long, value_name = "unix:PATH", value_parser = socket)]
    pub(crate) admin: Option<PathBuf>,
}

/// What can be said about a key.
#[derive(Debug, Args)]
pub(crate) struct Fields {
    /// What the key may do: resource:action, or * for all; several, or separated by commas.
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = scope)]
    scope: Vec<String>,
    /// An agent that the key is restricted to; several, or separated by commas.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    agent: Vec<String>,
    /// What people call the key.
    #[arg(long)]
    name: Option<String>,
    /// Requests a minute, or default.
    #[arg(long, value_name = "N", value_parser = number)]
    per_minute: Option<Number>,
    /// Requests at once, or default.
    #[arg(long, value_name = "N", value_parser = number)]
    burst: Option<Number>,
    /// When the key ends by itself: so long from now, a moment of RFC 3339, or never.
    #[arg(long, value_name = "30d|TIME|never", value_parser = expiry)]
    expires: Option<Expiry>,
}

/// A number, or none for the default.
#[derive(Clone, Copy, Debug)]
struct Number(Option<u32>);

// === impl Louder ===

impl Louder {
    /// The flags, over the environment.
    pub(crate) fn heard(&self) -> config::Louder {
        let mut louder = config::Louder::environment();
        for flag in &self.set {
            louder.set(flag).expect("it was judged when it was parsed");
        }
        louder
    }
}

// === impl Fields ===

impl Fields {
    /// What was said.
    pub(crate) fn change(&self) -> Change {
        let mut change = Change::default();
        if let Some(name) = &self.name {
            change = change.name(name);
        }
        if !self.scope.is_empty() {
            change = change.scopes(&self.scope);
        }
        if !self.agent.is_empty() {
            change = change.agents(Some(&self.agent));
        }
        if let Some(Number(limit)) = self.per_minute {
            change = change.per_minute(limit);
        }
        if let Some(Number(burst)) = self.burst {
            change = change.burst(burst);
        }
        if let Some(expires) = &self.expires {
            change = change.expires(expires.clone());
        }
        change
    }
}

fn setting(text: &str) -> Result<String, &'static str> {
    config::Louder::default().set(text)?;
    Ok(text.to_owned())
}

fn word(text: &str) -> Result<String, &'static str> {
    let is_word = KeyFormat::is_word(text);
    is_word
        .then(|| text.to_owned())
        .ok_or("expected 1 to 16 lower-case letters and digits")
}

fn scope(text: &str) -> Result<String, &'static str> {
    let is_scope = is_scope(text);
    is_scope
        .then(|| text.to_owned())
        .ok_or("expected resource:action, or * for all")
}

fn number(text: &str) -> Result<Number, &'static str> {
    match (text, text.parse()) {
        ("default", _) => Ok(Number(None)),
        (_, Ok(number @ 1..)) => Ok(Number(Some(number))),
        _ => Err("expected a whole number from 1 to 4294967295, or default"),
    }
}

fn socket(text: &str) -> Result<PathBuf, &'static str> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err("expected a socket like unix:/run/pod/admin.sock"),
    }
}

fn pepper(text: &str) -> Result<(String, PathBuf), &'static str> {
    match text.split_once('=') {
        Some((id, file)) if !id.is_empty() && !file.is_empty() => Ok((id.into(), file.into())),
        _ => Err("expected an id and a file like p1=/run/secrets/pepper"),
    }
}

fn overlap(text: &str) -> Result<Duration, &'static str> {
    span(text).ok_or("expected a span like 90s, 15m, 24h or 30d")
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "clap takes parsers that may refuse; the schema of the key file does so later"
)]
fn expiry(text: &str) -> Result<Expiry, &'static str> {
    Ok(Expiry::parse(text))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_fit_together() {
        Cli::command().debug_assert();
    }
}
