//! The keyring in the store's own file.

use std::sync::Arc;

use super::step::{Asker, Step};
use super::{Shared, Thread};
use crate::api_key::{self, Digest, KeyChange, KeyRecord, KeyStore, KeyWriteError};
use crate::clock::Timestamp;
use crate::error::StoreError;

/// The keys in the file of a [`Store`](super::Store).
///
/// Every clone, and every keyring of one store, sees the same keys. All of them are in
/// memory: looking one up takes no lock, asks nobody and allocates nothing. A write is on
/// the disk before it is answered and before a look-up sees it, and all its changes are
/// made together or not at all. From then on it holds, so its records need not be
/// [tracked](crate::api_key::KeyRecordBuilder::tracked).
///
/// What a record is made of is what its JSON says: a
/// [version](crate::api_key::KeyRecordBuilder::version) that was given is not kept.
/// When keys were last seen is written down once a second; a crash forgets that second.
#[derive(Clone, Debug)]
pub struct Keyring {
    pub(super) shared: Arc<Shared>,
    pub(super) thread: Arc<Thread>,
}

// === impl Keyring ===

impl api_key::Keyring for Keyring {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        Ok(self.shared.ring.keys().holder(digest))
    }
}

impl KeyStore for Keyring {
    async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        Ok(self.shared.ring.get(id))
    }

    async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        Ok(self.shared.ring.page(after, most))
    }

    async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
        let changes = changes.iter().map(as_read).collect::<Result<_, _>>()?;
        let (asker, answer) = Asker::new();
        let step = Step::WriteKeys(changes, asker);
        self.thread.ask(step, answer).await?
    }

    async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
        self.shared.ring.touch(used);
        Ok(())
    }
}

/// The change with its record as it will be read from the file. One that could not be read
/// would keep the file from being opened.
fn as_read(change: &KeyChange) -> Result<KeyChange, StoreError> {
    let read = KeyRecord::from_json(&change.record.to_json());
    Ok(KeyChange {
        record: read.map_err(|cause| StoreError::not_sent().because(cause))?,
        replaces: change.replaces,
    })
}

#[cfg(test)]
mod tests;
