//! The key records of a store, whichever of ours it is, or those that a program was given.

use std::sync::Arc;
use std::time::Duration;

#[cfg(any(feature = "postgres", feature = "redis"))]
use crate::api_key::Cached;
use crate::api_key::{Digest, KeyChange, KeyRecord, KeyStore, KeyWriteError, Keyring, Keys};
use crate::clock::Timestamp;
#[cfg(feature = "embedded")]
use crate::embedded;
use crate::error::StoreError;
#[cfg(feature = "postgres")]
use crate::postgres;
use crate::principal::Principal;
#[cfg(feature = "redis")]
use crate::redis;
use crate::telemetry::StoreObserver;

/// The keyring of one of the stores that come with this crate.
///
/// Made by [`Store::keyring`](super::Store::keyring), or of [`Keys`]. One that asks over a
/// network has its deadline and its memory around it (see
/// [`Cached`](crate::api_key::Cached)).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreKeyring {
    /// In this process's memory: given by the program, or read from a file.
    Keys(Keys),
    /// In the file of this process's store.
    #[cfg(feature = "embedded")]
    Embedded(embedded::Keyring),
    /// In the Redis that counts the requests too.
    #[cfg(feature = "redis")]
    Redis(Cached<redis::Keyring>),
    /// In the PostgreSQL that keeps the records too.
    #[cfg(feature = "postgres")]
    Postgres(Cached<postgres::Keyring>),
}

// === impl StoreKeyring ===

impl From<Keys> for StoreKeyring {
    fn from(keys: Keys) -> Self {
        Self::Keys(keys)
    }
}

/// Asks the keyring that is there.
macro_rules! ask {
    ($keyring:expr, $held:ident => $answer:expr) => {
        match $keyring {
            StoreKeyring::Keys($held) => $answer,
            #[cfg(feature = "embedded")]
            StoreKeyring::Embedded($held) => $answer,
            #[cfg(feature = "redis")]
            StoreKeyring::Redis($held) => $answer,
            #[cfg(feature = "postgres")]
            StoreKeyring::Postgres($held) => $answer,
        }
    };
}

impl StoreKeyring {
    /// Tells somebody of each look-up, where it goes over a network.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn StoreObserver>) -> Self {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(keyring) => Self::Redis(keyring.observed(observer)),
            #[cfg(feature = "postgres")]
            Self::Postgres(keyring) => Self::Postgres(keyring.observed(observer)),
            _ => {
                drop(observer);
                self
            }
        }
    }

    /// Whether the last look-up got no answer.
    pub fn is_lost(&self) -> bool {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(keyring) => keyring.is_lost(),
            #[cfg(feature = "postgres")]
            Self::Postgres(keyring) => keyring.is_lost(),
            _ => false,
        }
    }
}

impl Keyring for StoreKeyring {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        ask!(self, keyring => keyring.find(digest).await)
    }

    async fn reread(&self, principal: &Principal) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        ask!(self, keyring => keyring.reread(principal).await)
    }

    fn age(&self) -> Duration {
        ask!(self, keyring => keyring.age())
    }
}

impl KeyStore for StoreKeyring {
    async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        ask!(self, keyring => KeyStore::get(keyring, id).await)
    }

    async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        ask!(self, keyring => keyring.page(after, most).await)
    }

    async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
        ask!(self, keyring => keyring.write(changes).await)
    }

    async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
        ask!(self, keyring => keyring.touch(used).await)
    }
}
