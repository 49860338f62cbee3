//! Key records in the database: written together, judged, and never told wrongly.

use super::*;
use crate::api_key::{
    Digest, KeyChange, KeyRecord, KeyRecordBuilder, KeyStore as _, KeyWriteError, Keyring as _,
};
use crate::testing::keystore::KeySubject;

crate::keystore_conformance!(conformance_keys, || keyring().await);

#[tokio::test]
async fn a_record_is_found_as_it_was_written() {
    let keyring = keyring().await;
    let at = Timestamp::from_unix_seconds(1_000);
    let plain = key("plain", 1).build();
    let full = KeyRecord::builder(
        "full",
        "acc",
        Digest::from_parts(Some("p1".into()), [1; 32]),
    )
    .family("family")
    .environment("test")
    .name("Ünïcode\u{1} \"name\"")
    .shown_as("8aB3cD", "42e5")
    .scopes(["a:b", "*"])
    .agents(["one"])
    .per_minute(7)
    .burst(3)
    .created(at)
    .expires(at + LEASE)
    .revoked(at + LEASE)
    .last_used(at)
    .version(u64::MAX)
    .build();
    create(&keyring, [&plain, &full]).await.unwrap();
    for record in [&plain, &full] {
        let id = record.principal().key_id();
        let found = keyring.find(record.digest()).await.unwrap().expect(id);
        let got = keyring.get(id).await.unwrap().expect(id);
        let reread = keyring.reread(record.principal()).await.unwrap().expect(id);
        for read in [found, got, reread] {
            assert_eq!(read.to_json(), record.to_json());
            assert_eq!(read.principal(), record.principal());
        }
    }
    let unknown = Digest::from_parts(Some("p2".into()), [1; 32]);
    assert!(keyring.find(&unknown).await.unwrap().is_none());
    assert!(keyring.get("nobody").await.unwrap().is_none());
}

