//! What the cases are made of: records, and steps that a store that works answers.

use std::sync::Arc;

use crate::api_key::{Digest, KeyChange, KeyRecord, KeyRecordBuilder, KeyStore, KeyWriteError};
use crate::clock::Timestamp;

/// A record of an account, whose digest follows from its id.
pub(super) fn record(id: &str) -> KeyRecordBuilder {
    KeyRecord::builder(id, "acc", digest(id))
}

pub(super) fn digest(text: &str) -> Digest {
    let mut value = [0x5a; 32];
    value
        .iter_mut()
        .zip(text.bytes())
        .for_each(|(place, byte)| *place = byte);
    Digest::from_parts(None, value)
}

pub(super) async fn create(store: &impl KeyStore, records: &[&Arc<KeyRecord>]) {
    let changes = records.iter().map(|record| Arc::clone(record));
    let changes: Vec<KeyChange> = changes.map(KeyChange::create).collect();
    write(store, &changes).await;
}

pub(super) async fn write(store: &impl KeyStore, changes: &[KeyChange]) {
    let written = store.write(changes).await;
    written.expect("what conflicts with nothing is written");
}

pub(super) async fn get(store: &impl KeyStore, id: &str) -> Option<Arc<KeyRecord>> {
    let found = store.get(id).await;
    found.expect("a store that works answers")
}

pub(super) async fn page(store: &impl KeyStore, after: &str, most: usize) -> Vec<String> {
    let page = store.page(after, most).await;
    let page = page.expect("a store that works answers");
    page.iter()
        .map(|record| record.principal().key_id().to_owned())
        .collect()
}

/// Expects a record to be there, with every field and the version that it was given.
pub(super) fn assert_same(found: Option<&KeyRecord>, wanted: &KeyRecord, what: &str) {
    let found = found.unwrap_or_else(|| panic!("{what}: it is not there"));
    assert_eq!(found.to_json(), wanted.to_json(), "{what}");
    let versions = [found, wanted].map(|record| record.principal().version());
    assert_eq!(versions[0], versions[1], "{what}: the version");
}

pub(super) fn assert_conflict(written: Result<(), KeyWriteError>, wanted: &str, what: &str) {
    match written {
        Err(KeyWriteError::Conflict { id }) => assert_eq!(&*id, wanted, "{what}"),
        other => panic!("{what}: {other:?}"),
    }
}

/// More than a process has threads that meet.
pub(super) const MANY: u32 = 50;

pub(super) const SEEN: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
