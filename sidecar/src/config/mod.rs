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
//! A key that nobody knows is refused, so that a misspelt one is never without effect; every
//! fault is found at once. Files are named relative to the folder of the configuration.
//!
//! # Louder than the file
//!
//! Each key may stand in the environment, `VESTIBULE__LIMITS__PER_MINUTE=120`, and in a flag of
//! `vestibule serve` and `check`, `--set limits.per_minute=120`. A flag is heard over the
//! environment, and that over the file ([`Louder`]).
//!
//! # Before it is used
//!
//! `vestibule check FILE` prints what is wrong, and what is allowed and seldom meant;
//! `--replicas N` judges it as the configuration of several. [`schema`] is the JSON Schema for
//! editors, which `vestibule schema` prints; `sidecar/vestibule.schema.json` is the same. An
//! editor that knows TOML takes it from a first line `#:schema PATH`.

mod address;
mod drain;
mod entry;
mod error;
mod health;
mod identity;
mod keys;
mod limits;
mod log;
mod louder;
mod proxies;
mod reading;
mod replicas;
mod route;
mod schema;
mod section;
mod shedding;
mod store;
mod timeouts;
mod tls;
mod traces;
mod unit;
mod unwise;
mod upgrade;
mod upstream_tls;

use std::path::{Path, PathBuf};

use vestibule::route::Routes;

pub use self::address::{Address, Target};
pub use self::drain::Drain;
use self::entry::Entry;
pub use self::error::{ConfigError, Fault, Place};
pub use self::health::Health;
pub use self::identity::Identity;
pub use self::keys::{KeySource, Keys};
pub use self::limits::Limits;
pub use self::log::{Log, LogFormat, LogLevel};
pub use self::louder::Louder;
pub use self::proxies::{Proxies, TrustedField};
use self::reading::Reading;
pub use self::route::{Auth, Idempotency, Route};
pub use self::schema::schema;
#[cfg(test)]
pub(crate) use self::schema::schema_keys;
use self::section::Section;
pub use self::shedding::Shedding;
pub use self::store::Store;
pub use self::timeouts::Timeouts;
pub use self::tls::Tls;
pub use self::traces::{TraceProtocol, Traces};
pub use self::upstream_tls::UpstreamTls;

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
    /// `replicas`: how many sidecars at most have this configuration at a time; 1 by default.
    /// More than one need a store that they share.
    pub replicas: u32,
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
    /// `[log]`
    pub log: Log,
    /// `[traces]`
    pub traces: Traces,
    /// `[[route]]`, in the order of the file.
    pub routes: Vec<Route>,
    /// Where it came from, to be read anew.
    origin: Origin,
}

/// Where a configuration came from.
#[derive(Clone, Debug, Default)]
struct Origin {
    /// What was louder than its file; nothing where it was not read from a file.
    louder: Option<Louder>,
    /// The files that it names and whose contents went into it.
    named: Vec<PathBuf>,
}

/// How refusals are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `envelope`: `{"error":{…}}`.
    #[default]
    Envelope,
    /// `grpc`: for gRPC calls a status of gRPC; the envelope for every other request.
    Grpc,
    /// `problem`: RFC 9457.
    Problem,
}

// === impl Config ===

