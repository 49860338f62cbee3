//! The keys of one file in memory, while a command looks at them or changes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use vestibule::api_key::{KeyChange, KeyRecord, Keys};

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
        self.0.get(id).ok_or_else(|| Fault::no_key(id))
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

    /// What makes these keys of those, which were their state before.
    pub fn changes_since(&self, before: &Self) -> Vec<KeyChange> {
        let change = |record: &Arc<KeyRecord>| {
            let record = Arc::clone(record);
            match before.0.get(record.principal().key_id()) {
                None => Some(KeyChange::create(record)),
                Some(old) if record.principal().version() == old.principal().version() => None,
                Some(old) => Some(KeyChange::update(record, old)),
            }
        };
        self.iter().filter_map(change).collect()
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
