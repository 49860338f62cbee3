//! A store by its address, so that a configuration can name one.

mod keyring;

use std::time::Duration;

pub use self::keyring::StoreKeyring;
#[cfg(feature = "redis")]
use crate::api_key::Cached;
use crate::clock::{SharedClock, SystemClock};
#[cfg(feature = "embedded")]
use crate::embedded;
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Records};
use crate::memory;
use crate::principal::{Caller, KeyVersion};
use crate::rate_limit::{Charge, Counters, Quota, Verdict};
#[cfg(feature = "redis")]
use crate::redis;
use crate::stack::{Admission, Admitted};

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
    /// `file:PATH`: this process's own, in a file that outlasts it.
    #[cfg(feature = "embedded")]
    Embedded(embedded::Store),
    /// `redis://HOST`: one that several processes share.
    #[cfg(feature = "redis")]
    Redis(redis::Store),
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("store \"{address}\": {fault}")]
pub struct OpenError {
    address: String,
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(
        "there is no such kind of store; it can be \"memory:\", \"file:PATH\" or \"redis://HOST\""
    )]
    Unknown,
    #[cfg(feature = "embedded")]
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Redis(#[from] redis::ConnectError),
    #[cfg(feature = "embedded")]
    #[error("a path is missing after \"file:\"")]
    NoPath,
    #[cfg(feature = "redis")]
    #[error("it has a clock of its own, and is opened without another")]
    OwnClock,
    #[cfg(not(all(feature = "embedded", feature = "redis")))]
    #[error("this program was built without feature \"{0}\"")]
    NotBuiltIn(&'static str),
}

// === impl Store ===

impl Store {
    /// Opens the store at this address.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where no store of ours has such an address, or the one that has
    /// cannot be used.
    #[cfg_attr(
        not(feature = "redis"),
        expect(clippy::unused_async, reason = "a Redis is connected to")
    )]
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        #[cfg(feature = "redis")]
        if address.starts_with(REDIS) {
            let opened = redis::Store::open(address).await;
            let fault = |fault: redis::ConnectError| OpenError::new(address, fault.into());
            return opened.map(Self::Redis).map_err(fault);
        }
        Self::with_clock(address, SystemClock::shared())
    }

    /// The same, where the store has no time of its own but this clock's.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where no store of ours has such an address, the one that has cannot be
    /// used, or has a clock of its own.
    pub fn with_clock(address: &str, clock: SharedClock) -> Result<Self, OpenError> {
        Self::of_kind(address, clock).map_err(|fault| OpenError::new(address, fault))
    }

    /// The key records in this store; none where it keeps none.
    ///
    /// For a stack over this very store: a change of a record then holds on the next
    /// request (design D7).
    #[cfg_attr(
        not(feature = "redis"),
        expect(unused_variables, reason = "what is in this process is not remembered")
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
            Self::Memory(_) => Ok(()),
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.flush().await,
            #[cfg(feature = "redis")]
            Self::Redis(_) => Ok(()),
        }
    }

    fn of_kind(address: &str, clock: SharedClock) -> Result<Self, Fault> {
        match address.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory(memory::Store::new(clock))),
            #[cfg(feature = "embedded")]
            Some(("file", "")) => Err(Fault::NoPath),
            #[cfg(feature = "embedded")]
            Some(("file", path)) => Ok(Self::Embedded(embedded::Store::open(path, clock)?)),
            #[cfg(not(feature = "embedded"))]
            Some(("file", _)) => Err(Fault::NotBuiltIn("embedded")),
            #[cfg(feature = "redis")]
            Some(("redis", _)) => Err(Fault::OwnClock),
            #[cfg(not(feature = "redis"))]
            Some(("redis", _)) => Err(Fault::NotBuiltIn("redis")),
            _ => Err(Fault::Unknown),
        }
    }
}

// === impl OpenError ===

