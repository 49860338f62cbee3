//! One state of the keys in memory, and the one that follows from it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Problem;
use crate::api_key::digest::Digest;
use crate::api_key::keystore::{KeyChange, KeyWriteError};
use crate::api_key::record::KeyRecord;
use crate::api_key::schema;
use crate::clock::Timestamp;

/// One state of the keys; it never changes, another takes its place.
#[derive(Clone, Default)]
pub(super) struct Ring {
    pub(super) by_digest: HashMap<Value, Arc<KeyRecord>, RandomState>,
    pub(super) by_id: BTreeMap<Box<str>, Arc<KeyRecord>>,
}

/// The value of a digest. It is as good as random, so a part of it will do as its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Value([u8; 32]);

// === impl Ring ===

impl Ring {
    pub(super) fn parse(file: &[u8]) -> Result<Self, Problem> {
        Self::new(schema::read(&serde_json::from_slice(file)?)?)
    }

    pub(super) fn new(records: impl IntoIterator<Item = Arc<KeyRecord>>) -> Result<Self, Problem> {
        let mut ring = Self::default();
        for record in records {
            let id: Box<str> = record.principal().key_id().into();
            let digest = Value::of(record.digest());
            if let Some(other) = ring.by_digest.insert(digest, Arc::clone(&record)) {
                let other = other.principal().key_id().into();
                return Err(Problem::SameDigest(other, id));
            }
            if ring.by_id.insert(id.clone(), record).is_some() {
                return Err(Problem::SameId(id));
            }
        }
        Ok(ring)
    }

    /// The same keys, with this record in the place of the one that had its id.
    pub(super) fn with(mut self, record: Arc<KeyRecord>) -> Result<Self, Problem> {
        let id: Box<str> = record.principal().key_id().into();
        let digest = Value::of(record.digest());
        if let Some(old) = self.by_id.insert(id.clone(), Arc::clone(&record)) {
            self.by_digest.remove(&Value::of(old.digest()));
        }
        if let Some(other) = self.by_digest.insert(digest, record) {
            return Err(Problem::SameDigest(other.principal().key_id().into(), id));
        }
        Ok(self)
    }

    /// The same keys with all of these changes.
    pub(super) fn changed(&self, changes: &[KeyChange]) -> Result<Self, KeyWriteError> {
        let mut ring = self.clone();
        for change in changes {
            let id = change.record.principal().key_id();
            let held = ring.by_id.get(id);
            if !change.judge(held.map(AsRef::as_ref))? {
                continue;
            }
            let digest = Value::of(change.record.digest());
            let twin = ring.by_digest.get(&digest);
            let other = twin.map(|twin| twin.principal().key_id());
            if let Some(other) = other.filter(|other| *other != id) {
                return Err(KeyWriteError::SameDigest {
                    id: id.into(),
                    other: other.into(),
                });
            }
            let seen = held.and_then(|held| held.last_used());
            let record = seen.map_or_else(
                || Arc::clone(&change.record),
                |seen| seen_at(&change.record, seen),
            );
            ring.put(record);
        }
        Ok(ring)
    }

    /// The same keys, which were seen at these moments.
    pub(super) fn touched(&self, used: &[(Box<str>, Timestamp)]) -> Self {
        let mut ring = self.clone();
        for (id, seen) in used {
            if let Some(record) = ring.by_id.get(id).map(|held| seen_at(held, *seen)) {
                ring.put(record);
            }
        }
        ring
    }

    /// Puts a record in the place of the one that has its id and its digest.
    fn put(&mut self, record: Arc<KeyRecord>) {
        let id = record.principal().key_id().into();
        let digest = Value::of(record.digest());
        self.by_digest.insert(digest, Arc::clone(&record));
        self.by_id.insert(id, record);
    }
}

/// The same record of the same version, seen at this moment if it was not seen later.
fn seen_at(record: &Arc<KeyRecord>, seen: Timestamp) -> Arc<KeyRecord> {
    if record.last_used() >= Some(seen) {
        return Arc::clone(record);
    }
    let version = record.principal().version();
    record.to_builder().last_used(seen).version(version).build()
}

// === impl Value ===

impl Value {
    pub(super) const fn of(digest: &Digest) -> Self {
        Self(*digest.as_bytes())
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (first, _) = self.0.split_first_chunk().expect("8 of 32 bytes");
        state.write_u64(u64::from_ne_bytes(*first));
    }
}
