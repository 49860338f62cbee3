//! Why a store cannot be opened.

use super::Store;
#[cfg(feature = "embedded")]
use crate::embedded;
#[cfg(feature = "postgres")]
use crate::postgres;
#[cfg(feature = "redis")]
use crate::redis;

/// A store that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("store \"{address}\": {fault}")]
pub struct OpenError {
    address: String,
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(
        "there is no such kind of store; it can be \"memory:\", \"file:PATH\", \"redis://HOST\", \
         \"rediss://HOST\", \"redis+cluster://HOST,HOST\", \"rediss+cluster://HOST,HOST\" or \
         \"postgres://HOST/DATABASE\""
    )]
    Unknown,
    #[cfg(feature = "embedded")]
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    #[cfg(feature = "redis")]
    #[error(transparent)]
    Redis(#[from] redis::ConnectError),
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    #[cfg(feature = "embedded")]
    #[error("a path is missing after \"file:\"")]
    NoPath,
    #[cfg(feature = "embedded")]
    #[error("it has no option \"{0}\"; a file has cache, as in \"file:PATH?cache=32MB\"")]
    NoOption(String),
    #[cfg(feature = "embedded")]
    #[error("its option cache cannot be \"{0}\"; expected 1MB to 1024MB")]
    NoSize(String),
    #[cfg(any(feature = "postgres", feature = "redis"))]
    #[error("it is reached over a network, and cannot be opened without waiting")]
    Remote,
    #[cfg(feature = "postgres")]
    #[error("counters can lie in \"memory:\" or in a Redis")]
    NoCounters,
    #[error("it counts by itself: only beside \"postgres://\" can the counters lie elsewhere")]
    CountsItself,
    #[cfg(not(all(feature = "embedded", feature = "postgres", feature = "redis")))]
    #[error("this program was built without feature \"{0}\"")]
    NotBuiltIn(&'static str),
}

// === impl OpenError ===

impl OpenError {
    /// A fault of the store at this address, whose password is not shown.
    pub(super) fn new(address: &str, fault: Fault) -> Self {
        let address = Store::shown(address);
        Self { address, fault }
    }
}
