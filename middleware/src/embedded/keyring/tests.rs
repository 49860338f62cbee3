//! The keys in a file: when they are seen, what outlasts a crash, what is refused.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::{Database, TableDefinition};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::api_key::{KeyRecordBuilder, Keyring as _};
use crate::embedded::writer::Writer;
use crate::embedded::{Options, Store};
use crate::testing::ManualClock;
use crate::testing::keystore::KeySubject;

crate::keystore_conformance!(conformance, || World::new());

#[tokio::test]
async fn what_was_answered_outlasts_a_crash_and_the_store() {
    let world = World::new();
    let keys = world.store.keyring();
    let (first, other) = (record("a", 1).build(), record("b", 2).build());
    let revoked = first.to_builder().revoked(NOW).build();
    write(&keys, [KeyChange::create(first.clone())])
        .await
        .unwrap();
    let changes = [
        KeyChange::update(revoked.clone(), &first),
        KeyChange::create(other.clone()),
    ];
    write(&keys, changes).await.unwrap();
    let want = [revoked.to_json(), other.to_json()];
    let crashed = world.crashed();
    assert_eq!(shown(&crashed.store.keyring()).await, want);
    drop(keys);
    let reopened = world.reopened();
    assert_eq!(shown(&reopened.store.keyring()).await, want);
    let found = reopened.store.keyring().find(first.digest()).await;
    assert_eq!(found.unwrap().unwrap().revoked(), Some(NOW));
}

#[tokio::test]
async fn a_look_up_sees_a_change_once_it_is_on_the_disk() {
    let world = World::new();
    let mut writer = world.writer();
    let shared = Arc::clone(&writer.shared);
    let record = record("a", 1).build();
    let seen = || shared.ring.keys().holder(record.digest()).is_some();
    let ledger = writer.ledger.as_mut().unwrap();
    let written = ledger.transact(&shared.ring, |page| {
        let judged = page.write_keys(&[KeyChange::create(record.clone())]);
        assert!(matches!(judged, Ok(Ok(()))) && !seen());
        Ok(())
    });
    assert!(written.unwrap() && seen());
}

#[tokio::test]
async fn a_change_that_the_disk_refused_is_not_seen_and_may_be_repeated() {
    let world = World::new();
    let mut writer = world.writer();
    let [path, aside] = ["writer", "aside"].map(|name| world.folder.path().join(name));
    let change = || vec![KeyChange::create(record("a", 1).build())];
    writer.ledger = None;
    fs::rename(&path, &aside).unwrap();
    let failed = stepped(&mut writer, [change()]).await;
    assert!(matches!(failed[..], [Err(KeyWriteError::Store(_))]));
    assert_eq!(writer.shared.ring.keys().len(), 0);
    fs::rename(&aside, &path).unwrap();
    let again = stepped(&mut writer, [change()]).await;
    assert!(matches!(again[..], [Ok(())]));
    assert_eq!(writer.shared.ring.keys().len(), 1);
}

#[tokio::test]
async fn a_file_that_is_opened_again_says_what_became_of_a_write() {
    let world = World::new();
    let mut writer = world.writer();
    let record = record("a", 1).build();
    let ledger = writer.ledger.as_mut().unwrap();
    // On the disk, and the answer is lost.
    let elsewhere = Shared::new(1);
    let written = ledger.transact(&elsewhere.ring, |page| {
        let _judged = page.write_keys(&[KeyChange::create(record.clone())]);
        Ok(())
    });
    assert!(written.unwrap() && writer.shared.ring.keys().is_empty());
    writer.ledger = None;
    let repeated = stepped(&mut writer, [vec![KeyChange::create(record)]]).await;
    assert!(matches!(repeated[..], [Ok(())]));
    assert_eq!(writer.shared.ring.keys().len(), 1);
}

