//! The configuration: TOML in the vocabulary of the builder, parsed once, refused as a whole.
//!
//! # Example
//!
//! ```
//! use vestibule_sidecar::config::Config;
//!
//! let config = Config::parse(
//!     "vestibule.toml",
//!     r#"
//!         listen   = "127.0.0.1:8080"
//!         upstream = "unix:/run/pod/app.sock"
//!         store    = "file:/var/lib/vestibule/store.redb"
//!
//!         [keys]
//!         source = "keys.json"
//!
//!         [[route]]
//!         match = "POST /v1/charges"
//!         scope = "charges:write"
//!         idempotency = "executes"
//!     "#,
//! )?;
//! assert_eq!(config.routes.len(), 1);
//! # Ok::<(), vestibule_sidecar::config::ConfigError>(())
//! ```
//!
//! Durations read `"250ms"`, `"15s"`, `"5m"`; sizes read `"512KB"`, `"4MB"` (of 1024).
//! A key that nobody knows is refused, so that a misspelt one is never without effect.
//! Files are named relative to the folder of the configuration.

mod address;
mod connections;
mod drain;
mod error;
mod health;
mod identity;
mod keys;
mod limits;
mod proxies;
mod route;
mod shedding;
mod store;
mod timeouts;
mod tls;
mod upgrade;
mod upstream_tls;
mod value;

use std::path::{Path, PathBuf};

pub use self::address::{Address, Target};
use self::connections::upstreams;
pub use self::drain::Drain;
pub use self::error::ConfigError;
pub use self::health::Health;
pub use self::identity::Identity;
pub use self::keys::{KeySource, Keys};
pub use self::limits::Limits;
pub use self::proxies::{Proxies, TrustedField};
pub use self::route::{Auth, Idempotency, Route};
pub use self::shedding::Shedding;
pub use self::store::Store;
pub use self::timeouts::Timeouts;
pub use self::tls::Tls;
pub use self::upstream_tls::UpstreamTls;
use self::value::{Entry, Source};

/// Everything that a sidecar is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, named in every fault.
    pub file: PathBuf,
    /// `listen`: where clients connect.
    pub listen: Address,
    /// `upstream`: the service behind the sidecar, or the first of a list of them.
    pub upstream: Target,
    /// The others, where `upstream` is a list: requests go round those that are well.
    pub more_upstreams: Vec<Target>,
    /// `admin`: health, readiness and metrics, on one address or a list of them; none by
    /// default. On a Unix socket commands are taken too.
    pub admin: Vec<Address>,
    /// `store`: where counters and records are kept; by default in a file beside this one.
    pub store: Store,
    /// `counters`: where requests are counted, if not in the store: a Redis beside a
    /// `postgres://` store, which otherwise counts in memory.
    pub counters: Option<Store>,
    /// `upgrade_sock`: the path of a Unix socket on which this process hands its listening
    /// sockets over to one that is started with `--upgrade`; none by default. It needs a
    /// store that two processes may share.
    pub upgrade_sock: Option<PathBuf>,
    /// `error_format`: how refusals are written; the envelope by default.
    pub error_format: ErrorFormat,
    /// `threads`: workers of the listener; by default one for each processor that the
    /// process may use.
    pub threads: usize,
    /// `http2`: whether HTTP/2 is taken beside HTTP/1.1, where it is not
    /// encrypted with prior knowledge; true by default.
    pub http2: bool,
    /// `trusted_proxies` and `trusted_field`: whom the sidecar believes when it is told who
    /// is calling.
    pub proxies: Proxies,
    /// `[tls]`; by default connections are not encrypted.
    pub tls: Option<Tls>,
    /// `upstream_http2`: whether HTTP/2 is spoken to the service; by default what an
    /// `https://` one prefers, and HTTP/1.1 otherwise. `true` asks for prior knowledge where
    /// the connection is not encrypted.
    pub upstream_http2: Option<bool>,
    /// `[upstream_tls]`: with an `https://` upstream, and only then.
    pub upstream_tls: Option<UpstreamTls>,
    /// `[keys]`
    pub keys: Keys,
    /// `[identity]`
    pub identity: Identity,
    /// `[limits]`
    pub limits: Limits,
    /// `[timeouts]`
    pub timeouts: Timeouts,
    /// `[health]`
    pub health: Health,
    /// `[shedding]`
    pub shedding: Shedding,
    /// `[drain]`
    pub drain: Drain,
    /// `[[route]]`, in the order of the file.
    pub routes: Vec<Route>,
}

