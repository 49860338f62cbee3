//! A store by its address, so that a configuration can name one.

#[cfg(feature = "postgres")]
mod beside;
mod error;
#[cfg(feature = "embedded")]
mod file;
mod keyring;
mod steps;

#[cfg(feature = "postgres")]
pub use self::beside::CountersBeside;
use self::error::Fault;
pub use self::error::OpenError;
pub use self::keyring::StoreKeyring;
#[cfg(any(feature = "postgres", feature = "redis"))]
use crate::api_key::Cached;
use crate::clock::{SharedClock, SystemClock};
#[cfg(feature = "embedded")]
use crate::embedded;
use crate::error::StoreError;
use crate::memory;
#[cfg(feature = "postgres")]
use crate::pair::Pair;
#[cfg(feature = "postgres")]
use crate::postgres;
#[cfg(feature = "redis")]
use crate::redis;

/// One of the stores that come with this crate.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use vestibule::Store;
///
/// let store = Store::open("memory:").await.unwrap();
/// let fault = Store::open("mongo://db").await.unwrap_err();
/// let said = fault.to_string();
/// assert!(said.starts_with("store \"mongo://db\": there is no such kind of store; it can be \"memory:\""));
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Store {
    /// `memory:`: this process's own.
    Memory(memory::Store),
    /// `file:PATH`: this process's own, in a file that outlasts it. `file:PATH?cache=32MB`
    /// keeps more of it in memory than the 16 MB that are usual.
    #[cfg(feature = "embedded")]
    Embedded(embedded::Store),
    /// `redis://HOST`, `rediss://HOST`, `redis+cluster://HOST,HOST`: one that several
    /// processes share.
    #[cfg(feature = "redis")]
    Redis(redis::Store),
    /// `postgres://HOST/DATABASE`: records and keys that several processes share. The
    /// counters lie beside them.
    #[cfg(feature = "postgres")]
    Postgres(Pair<CountersBeside, postgres::Store>),
}

// === impl Store ===