#[tokio::test]
async fn writes_that_wait_together_are_judged_one_after_the_other() {
    let world = World::new();
    let mut writer = world.writer();
    let (first, next) = (record("a", 1).build(), record("a", 1).per_minute(7).build());
    let other = record("b", 1).build();
    let answers = stepped(
        &mut writer,
        [
            vec![KeyChange::create(first.clone())],
            vec![
                KeyChange::create(record("c", 3).build()),
                KeyChange::create(other),
            ],
            vec![KeyChange::update(next.clone(), &first)],
            vec![KeyChange::update(
                record("a", 1).per_minute(8).build(),
                &first,
            )],
            vec![
                KeyChange::create(record("d", 4).build()),
                KeyChange::update(next.clone(), &next),
            ],
        ],
    )
    .await;
    let said = answers.into_iter().map(|answer| match answer {
        Ok(()) => String::new(),
        Err(refused) => refused.to_string(),
    });
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            "",
            "b and a are the same key: allowed is one record a key",
            "",
            "the record a was changed meanwhile; read it again",
            "",
        ]
    );
    let page = writer.shared.ring.page("", 9);
    let ids: Vec<_> = page.iter().map(|one| one.principal().key_id()).collect();
    assert_eq!(ids, ["a", "d"], "c is not there without b");
    assert_eq!(page[0].principal().per_minute(), Some(7));
    assert_eq!(writer.shared.tally.commits.load(Ordering::Acquire), 1);
}

#[tokio::test]
async fn what_is_there_already_is_no_transaction() {
    let world = World::new();
    let keys = world.store.keyring();
    let change = || [KeyChange::create(record("a", 1).build())];
    write(&keys, change()).await.unwrap();
    let before = world.store.commits();
    write(&keys, change()).await.unwrap();
    write(&keys, []).await.unwrap();
    assert_eq!(world.store.commits(), before);
}

#[tokio::test]
async fn when_a_key_was_last_seen_is_on_the_disk_a_second_later() {
    let world = World::new();
    let keys = world.store.keyring();
    let given = record("a", 1).last_used(NOW).build();
    write(&keys, [KeyChange::create(given.clone())])
        .await
        .unwrap();
    let used = |id: &str, seconds| (id.into(), NOW + Duration::from_secs(seconds));
    keys.touch(&[used("a", 5), used("nobody", 5)])
        .await
        .unwrap();
    keys.touch(&[used("a", 3)]).await.unwrap();
    let held = keys.get("a").await.unwrap().unwrap();
    assert_eq!(held.last_used(), Some(NOW + Duration::from_secs(5)));
    assert_eq!(held.principal(), given.principal(), "its version too");
    let lost = world.crashed().store.keyring();
    assert_eq!(lost.get("a").await.unwrap().unwrap().last_used(), Some(NOW));
    world.clock.advance(Duration::from_secs(1));
    // The next transaction takes it along.
    write(&keys, [KeyChange::create(record("b", 2).build())])
        .await
        .unwrap();
    let kept = shown(&world.crashed().store.keyring()).await;
    assert_eq!(kept, [held.to_json(), record("b", 2).build().to_json()]);
}

