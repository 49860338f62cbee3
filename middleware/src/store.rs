//! A store by its address, so that a configuration can name one.

use std::borrow::Cow;
use std::time::Duration;

use crate::clock::{SharedClock, SystemClock};
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Records};
use crate::memory;
use crate::principal::Caller;
use crate::rate_limit::{Counters, Quota, Verdict};
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
/// assert_eq!(fault.to_string(), "store \"mongo://db\": there is no such kind of store; it can be \"memory:\" or \"redis://HOST\"");
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Store {
    /// `memory:`: this process's own.
    Memory(memory::Store),
    /// `redis://HOST`: one that several processes share.
    #[cfg(feature = "redis")]
    Redis(redis::Store),
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("store \"{address}\": {fault}")]
pub struct OpenError {
    address: String,
    fault: Cow<'static, str>,
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
        expect(
            clippy::unused_async,
            reason = "every other kind of store is connected to"
        )
    )]
    pub async fn open(address: &str) -> Result<Self, OpenError> {
        #[cfg(feature = "redis")]
        if address.starts_with(REDIS) {
            let opened = redis::Store::open(address).await;
            let fault = |fault: redis::ConnectError| OpenError::new(address, fault.to_string());
            return opened.map(Self::Redis).map_err(fault);
        }
        Self::with_clock(address, SystemClock::shared())
    }

    /// The same, where the store has no time of its own but this clock's.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where no store of ours has such an address.
    pub fn with_clock(address: &str, clock: SharedClock) -> Result<Self, OpenError> {
        match address {
            "memory:" => Ok(Self::Memory(memory::Store::new(clock))),
            redis if redis.starts_with(REDIS) => Err(OpenError::new(redis, OF_ITS_OWN)),
            other => Err(OpenError::new(other, UNKNOWN)),
        }
    }
}

impl Counters for Store {
    fn is_local(&self) -> bool {
        match self {
            Self::Memory(store) => Counters::is_local(store),
            #[cfg(feature = "redis")]
            Self::Redis(store) => Counters::is_local(store),
        }
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        match self {
            Self::Memory(store) => store.hit(caller, quota).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.hit(caller, quota).await,
        }
    }
}

impl Records for Store {
    fn is_local(&self) -> bool {
        match self {
            Self::Memory(store) => Records::is_local(store),
            #[cfg(feature = "redis")]
            Self::Redis(store) => Records::is_local(store),
        }
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        match self {
            Self::Memory(store) => store.claim(attempt).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.claim(attempt).await,
        }
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.renew(owner, lease).await,
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
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.finish(owner, outcome, retention).await,
        }
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.release(owner).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.release(owner).await,
        }
    }
}

impl Admission for Store {
    fn is_one_step(&self) -> bool {
        match self {
            Self::Memory(store) => store.is_one_step(),
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.is_one_step(),
        }
    }

    async fn admit(&self, caller: &Caller, quota: &Quota, attempt: &Attempt) -> Admitted {
        match self {
            Self::Memory(store) => store.admit(caller, quota, attempt).await,
            #[cfg(feature = "redis")]
            Self::Redis(store) => store.admit(caller, quota, attempt).await,
        }
    }
}

// === impl OpenError ===

impl OpenError {
    /// A fault of the store at this address, whose password is not shown.
    fn new(address: &str, fault: impl Into<Cow<'static, str>>) -> Self {
        let address = match (address.split_once("://"), address.rsplit_once('@')) {
            (Some((kind, _)), Some((_, host))) => format!("{kind}://***@{host}"),
            _ => address.to_owned(),
        };
        Self {
            address,
            fault: fault.into(),
        }
    }
}

const REDIS: &str = "redis://";

const UNKNOWN: &str = "there is no such kind of store; it can be \"memory:\" or \"redis://HOST\"";

#[cfg(feature = "redis")]
const OF_ITS_OWN: &str = "it has a clock of its own, and is opened without another";

#[cfg(not(feature = "redis"))]
const OF_ITS_OWN: &str = "this was built without Redis (feature `redis`)";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_names_the_address_without_its_password() {
        for (address, shown) in [
            (
                "redis://user:canary@127.0.0.1:1/x",
                "redis://***@127.0.0.1:1/x",
            ),
            ("redis://:can@ary@127.0.0.1:1", "redis://***@127.0.0.1:1"),
            ("mongo://user:canary@db", "mongo://***@db"),
            ("file:db", "file:db"),
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