/// How refusals are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `envelope`: `{"error":{…}}`.
    #[default]
    Envelope,
    /// `problem`: RFC 9457.
    Problem,
}

// === impl Config ===

impl Config {
    /// Reads a file. `VESTIBULE__STORE` in the environment, the address of a store, takes the
    /// place of the file's.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names file, line, key, the value found and what is allowed.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let file = file.as_ref();
        let text = std::fs::read_to_string(file).map_err(|cause| {
            ConfigError::new(file, 1, format!("the file cannot be read: {cause}"))
        })?;
        let mut config = Self::parse(file, &text)?;
        // An address may hold a password, which has no place in a file that many may read.
        if let Ok(address) = std::env::var(STORE) {
            config.store = Store::named(address, file);
        }
        Ok(config)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        let file = file.as_ref();
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        let mut top = Source { file, text }.parse()?;
        let listen = top.require("listen", "an address like \"0.0.0.0:8080\"")?;
        let listen = listen.text(Address::parse)?;
        let upstream = top.require("upstream", "a service like \"127.0.0.1:9000\"")?;
        let (first, more_upstreams) = upstreams(upstream)?;
        let mut config = Self {
            file: file.to_owned(),
            listen,
            upstream: first,
            more_upstreams,
            admin: match top.take("admin") {
                Some(entry) => admin(entry)?,
                None => Vec::new(),
            },
            store: match top.take("store") {
                Some(entry) => Store::parse(entry, folder)?,
                None => Store::beside(folder),
            },
            upgrade_sock: None,
            health: Health::default(),
            shedding: Shedding::default(),
            proxies: Proxies::default(),
            tls: None,
            upstream_http2: None,
            upstream_tls: None,
            counters: match top.take("counters") {
                Some(entry) => Some(Store::parse(entry, folder)?),
                None => None,
            },
            error_format: match top.take("error_format") {
                Some(entry) => entry.text(ErrorFormat::parse)?,
                None => ErrorFormat::default(),
            },
            threads: match top.take("threads") {
                Some(entry) => entry.whole(1..=THREADS_MAX)?,
                None => std::thread::available_parallelism().map_or(1, usize::from),
            },
            http2: match top.take("http2") {
                Some(entry) => entry.flag()?,
                None => true,
            },
            keys: Keys::parse(top.section("keys", "[keys]")?, folder)?,
            identity: Identity::parse(top.section("identity", "[identity]")?, folder)?,
            limits: Limits::parse(top.section("limits", "[limits]")?)?,
            timeouts: Timeouts::parse(top.section("timeouts", "[timeouts]")?)?,
            drain: Drain::parse(top.section("drain", "[drain]")?)?,
            routes: top
                .sections("route", "[[route]]")?
                .into_iter()
                .map(Route::parse)
                .collect::<Result<_, _>>()?,
        };
        config.read_connections(&mut top, folder)?;
        top.finish()?;
        Ok(config)
    }
}

/// One address, or several: a port for probes and metrics, a socket for commands.
fn admin(entry: Entry<'_>) -> Result<Vec<Address>, ConfigError> {
    const WANTED: &str = "an address like \"127.0.0.1:9090\" or \"unix:/run/vestibule/admin.sock\", or a list of them";
    let most = entry.withheld("at most 8 addresses are expected");
    let addresses = entry.strings(|text| Address::parse(text).is_ok(), WANTED)?;
    if addresses.len() > ADMIN_MAX {
        return Err(most);
    }
    let parsed = addresses.iter().map(|text| Address::parse(text));
    Ok(parsed.map(|one| one.expect("it was judged")).collect())
}

// === impl ErrorFormat ===

impl ErrorFormat {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "envelope" => Ok(Self::Envelope),
            "problem" => Ok(Self::Problem),
            _ => Err("\"envelope\" or \"problem\""),
        }
    }
}

/// As many sockets as one process hands over to the next, beside that of clients.
pub(crate) const ADMIN_MAX: usize = 8;

/// The variable whose value takes the place of the file's `store`.
const STORE: &str = "VESTIBULE__STORE";

/// More workers than any pod has processors are a slip of the pen.
const THREADS_MAX: usize = 1024;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transport_tests;