#[tokio::test]
async fn a_record_that_could_not_be_read_again_is_not_written() {
    let world = World::new();
    let keys = world.store.keyring();
    let refused = write(&keys, [KeyChange::create(record("a b", 1).build())]).await;
    let Err(KeyWriteError::Store(cause)) = refused else {
        panic!("{refused:?}")
    };
    let said = std::error::Error::source(&cause).unwrap().to_string();
    assert!(said.starts_with("id: found \"a b\", allowed is"), "{said}");
    assert!(keys.page("", 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_from_before_there_were_keys_is_opened() {
    let world = World::new();
    let World {
        store,
        clock,
        folder,
    } = world;
    drop(store);
    let path = folder.path().join("store");
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(
        transaction
            .delete_table(TableDefinition::<&str, &[u8]>::new("keys"))
            .unwrap()
    );
    assert!(
        transaction
            .delete_table(TableDefinition::<&str, u64>::new("key_uses"))
            .unwrap()
    );
    transaction.commit().unwrap();
    drop(database);
    let keys = Store::open(&path, clock.shared()).unwrap().keyring();
    write(&keys, [KeyChange::create(record("a", 1).build())])
        .await
        .unwrap();
    assert!(keys.get("a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_key_that_this_version_cannot_read_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let keys = TableDefinition::<&str, &[u8]>::new("keys");
    let json = br#"{"id":"key_1","account":"acc_1","colour":"red"}"#;
    transaction
        .open_table(keys)
        .unwrap()
        .insert("key_1", &json[..])
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let fault = Store::open(&path, ManualClock::at(NOW).shared()).unwrap_err();
    let want = format!(
        "the file {path:?} cannot be opened as a store: the key \"key_1\" cannot be read: \
         the record: found a field \"colour\", allowed is one of the fields that keys.md lists"
    );
    assert_eq!(fault.to_string(), want);
}

#[tokio::test]
async fn no_digest_is_shown() {
    let world = World::new();
    let keys = world.store.keyring();
    write(&keys, [KeyChange::create(record("a", 0xab).build())])
        .await
        .unwrap();
    let text = format!("{:?} {keys:?}", world.store);
    assert!(
        !text.contains("abab") && !text.contains("171, 171"),
        "{text}"
    );
}

/// A store in a folder of its own.
struct World {
    // Dropped before the folder that its file is in.
    store: Store,
    clock: ManualClock,
    folder: TempDir,
}

impl KeySubject for World {
    type Store = Keyring;

    fn store(&self) -> Keyring {
        self.store.keyring()
    }
}

impl World {
    fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap(), ManualClock::at(NOW))
    }

    fn over(folder: TempDir, clock: ManualClock) -> Self {
        let store = Store::open(folder.path().join("store"), clock.shared()).unwrap();
        Self {
            store,
            clock,
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// What another process would find, had this one been killed now.
    fn crashed(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(self.path(), folder.path().join("store")).unwrap();
        Self::over(folder, self.clock.clone())
    }

    /// Ends the store and opens its file again.
    fn reopened(self) -> Self {
        let Self {
            store,
            clock,
            folder,
        } = self;
        drop(store);
        Self::over(folder, clock)
    }

    /// A writer without a thread, over a file of its own beside the store's.
    fn writer(&self) -> Writer {
        let path = self.folder.path().join("writer");
        let shared = Arc::new(Shared::new(1));
        Writer::open(
            path,
            Options::default().capacity,
            self.clock.shared(),
            shared,
        )
        .unwrap()
    }
}

/// Lets writes wait together, and says what each is answered.
async fn stepped<const N: usize>(
    writer: &mut Writer,
    writes: [Vec<KeyChange>; N],
) -> Vec<Result<(), KeyWriteError>> {
    let (mut batch, mut answers) = (Vec::new(), Vec::new());
    for changes in writes {
        let (asker, answer) = Asker::new();
        batch.push(Step::WriteKeys(changes, asker));
        answers.push(answer);
    }
    writer.write(&mut batch);
    let mut said = Vec::new();
    for answer in answers {
        let answer = answer.await.unwrap();
        said.push(answer.map_err(KeyWriteError::from).flatten());
    }
    said
}

async fn write<const N: usize>(
    keys: &Keyring,
    changes: [KeyChange; N],
) -> Result<(), KeyWriteError> {
    keys.write(&changes).await
}

async fn shown(keys: &Keyring) -> Vec<Value> {
    let page = keys.page("", 9).await.unwrap();
    page.iter().map(|record| record.to_json()).collect()
}

fn record(id: &str, digest: u8) -> KeyRecordBuilder {
    KeyRecord::builder(id, "acc_1", Digest::from_parts(None, [digest; 32]))
}

const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_123);
