//! The keys of a file in memory, as they are on the disk, and when they were last seen.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api_key::{KeyChange, KeyRecord, KeyWriteError, Keys, KeysError};
use crate::clock::Timestamp;

/// Every key of the file. Its writer alone changes them, once they are on the disk.
#[derive(Debug)]
pub(super) struct Ring {
    keys: Keys,
    uses: Mutex<Uses>,
}

/// Records on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Edits {
    by_id: HashMap<Box<str>, Arc<KeyRecord>>,
    by_digest: HashMap<[u8; 32], Arc<KeyRecord>>,
}

/// What lies in a file.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) records: Vec<Arc<KeyRecord>>,
    pub(super) uses: Vec<(Box<str>, Timestamp)>,
}

/// When keys were last seen: noted beside their records, which it does not change.
#[derive(Debug, Default)]
struct Uses {
    seen: HashMap<Box<str>, Timestamp>,
    /// Those of which the file does not know it yet.
    unwritten: HashSet<Box<str>>,
}

// === impl Ring ===

impl Ring {
    /// What is looked up on the path of a request.
    pub(super) const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Goes on from what lies in the file, and from what was seen since.
    pub(super) fn restore(&self, kept: Kept) -> Result<(), KeysError> {
        self.keys.replace(kept.records)?;
        let mut uses = self.uses();
        for (id, at) in &kept.uses {
            uses.note(id, *at);
        }
        Ok(())
    }

    /// Judges changes against the keys as they will be once these edits are on the disk;
    /// says what there is to write, which is all of them or nothing.
    pub(super) fn judge(
        &self,
        edits: &Edits,
        changes: &[KeyChange],
    ) -> Result<Edits, KeyWriteError> {
        let mut judged = Edits::default();
        for KeyChange { record, replaces } in changes {
            let id = record.principal().key_id();
            let held = judged.by_id.get(id).or_else(|| edits.by_id.get(id));
            let held = held.cloned().or_else(|| self.keys.get(id));
            let change = KeyChange {
                record: Arc::clone(record),
                replaces: *replaces,
            };
            if !change.judge(held.as_deref())? {
                continue;
            }
            let digest = record.digest().as_bytes();
            let other = judged.by_digest.get(digest);
            let other = other.or_else(|| edits.by_digest.get(digest)).cloned();
            if let Some(other) = other.or_else(|| self.keys.holder(record.digest()))
                && other.principal().key_id() != id
            {
                return Err(KeyWriteError::SameDigest {
                    id: id.into(),
                    other: other.principal().key_id().into(),
                });
            }
            judged.add(Arc::clone(record));
        }
        Ok(judged)
    }

    /// Lets look-ups see what is on the disk now.
    pub(super) fn apply(&self, edits: Edits) {
        if !edits.by_id.is_empty() {
            let put = self.keys.put(edits.by_id.into_values());
            put.expect("each was judged against all others");
        }
    }

    /// The record with this id, and when it was last seen.
    pub(super) fn get(&self, id: &str) -> Option<Arc<KeyRecord>> {
        let record = self.keys.get(id)?;
        Some(self.uses().noted_in(record))
    }

    /// See [`KeyStore::page`](crate::api_key::KeyStore::page).
    pub(super) fn page(&self, after: &str, most: usize) -> Vec<Arc<KeyRecord>> {
        let page = self.keys.records_after(after, most).into_iter();
        let uses = self.uses();
        page.map(|record| uses.noted_in(record)).collect()
    }

    /// See [`KeyStore::touch`](crate::api_key::KeyStore::touch).
    pub(super) fn touch(&self, used: &[(Box<str>, Timestamp)]) {
        let mut uses = self.uses();
        for (id, at) in used {
            if self.keys.get(id).is_some() && uses.note(id, *at) {
                uses.unwritten.insert(id.clone());
            }
        }
    }

    /// When keys were last seen of which the file does not know it yet. It is not asked
    /// for again, unless the answer was lost.
    pub(super) fn take_unwritten(&self) -> Vec<(Box<str>, Timestamp)> {
        let mut uses = self.uses();
        let unwritten = std::mem::take(&mut uses.unwritten).into_iter();
        let seen = |id: Box<str>| uses.seen.get(&id).map(|at| (id, *at));
        unwritten.filter_map(seen).collect()
    }

    /// Has every moment asked for again: the last answer was lost.
    pub(super) fn mark_unwritten(&self) {
        let uses = &mut *self.uses();
        uses.unwritten = uses.seen.keys().cloned().collect();
    }

    /// A std mutex, because nothing is awaited while it is held.
    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            keys: Keys::new([]).expect("no two of none are the same"),
            uses: Mutex::default(),
        }
    }
}

// === impl Edits ===

impl Edits {
    pub(super) fn records(&self) -> impl Iterator<Item = &Arc<KeyRecord>> {
        self.by_id.values()
    }

    pub(super) fn extend(&mut self, more: Self) {
        self.by_id.extend(more.by_id);
        self.by_digest.extend(more.by_digest);
    }

    fn add(&mut self, record: Arc<KeyRecord>) {
        let id = record.principal().key_id().into();
        let digest = *record.digest().as_bytes();
        self.by_id.insert(id, Arc::clone(&record));
        self.by_digest.insert(digest, record);
    }
}

// === impl Uses ===

impl Uses {
    /// Notes a moment, which never moves back; says whether it has moved.
    fn note(&mut self, id: &str, at: Timestamp) -> bool {
        match self.seen.get_mut(id) {
            Some(seen) if *seen >= at => false,
            Some(seen) => {
                *seen = at;
                true
            }
            None => {
                self.seen.insert(id.into(), at);
                true
            }
        }
    }

    /// The record with what was noted of it.
    fn noted_in(&self, record: Arc<KeyRecord>) -> Arc<KeyRecord> {
        match self.seen.get(record.principal().key_id()) {
            Some(seen) if record.last_used() < Some(*seen) => {
                let version = record.principal().version();
                let noted = record.to_builder().last_used(*seen);
                noted.version(version).build()
            }
            _ => record,
        }
    }
}
