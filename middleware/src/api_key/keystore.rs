//! Where key records are managed: a keyring that can be changed while others read it.

use std::future::Future;
use std::sync::Arc;

use super::keyring::Keyring;
use super::keys::KeysError;
use super::record::KeyRecord;
use crate::clock::Timestamp;
use crate::error::StoreError;

/// A store of key records, for whoever makes, changes and lists keys.
///
/// **Who calls.** Commands and the admin interface, never the path of a request: that asks
/// [`Keyring::find`] and [`Keyring::reread`] alone.
///
/// **What a wrong answer costs.** A change that is said to be written and is not leaves a
/// revoked key good. So every write is on the store, where all who share it read it, before
/// it is answered; and a change names the version that it was made from, so that of two
/// commands at once none undoes the other.
///
/// **When the store is lost.** [`StoreError`]: the change may or may not have been made. It
/// may be repeated: a record that is already what it shall be is no conflict.
///
/// The `id`, the `digest`, the family and the environment of a record never change.
pub trait KeyStore: Keyring {
    /// The record with this id.
    fn get(
        &self,
        id: &str,
    ) -> impl Future<Output = Result<Option<Arc<KeyRecord>>, StoreError>> + Send;

    /// At most so many records, in the order of the bytes of their ids, from the first one
    /// after this id on; all come after the empty one.
    fn page(
        &self,
        after: &str,
        most: usize,
    ) -> impl Future<Output = Result<Vec<Arc<KeyRecord>>, StoreError>> + Send;

    /// Writes these changes. Those of one family are made together or not at all; a store
    /// says in its documentation whether that is true of all of them.
    fn write(
        &self,
        changes: &[KeyChange],
    ) -> impl Future<Output = Result<(), KeyWriteError>> + Send;

    /// Notes when keys were last seen, by their ids. A moment never moves back, an id that
    /// is not there is passed over, and no version changes by it.
    fn touch(
        &self,
        used: &[(Box<str>, Timestamp)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A record to be written, and what it takes the place of.
#[derive(Clone, Debug)]
pub struct KeyChange {
    /// The record as it shall be.
    pub record: Arc<KeyRecord>,
    /// The [version](crate::Principal::version) of the record that it was made from; none
    /// for a key that is new.
    pub replaces: Option<u64>,
}

/// Why changes were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyWriteError {
    /// The record is not the one that the change was made from: another command was
    /// faster, or there is such an id already.
    #[error("the record {id} was changed meanwhile; read it again")]
    Conflict {
        /// The id of the record.
        id: Box<str>,
    },
    /// Another record has this digest.
    #[error("{id} and {other} are the same key: allowed is one record a key")]
    SameDigest {
        /// The id of the record that was to be written.
        id: Box<str>,
        /// The id of the one that is there.
        other: Box<str>,
    },
    /// The change touches what makes the key this key.
    #[error("the record {id} keeps its digest, family and environment")]
    Immutable {
        /// The id of the record.
        id: Box<str>,
    },
    /// The record could not be read back, as one with a limit of nothing could not.
    #[error("the record {id} is none that can be kept: {fault}")]
    Unfit {
        /// The id of the record.
        id: Box<str>,
        /// The field, what was found and what is allowed.
        fault: KeysError,
    },
    /// The store failed; the changes may have been made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl KeyChange ===

impl KeyChange {
    /// A key that is new.
    pub const fn create(record: Arc<KeyRecord>) -> Self {
        Self {
            record,
            replaces: None,
        }
    }

    /// A record in the place of another state of it.
    pub fn update(record: Arc<KeyRecord>, old: &KeyRecord) -> Self {
        Self {
            record,
            replaces: Some(old.principal().version()),
        }
    }

    /// Judges the change against the record with its id that the store holds, if there is
    /// one; says whether there is anything to write.
    ///
    /// # Errors
    ///
    /// [`KeyWriteError`]: a conflict, a change of what never changes, or a record that the
    /// one schema of all stores does not take.
    pub fn judge(&self, held: Option<&KeyRecord>) -> Result<bool, KeyWriteError> {
        let id = || Box::from(self.record.principal().key_id());
        if let Err(fault) = KeyRecord::from_json(&self.record.to_json()) {
            return Err(KeyWriteError::Unfit { id: id(), fault });
        }
        let Some(held) = held else {
            return match self.replaces {
                None => Ok(true),
                Some(_) => Err(KeyWriteError::Conflict { id: id() }),
            };
        };
        let (new, old) = (self.record.principal(), held.principal());
        if self.record.digest() != held.digest() || new.caller() != old.caller() {
            return Err(match self.replaces {
                // Another key that happens to have this id.
                None => KeyWriteError::Conflict { id: id() },
                Some(_) => KeyWriteError::Immutable { id: id() },
            });
        }
        if new.version() == old.version() {
            // A repetition, whose first reply was lost.
            return Ok(false);
        }
        if self.replaces == Some(old.version()) {
            Ok(true)
        } else {
            Err(KeyWriteError::Conflict { id: id() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::Digest;

    #[test]
    fn a_change_replaces_the_state_that_it_was_made_from_and_no_other() {
        let (first, second) = (record("a", 1, 10), record("a", 1, 20));
        let (third, other) = (record("a", 1, 30), record("a", 2, 10));
        for (what, change, held, want) in [
            ("new", KeyChange::create(first.clone()), None, "write"),
            (
                "again",
                KeyChange::create(first.clone()),
                Some(&first),
                "nothing",
            ),
            (
                "taken",
                KeyChange::create(other.clone()),
                Some(&first),
                "conflict",
            ),
            (
                "newer",
                KeyChange::create(first.clone()),
                Some(&second),
                "conflict",
            ),
            (
                "changed",
                KeyChange::update(second.clone(), &first),
                Some(&first),
                "write",
            ),
            (
                "repeated",
                KeyChange::update(second.clone(), &first),
                Some(&second),
                "nothing",
            ),
            (
                "overtaken",
                KeyChange::update(second.clone(), &first),
                Some(&third),
                "conflict",
            ),
            (
                "gone",
                KeyChange::update(second.clone(), &first),
                None,
                "conflict",
            ),
            (
                "other",
                KeyChange::update(other, &first),
                Some(&first),
                "immutable",
            ),
        ] {
            let got = match change.judge(held.map(AsRef::as_ref)) {
                Ok(true) => "write",
                Ok(false) => "nothing",
                Err(KeyWriteError::Conflict { .. }) => "conflict",
                Err(KeyWriteError::Immutable { .. }) => "immutable",
                Err(other) => panic!("{what}: {other}"),
            };
            assert_eq!(got, want, "{what}");
        }
    }

    fn record(id: &str, digest: u8, per_minute: u32) -> Arc<KeyRecord> {
        let digest = Digest::from_parts(None, [digest; 32]);
        KeyRecord::builder(id, "acc", digest)
            .per_minute(per_minute)
            .build()
    }
}
