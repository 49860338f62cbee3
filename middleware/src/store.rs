//! A store by its address, so that a configuration can name one.

use std::time::Duration;

use crate::clock::{SharedClock, SystemClock};
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Records};
use crate::memory;
use crate::principal::Caller;
use crate::rate_limit::{Counters, Quota, Verdict};
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
/// assert_eq!(fault.to_string(), "store \"mongo://db\": there is no such kind of store; it can be \"memory:\"");
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Store {
    /// `memory:`: this process's own.
    Memory(memory::Store),
}

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("store \"{address}\": {fault}")]
pub struct OpenError {
    address: String,
    fault: &'static str,
}

// === impl Store ===

impl Store {
    /// Opens the store at this address.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where no store of ours has such an address.
    #[expect(
        clippy::unused_async,
        reason = "every other kind of store is connected to"
    )]
    pub async fn open(address: &str) -> Result<Self, OpenError> {
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
            _ => Err(OpenError {
                address: address.to_owned(),
                fault: "there is no such kind of store; it can be \"memory:\"",
            }),
        }
    }
}

impl Counters for Store {
    fn is_local(&self) -> bool {
        match self {
            Self::Memory(store) => Counters::is_local(store),
        }
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        match self {
            Self::Memory(store) => store.hit(caller, quota).await,
        }
    }
}

impl Records for Store {
    fn is_local(&self) -> bool {
        match self {
            Self::Memory(store) => Records::is_local(store),
        }
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        match self {
            Self::Memory(store) => store.claim(attempt).await,
        }
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.renew(owner, lease).await,
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
        }
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.release(owner).await,
        }
    }
}

impl Admission for Store {
    fn is_one_step(&self) -> bool {
        match self {
            Self::Memory(store) => store.is_one_step(),
        }
    }

    async fn admit(&self, caller: &Caller, quota: &Quota, attempt: &Attempt) -> Admitted {
        match self {
            Self::Memory(store) => store.admit(caller, quota, attempt).await,
        }
    }
}
