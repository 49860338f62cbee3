//! The keys of one file in memory, while a command looks at them or changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use vestibule::api_key::{KeyRecord, Keys};

use super::fault::Fault;

/// Key records by their ids.
#[derive(Clone, Debug, Default)]
pub struct KeySet(BTreeMap<Box<str>, Arc<KeyRecord>>);

// === impl KeySet ===

impl KeySet {
    /// The record with this id.
    ///
    /// # Errors
    ///
    /// [`Fault`] where there is none.
    pub fn get(&self, id: &str) -> Result<&Arc<KeyRecord>, Fault> {
        let missing = || Fault::new(format!("there is no key with the id {id:.80?}"));
        self.0.get(id).ok_or_else(missing)
    }

    /// Whether there is a key with this id.
    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Adds a record, or puts it in the place of the one with its id.
    pub fn put(&mut self, record: Arc<KeyRecord>) {
        self.0.insert(record.principal().key_id().into(), record);
    }

    /// The records, in the order of their ids, which is that of their making.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<KeyRecord>> {
        self.0.values()
    }

    /// The records as a keyring.
    ///
    /// # Errors
    ///
    /// [`Fault`] where two records are of one key.
    pub fn keyring(&self) -> Result<Keys, Fault> {
        Ok(Keys::new(self.0.values().cloned())?)
    }
}

impl FromIterator<Arc<KeyRecord>> for KeySet {
    fn from_iter<I: IntoIterator<Item = Arc<KeyRecord>>>(records: I) -> Self {
        let mut set = Self::default();
        records.into_iter().for_each(|record| set.put(record));
        set
    }
}