impl Config {
    /// Reads a file, under what the environment says.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] has every fault, each with file, line, key, the value found and what is
    /// allowed.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Self::read_under(file, &Louder::environment())
    }

    /// Reads a file, under what is louder.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_under(file: impl AsRef<Path>, louder: &Louder) -> Result<Self, ConfigError> {
        let file = file.as_ref();
        let text = std::fs::read_to_string(file).map_err(|cause| {
            let text = format!("the file cannot be read: {cause}");
            ConfigError::at(&Place::file(file), text)
        })?;
        let mut config = Self::parse_under(file, &text, louder)?;
        config.origin.louder = Some(louder.clone());
        Ok(config)
    }

    /// The same file, as it is now, under what was louder; nothing where it was not read from
    /// a file.
    pub(crate) fn reread(&self) -> Option<Result<Self, ConfigError>> {
        let louder = self.origin.louder.as_ref()?;
        Some(Self::read_under(&self.file, louder))
    }

    /// The files whose contents make it what it is; none where it was not read from a file.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        if self.origin.louder.is_some() {
            files.push(self.file.clone());
            files.extend(self.origin.named.iter().cloned());
        }
        files
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(file: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        Self::parse_under(file, text, &Louder::default())
    }

    /// Parses the text of a file, under what is louder.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse_under(
        file: impl AsRef<Path>,
        text: &str,
        louder: &Louder,
    ) -> Result<Self, ConfigError> {
        let file = file.as_ref();
        let reading = Reading::new(file.parent().unwrap_or_else(|| Path::new("")));
        let config = reading.top(file, text, louder).and_then(|mut top| {
            let config = Self::take(file, &mut top);
            top.end();
            config.map(|config| Self {
                origin: Origin {
                    louder: None,
                    named: reading.files(),
                },
                ..config
            })
        });
        reading.outcome(config)
    }

    fn take(file: &Path, top: &mut Section<'_>) -> Option<Self> {
        let listen = top.must("listen", "an address like \"0.0.0.0:8080\"", |entry| {
            entry.word(Address::parse)
        });
        let upstreams = top.must("upstream", "a service like \"127.0.0.1:9000\"", upstreams);
        // What goes with services is not judged where nobody knows them.
        let is_list = upstreams.as_ref().is_none_or(|all| all.len() > 1);
        let is_tls = |target: &Target| matches!(target, Target::Tls(_));
        let is_https = upstreams.as_ref().map(|all| all.iter().any(is_tls));
        let mut upstreams = upstreams.unwrap_or_default().into_iter();
        let first = upstreams.next();
        let store = top.or("store", Store::beside(file), Store::parse);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Some(Self {
            file: file.to_owned(),
            upstream_http2: top.maybe("upstream_http2", Entry::flag),
            admin: top.or("admin", Vec::new(), admin),
            replicas: top.or("replicas", 1, |entry| replicas::parse(entry, &store)),
            upgrade_sock: top.maybe("upgrade_sock", |entry| upgrade::parse(entry, &store)),
            store,
            counters: top.maybe("counters", Store::parse),
            error_format: top.or("error_format", ErrorFormat::default(), |entry| {
                entry.word(ErrorFormat::parse)
            }),
            threads: top.or("threads", threads, |entry| entry.whole(1..=THREADS_MAX)),
            http2: top.or("http2", true, Entry::flag),
            proxies: Proxies::parse(top),
            tls: top.within("tls", "[tls]", Tls::parse),
            upstream_tls: top.within("upstream_tls", "[upstream_tls]", |section| {
                UpstreamTls::parse(section, is_https)
            }),
            keys: top.within("keys", "[keys]", Keys::parse),
            identity: top.within("identity", "[identity]", Identity::parse),
            limits: top.within("limits", "[limits]", Limits::parse),
            timeouts: top.within("timeouts", "[timeouts]", Timeouts::parse),
            health: top.within("health", "[health]", |section| {
                Health::parse(section, is_list)
            }),
            shedding: top.within("shedding", "[shedding]", Shedding::parse),
            drain: top.within("drain", "[drain]", Drain::parse),
            log: top.within("log", "[log]", Log::parse),
            traces: top.within("traces", "[traces]", Traces::parse),
            routes: routes(top),
            // Last, so that everything else has been judged where one of them is missing.
            listen: listen?,
            upstream: first?,
            more_upstreams: upstreams.collect(),
            origin: Origin::default(),
        })
    }
}

/// One address, or several: a port for probes and metrics, a socket for commands.
fn admin(entry: &Entry<'_>) -> Result<Vec<Address>, Fault> {
    const WANTED: &str = "an address like \"127.0.0.1:9090\" or \"unix:/run/vestibule/admin.sock\", or a list of them";
    let addresses = entry.strings(|text| Address::parse(text).is_ok(), WANTED)?;
    if addresses.len() > ADMIN_MAX {
        return Err(entry.refused(format!("at most {ADMIN_MAX} addresses")));
    }
    let parsed = addresses.iter().map(|text| Address::parse(text));
    Ok(parsed.map(|one| one.expect("it was judged")).collect())
}

/// One service or a list of them.
fn upstreams(entry: &Entry<'_>) -> Result<Vec<Target>, Fault> {
    let texts = entry.strings(|text| Target::parse(text).is_ok(), Target::WANTED)?;
    let targets = texts.iter().filter_map(|text| Target::parse(text).ok());
    Ok(targets.collect())
}

/// The routes that can be beside those before them.
fn routes(top: &mut Section<'_>) -> Vec<Route> {
    if top.is_void("route") {
        top.fault("there is no [[route]], so every request would be answered 404");
    }
    let mut table = Routes::default();
    top.each("route", "[[route]]", |section| {
        let route = Route::parse(section)?;
        match table.clone().with(&route.pattern, route.policy()) {
            Ok(entered) => {
                table = entered;
                Some(route)
            }
            Err(fault) => {
                section.note(fault.to_string());
                None
            }
        }
    })
}

// === impl ErrorFormat ===

impl ErrorFormat {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "envelope" => Ok(Self::Envelope),
            "grpc" => Ok(Self::Grpc),
            "problem" => Ok(Self::Problem),
            _ => Err("\"envelope\", \"problem\" or \"grpc\""),
        }
    }

    /// What the layers are told.
    pub(crate) const fn writes(self) -> vestibule::ErrorFormat {
        match self {
            Self::Envelope => vestibule::ErrorFormat::Envelope,
            Self::Grpc => vestibule::ErrorFormat::Grpc,
            Self::Problem => vestibule::ErrorFormat::Problem,
        }
    }

    /// The same for HTTP/1.1, which gRPC does not use.
    pub(crate) const fn writes_http1(self) -> vestibule::ErrorFormat {
        match self {
            Self::Envelope | Self::Grpc => vestibule::ErrorFormat::Envelope,
            Self::Problem => vestibule::ErrorFormat::Problem,
        }
    }
}

/// As many sockets as one process hands over to the next, beside that of clients.
pub(crate) const ADMIN_MAX: usize = 8;

/// More workers than any pod has processors are a slip of the pen.
const THREADS_MAX: usize = 1024;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transport_tests;