#[tokio::test]
async fn pages_follow_the_bytes_of_the_ids() {
    let keyring = keyring().await;
    let ids = ["B", "_", "a", "a!", "aa", "b"];
    let records: Vec<_> = (1..)
        .zip(ids)
        .map(|(number, id)| key(id, number).build())
        .collect();
    create(&keyring, records.iter().rev()).await.unwrap();
    let (mut after, mut seen) = (String::new(), Vec::new());
    loop {
        let page = keyring.page(&after, 4).await.unwrap();
        let Some(last) = page.last() else { break };
        after = last.principal().key_id().to_owned();
        seen.extend(page.iter().map(|one| one.principal().key_id().to_owned()));
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn changes_are_made_together_or_not_at_all() {
    let keyring = keyring().await;
    let (first, second) = (key("a", 1).build(), key("b", 2).build());
    create(&keyring, [&first, &second]).await.unwrap();
    let changed = key("a", 1).per_minute(5).build();
    let update = || KeyChange::update(Arc::clone(&changed), &first);
    for (refused, want) in [
        (KeyChange::create(key("c", 2).build()), "same digest b"),
        (KeyChange::create(key("b", 9).build()), "conflict b"),
        (KeyChange::update(key("d", 4).build(), &first), "conflict d"),
        (
            KeyChange::update(key("b", 9).build(), &second),
            "immutable b",
        ),
        (
            KeyChange::update(key("b", 2).burst(1).build(), &first),
            "conflict b",
        ),
    ] {
        let others = [update(), KeyChange::create(key("z", 26).build())];
        let changes = [&others[..1], &[refused], &others[1..]].concat();
        let said = match keyring.write(&changes).await.unwrap_err() {
            KeyWriteError::SameDigest { other, .. } => format!("same digest {other}"),
            KeyWriteError::Conflict { id } => format!("conflict {id}"),
            KeyWriteError::Immutable { id } => format!("immutable {id}"),
            other => panic!("{want}: {other}"),
        };
        assert_eq!(said, want);
        let page = keyring.page("", 10).await.unwrap();
        let versions: Vec<_> = page.iter().map(|one| one.principal().version()).collect();
        let untouched = [&first, &second].map(|one| one.principal().version());
        assert_eq!(versions, untouched, "{want}");
    }
    keyring.write(&[update()]).await.unwrap();
    let read = keyring.find(first.digest()).await.unwrap().unwrap();
    assert_eq!(read.principal().per_minute(), Some(5));
    keyring
        .write(&[update()])
        .await
        .expect("a repetition is no conflict");
}

#[tokio::test]
async fn of_two_commands_at_once_none_undoes_the_other() {
    let keyring = keyring().await;
    let first = key("a", 1).build();
    create(&keyring, [&first]).await.unwrap();
    let written = (1..=8).map(|limit| {
        let change = KeyChange::update(key("a", 1).per_minute(limit).build(), &first);
        let keyring = keyring.keyring.clone();
        tokio::spawn(async move { keyring.write(&[change]).await })
    });
    let written = join_all(written.collect::<Vec<_>>()).await;
    let made = written.iter().filter(|made| made.as_ref().unwrap().is_ok());
    assert_eq!(made.count(), 1, "{written:?}");
}

#[tokio::test]
async fn one_key_made_twice_at_once_is_made() {
    let keyring = keyring().await;
    let same = key("a", 1).build();
    let written = (0..8).map(|_| {
        let (keyring, change) = (
            keyring.keyring.clone(),
            KeyChange::create(Arc::clone(&same)),
        );
        tokio::spawn(async move { keyring.write(&[change]).await })
    });
    for made in join_all(written.collect::<Vec<_>>()).await {
        made.unwrap().expect("it is the same record");
    }
}

#[tokio::test]
async fn ten_thousand_keys_are_written_in_one_transaction() {
    let keyring = keyring().await;
    let records: Vec<_> = (0..10_000)
        .map(|number: u32| key(&format!("key_{number:05}"), number).build())
        .collect();
    create(&keyring, &records).await.unwrap();
    let changes: Vec<_> = records
        .iter()
        .map(|old| KeyChange::update(old.to_builder().per_minute(9).build(), old))
        .collect();
    keyring.write(&changes).await.unwrap();
    let page = keyring.page("", 20_000).await.unwrap();
    let changed = page
        .iter()
        .filter(|one| one.principal().per_minute() == Some(9));
    assert_eq!(changed.count(), 10_000);
}

#[tokio::test]
async fn a_moment_of_use_never_moves_back() {
    let keyring = keyring().await;
    let record = key("a", 1).build();
    create(&keyring, [&record, &key("b", 2).build()])
        .await
        .unwrap();
    let at = Timestamp::from_unix_seconds;
    for (moments, want) in [(&[5, 7, 6][..], 7), (&[3], 7), (&[9], 9)] {
        let used: Vec<(Box<str>, Timestamp)> = moments
            .iter()
            .map(|seconds| ("a".into(), at(*seconds)))
            .chain([("nobody".into(), at(99))])
            .collect();
        keyring.touch(&used).await.unwrap();
        let read = keyring.get("a").await.unwrap().unwrap();
        assert_eq!(read.last_used(), Some(at(want)), "{moments:?}");
        assert_eq!(read.principal().version(), record.principal().version());
    }
    let changed = key("a", 1).burst(2).last_used(at(1)).build();
    let change = KeyChange::update(changed, &record);
    keyring.write(&[change]).await.unwrap();
    let read = keyring.get("a").await.unwrap().unwrap();
    assert_eq!(read.last_used(), Some(at(9)), "a change takes none back");
    assert!(
        keyring
            .get("b")
            .await
            .unwrap()
            .unwrap()
            .last_used()
            .is_none()
    );
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_nothing_behind() {
    let keyring = keyring().await;
    let first = key("a", 0).build();
    create(&keyring, [&first]).await.unwrap();
    for number in 1..60_u32 {
        let new = KeyChange::create(key(&format!("b{number}"), number).build());
        let old = keyring.get("a").await.unwrap().unwrap();
        let changed = old.to_builder().per_minute(number).build();
        let changes = [KeyChange::update(changed, &old), new];
        let allowed = Duration::from_micros(u64::from(number) * 150);
        let _given_up = tokio::time::timeout(allowed, keyring.write(&changes)).await;
        // Whatever it held is free again, or this would not come to its end.
        let old = keyring.get("a").await.unwrap().unwrap();
        let again = old.to_builder().per_minute(1_000 + number).build();
        let again = keyring.write(&[KeyChange::update(again, &old)]).await;
        match again {
            Ok(()) | Err(KeyWriteError::Conflict { .. }) => {}
            Err(cause) => panic!("{number}: {cause:?}"),
        }
    }
}

/// A keyring at the server that all cases share, for as long as this is there.
struct Ring {
    keyring: Keyring,
    _server: Arc<PostgresServer>,
}

impl KeySubject for Ring {
    type Store = Keyring;

    fn store(&self) -> Keyring {
        self.keyring.clone()
    }
}

impl std::ops::Deref for Ring {
    type Target = Keyring;

    fn deref(&self) -> &Keyring {
        &self.keyring
    }
}

async fn keyring() -> Ring {
    let server = PostgresServer::shared();
    let store = open(&server, &schema()).await;
    Ring {
        keyring: Keyring::new(store.connections.clone(), Arc::clone(&store.statements)),
        _server: server,
    }
}

async fn create(
    keyring: &Keyring,
    records: impl IntoIterator<Item = &Arc<KeyRecord>>,
) -> Result<(), KeyWriteError> {
    let changes = records.into_iter().cloned().map(KeyChange::create);
    keyring.write(&changes.collect::<Vec<_>>()).await
}

fn key(id: &str, number: u32) -> KeyRecordBuilder {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    KeyRecord::builder(id, "acc", Digest::from_parts(None, digest))
}