impl Store {
    /// Opens the store at this address.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where no store of ours has such an address, or the one that has
    /// cannot be used.
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        Self::open_under(address, SystemClock::shared()).await
    }

    /// The same, where the store has no time of its own, under this clock.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    #[cfg_attr(
        not(any(feature = "postgres", feature = "redis")),
        expect(clippy::unused_async, reason = "a server is connected to")
    )]
    pub async fn open_under(address: &str, clock: SharedClock) -> Result<Self, OpenError> {
        let opened = match Kind::of(address) {
            #[cfg(feature = "redis")]
            Kind::Redis => redis::Store::open(address)
                .await
                .map(Self::Redis)
                .map_err(Fault::from),
            #[cfg(feature = "postgres")]
            Kind::Postgres => {
                let counters = CountersBeside::Memory(memory::Store::new(clock));
                let records = postgres::Store::open(address).await;
                records
                    .map(|records| Self::Postgres(Pair::new(counters, records)))
                    .map_err(Fault::from)
            }
            _ => Self::of_process(address, clock),
        };
        opened.map_err(|fault| OpenError::new(address, fault))
    }

    /// Opens a store of this process alone, under this clock.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where no store of ours has such an address, or the one that has
    /// cannot be used or is reached over a network.
    pub fn with_clock(address: &str, clock: SharedClock) -> Result<Self, OpenError> {
        Self::of_process(address, clock).map_err(|fault| OpenError::new(address, fault))
    }

    /// Counts in the store at this address instead of in this process's memory.
    ///
    /// For records in PostgreSQL of several processes, whose callers are to have one budget:
    /// these counters can lie in a Redis.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where nothing can be counted there, or this store counts by itself.
    #[cfg_attr(
        not(all(feature = "postgres", feature = "redis")),
        expect(clippy::unused_async, reason = "a Redis is connected to")
    )]
    pub async fn counting_at(self, address: &str) -> Result<Self, OpenError> {
        let fault = match (Kind::of(address), self) {
            #[cfg(feature = "postgres")]
            (Kind::Memory, store @ Self::Postgres(_)) => return Ok(store),
            #[cfg(all(feature = "postgres", feature = "redis"))]
            (Kind::Redis, Self::Postgres(pair)) => match redis::Store::open(address).await {
                Ok(counters) => {
                    let counters = CountersBeside::Redis(counters);
                    return Ok(Self::Postgres(Pair::new(counters, pair.records().clone())));
                }
                Err(fault) => fault.into(),
            },
            #[cfg(feature = "postgres")]
            (_, Self::Postgres(_)) => Fault::NoCounters,
            _ => Fault::CountsItself,
        };
        Err(OpenError::new(address, fault))
    }

    /// An address as it may be shown: without a user, and without a password, which one of
    /// PostgreSQL can have among its parameters too.
    pub fn shown(address: &str) -> String {
        let Some((kind, rest)) = address.split_once("://") else {
            return address.to_owned();
        };
        // A password may have any of these signs in it, so what follows the last one is kept.
        let (user, host) = match rest.rsplit_once('@') {
            Some((_, host)) => ("***@", host),
            None => ("", rest),
        };
        match host.split_once('?') {
            Some((host, _)) if kind.starts_with("postgres") => {
                format!("{kind}://{user}{host}?***")
            }
            _ => format!("{kind}://{user}{host}"),
        }
    }

    /// The key records in this store; none where it keeps none.
    ///
    /// For a stack over this very store: a change of a record then holds on the next
    /// request (design D7).
    #[cfg_attr(
        not(any(feature = "postgres", feature = "redis")),
        expect(
            unused_variables,
            clippy::needless_pass_by_value,
            reason = "what is in this process is not remembered"
        )
    )]
    pub fn keyring(&self, clock: SharedClock) -> Option<StoreKeyring> {
        match self {
            Self::Memory(_) => None,
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => Some(StoreKeyring::Embedded(store.keyring())),
            #[cfg(feature = "redis")]
            Self::Redis(store) => {
                let keyring = Cached::new(store.keyring(), clock).counted();
                Some(StoreKeyring::Redis(keyring))
            }
            // What counts is another store: the database is asked for each key.
            #[cfg(feature = "postgres")]
            Self::Postgres(pair) => {
                let keyring = Cached::new(pair.records().keyring(), clock);
                Some(StoreKeyring::Postgres(keyring))
            }
        }
    }

    /// Writes down what is in this process's memory alone, though it is to outlast it.
    ///
    /// For the end of a process in which nobody drops the last clone.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where a file fails.
    #[cfg_attr(
        not(feature = "embedded"),
        expect(clippy::unused_async, reason = "a file is waited for")
    )]
    pub async fn flush(&self) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.flush().await,
            _ => Ok(()),
        }
    }

    fn of_process(address: &str, clock: SharedClock) -> Result<Self, Fault> {
        match Kind::of(address) {
            Kind::Memory => Ok(Self::Memory(memory::Store::new(clock))),
            #[cfg(feature = "embedded")]
            Kind::File(rest) => {
                let (path, options) = file::parse(rest)?;
                Ok(Self::Embedded(options.open(path, clock)?))
            }
            #[cfg(not(feature = "embedded"))]
            Kind::File(_) => Err(Fault::NotBuiltIn("embedded")),
            #[cfg(not(feature = "redis"))]
            Kind::Redis => Err(Fault::NotBuiltIn("redis")),
            #[cfg(not(feature = "postgres"))]
            Kind::Postgres => Err(Fault::NotBuiltIn("postgres")),
            #[cfg(feature = "redis")]
            Kind::Redis => Err(Fault::Remote),
            #[cfg(feature = "postgres")]
            Kind::Postgres => Err(Fault::Remote),
            Kind::Unknown => Err(Fault::Unknown),
        }
    }
}

/// The kinds of stores, by how their addresses begin.
enum Kind<'a> {
    Memory,
    #[cfg_attr(not(feature = "embedded"), expect(dead_code, reason = "it has none"))]
    File(&'a str),
    Redis,
    Postgres,
    Unknown,
}

// === impl Kind ===

impl<'a> Kind<'a> {
    fn of(address: &'a str) -> Self {
        match address.split_once(':') {
            Some(("memory", "")) => Self::Memory,
            Some(("file", path)) => Self::File(path),
            Some(("redis" | "rediss" | "redis+cluster" | "rediss+cluster", _)) => Self::Redis,
            Some(("postgres" | "postgresql", _)) => Self::Postgres,
            _ => Self::Unknown,
        }
    }
}

#[cfg(all(test, feature = "embedded", feature = "postgres", feature = "redis"))]
mod tests;