impl OpenError {
    /// A fault of the store at this address, whose password is not shown.
    fn new(address: &str, fault: Fault) -> Self {
        let address = match (address.split_once("://"), address.rsplit_once('@')) {
            (Some((kind, _)), Some((_, host))) => format!("{kind}://***@{host}"),
            _ => address.to_owned(),
        };
        Self { address, fault }
    }
}

impl Counters for Store {
    fn is_local(&self) -> bool {
        match self {
            Self::Memory(store) => Counters::is_local(store),
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => Counters::is_local(store),
            #[cfg(feature = "redis")]
            Self::Redis(store) => Counters::is_local(store),
        }
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        match self {
            Self::Memory(store) => store.hit(caller, quota).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.hit(caller, quota).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.hit(caller, quota).await,
        }
    }

    async fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: KeyVersion<'_>,
    ) -> Result<Charge, StoreError> {
        match self {
            Self::Memory(store) => store.hit_current(caller, quota, key).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.hit_current(caller, quota, key).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.hit_current(caller, quota, key).await,
        }
    }
}

impl Records for Store {
    fn is_local(&self) -> bool {
        match self {
            Self::Memory(store) => Records::is_local(store),
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => Records::is_local(store),
            #[cfg(feature = "redis")]
            Self::Redis(store) => Records::is_local(store),
        }
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        match self {
            Self::Memory(store) => store.claim(attempt).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.claim(attempt).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.claim(attempt).await,
        }
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.renew(owner, lease).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.renew(owner, lease).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.renew(owner, lease).await,
        }
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.finish(owner, outcome, retention).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.finish(owner, outcome, retention).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.finish(owner, outcome, retention).await,
        }
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.release(owner).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.release(owner).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.release(owner).await,
        }
    }
}

impl Admission for Store {
    fn is_one_step(&self) -> bool {
        match self {
            Self::Memory(store) => store.is_one_step(),
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.is_one_step(),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.is_one_step(),
        }
    }

    async fn admit(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: Option<KeyVersion<'_>>,
        attempt: &Attempt,
    ) -> Admitted {
        match self {
            Self::Memory(store) => store.admit(caller, quota, key, attempt).await,
            #[cfg(feature = "embedded")]
            Self::Embedded(store) => store.admit(caller, quota, key, attempt).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.admit(caller, quota, key, attempt).await,
        }
    }
}

#[cfg(feature = "redis")]
const REDIS: &str = "redis://";

#[cfg(all(test, feature = "embedded", feature = "redis"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_opens_nothing_is_told_with_what_it_can_be() {
        let kinds = "there is no such kind of store; it can be \"memory:\", \"file:PATH\" or \"redis://HOST\"";
        for (address, want) in [
            ("file:", "a path is missing after \"file:\""),
            ("mongo://db", kinds),
            ("memory:8", kinds),
        ] {
            let fault = Store::open(address).await.unwrap_err();
            assert_eq!(fault.to_string(), format!("store {address:?}: {want}"));
        }
    }

    #[tokio::test]
    async fn a_file_is_opened_once_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("file:{}", folder.path().join("store").display());
        let store = Store::open(&address).await.unwrap();
        assert!(Counters::is_local(&store) && !Records::is_local(&store));
        let fault = Store::open(&address).await.unwrap_err().to_string();
        assert!(fault.contains("is in use by another process"), "{fault}");
    }

    #[tokio::test]
    async fn a_fault_names_the_address_without_its_password() {
        for (address, shown) in [
            (
                "redis://user:canary@127.0.0.1:1/x",
                "redis://***@127.0.0.1:1/x",
            ),
            ("redis://:can@ary@127.0.0.1:1", "redis://***@127.0.0.1:1"),
            ("mongo://user:canary@db", "mongo://***@db"),
        ] {
            let fault = Store::open(address).await.unwrap_err();
            let said = format!("{fault} {fault:?}");
            assert!(said.contains(&format!("\"{shown}\"")), "{said}");
            assert!(
                !said.contains("canary") && !said.contains("can@ary"),
                "{said}"
            );
        }
    }
}
