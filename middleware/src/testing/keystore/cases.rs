//! Cases of the key records (contract §4).

use tokio::task::JoinSet;

use super::KeySubject;
use super::scene::{
    MANY, SEEN, assert_conflict, assert_same, create, digest, get, page, record, write,
};
use crate::api_key::{Digest, KeyChange, KeyRecord, KeyStore, KeyWriteError, Keyring};
use crate::clock::Timestamp;

pub async fn a_key_is_found_by_its_digest_and_by_its_id<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let [one, other] = ["a", "b"].map(|id| record(id).build());
    create(&store, &[&one, &other]).await;
    for record in [&one, &other] {
        let found = store.find(record.digest()).await;
        let found = found.expect("a store that works answers");
        assert_same(found.as_deref(), record, "by its digest");
        let found = get(&store, record.principal().key_id()).await;
        assert_same(found.as_deref(), record, "by its id");
    }
    let nobody = store.find(&digest("nobody")).await;
    assert!(nobody.is_ok_and(|found| found.is_none()));
    for id in ["", "A", "a ", "nobody"] {
        assert!(get(&store, id).await.is_none(), "{id:?}");
    }
}

pub async fn a_record_is_read_as_it_was_written<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let at = |millis: u64| Timestamp::from_unix_millis(1_800_000_000_000 + millis);
    let full = || {
        record("full")
            .family("f:1{}")
            .environment("test")
            .name("Ärger \"mit\"\nZeilen\u{0}")
            .shown_as("8aB3cD", "2d9f")
            .scopes(["a:b", "*"])
            .agents(["x", "y"])
            .per_minute(u32::MAX)
            .burst(1)
            .created(at(1))
            .last_used(at(2))
    };
    let peppered = Digest::from_parts(Some("p1".into()), [7; 32]);
    for (what, record) in [
        ("bare", record("bare").build()),
        ("full", full().expires(at(3)).revoked(at(4)).build()),
        ("no agents", record("none").agents::<[&str; 0]>([]).build()),
        ("peppered", KeyRecord::builder("p", "acc", peppered).build()),
    ] {
        create(&store, &[&record]).await;
        let found = get(&store, record.principal().key_id()).await;
        assert_same(found.as_deref(), &record, what);
        let found = store.find(record.digest()).await;
        let found = found.expect("a store that works answers");
        assert_same(found.as_deref(), &record, what);
    }
}

pub async fn ids_are_paged_in_the_order_of_their_bytes<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let mut ids = ["b", "a", "a-1", "A", "a1", "~", "!", "B", "10", "9"];
    for id in ids {
        create(&store, &[&record(id).family(format!("of-{id}")).build()]).await;
    }
    ids.sort_unstable();
    for most in [1, 2, 3, 10, 1_000] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = page(&store, &after, most).await;
            assert!(page.len() <= most, "{most} at a time");
            let Some(last) = page.last() else {
                break;
            };
            after.clone_from(last);
            seen.extend(page);
        }
        assert_eq!(seen, ids, "{most} at a time");
    }
    assert_eq!(page(&store, "a0", 1).await, ["a1"], "after an id of nobody");
    assert!(page(&store, "", 0).await.is_empty());
}

pub async fn a_change_replaces_the_state_that_it_was_made_from<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let first = record("a").build();
    let second = record("a").per_minute(20).scopes(["a:b"]).build();
    create(&store, &[&first]).await;
    write(&store, &[KeyChange::update(second.clone(), &first)]).await;
    assert_same(get(&store, "a").await.as_deref(), &second, "once");
    // A change is made from what was read, as commands do it.
    let held = get(&store, "a").await.expect("it was written");
    let third = held.to_builder().revoked(SEEN).build();
    write(&store, &[KeyChange::update(third.clone(), &held)]).await;
    assert_same(get(&store, "a").await.as_deref(), &third, "twice");
    let found = store.find(first.digest()).await;
    let found = found.expect("a store that works answers");
    assert_same(found.as_deref(), &third, "by its digest");
}

pub async fn a_change_of_another_state_is_a_conflict<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let [first, second, third] = [10, 20, 30].map(|limit| record("a").per_minute(limit).build());
    let absent = store
        .write(&[KeyChange::update(second.clone(), &first)])
        .await;
    assert_conflict(absent, "a", "nothing is there");
    create(&store, &[&first]).await;
    write(&store, &[KeyChange::update(second.clone(), &first)]).await;
    let overtaken = store.write(&[KeyChange::update(third, &first)]).await;
    assert_conflict(overtaken, "a", "another was faster");
    assert_same(get(&store, "a").await.as_deref(), &second, "it stays");
}

pub async fn an_id_is_taken_once<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let first = record("a").build();
    create(&store, &[&first]).await;
    let other = KeyRecord::builder("a", "acc", digest("other"));
    for (what, taken) in [
        ("another key", other.clone().build()),
        ("of another family", other.family("elsewhere").build()),
        ("the same key, changed", record("a").per_minute(7).build()),
    ] {
        let refused = store.write(&[KeyChange::create(taken)]).await;
        assert_conflict(refused, "a", what);
    }
    assert_same(get(&store, "a").await.as_deref(), &first, "it stays");
    let stranger = store.find(&digest("other")).await;
    assert!(stranger.is_ok_and(|found| found.is_none()));
}

pub async fn a_repeated_write_is_no_conflict<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let [first, second] = [10, 20].map(|limit| record("a").per_minute(limit).build());
    for _ in 0..2 {
        create(&store, &[&first]).await;
    }
    for _ in 0..2 {
        write(&store, &[KeyChange::update(second.clone(), &first)]).await;
    }
    write(&store, &[]).await;
    assert_same(get(&store, "a").await.as_deref(), &second, "it is there");
}

pub async fn the_changes_of_one_family_are_made_together_or_not_at_all<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let of = |id: &str, limit| record(id).family("f").per_minute(limit).build();
    let (old, other) = (of("old", 10), of("other", 10));
    create(&store, &[&old, &other]).await;
    let (ended, new) = (of("old", 20), of("new", 20));
    // The last one was made from a state that is not there.
    let stale = KeyChange::update(of("other", 20), &of("other", 15));
    let changes = [
        KeyChange::update(ended.clone(), &old),
        KeyChange::create(new.clone()),
        stale,
    ];
    assert_conflict(store.write(&changes).await, "other", "the last one");
    assert_same(get(&store, "old").await.as_deref(), &old, "not changed");
    assert!(get(&store, "new").await.is_none(), "not made");
    let found = store.find(new.digest()).await;
    assert!(found.is_ok_and(|found| found.is_none()), "not found");
    assert_eq!(page(&store, "", 10).await, ["old", "other"]);
    write(&store, &changes[..2]).await;
    assert_same(get(&store, "old").await.as_deref(), &ended, "changed");
    assert_same(get(&store, "new").await.as_deref(), &new, "made");
}

pub async fn a_key_has_one_record<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let first = record("a").build();
    create(&store, &[&first]).await;
    for (twin, family) in [("b", "a"), ("c", "c")] {
        let record = KeyRecord::builder(twin, "acc", digest("a")).family(family);
        match store.write(&[KeyChange::create(record.build())]).await {
            Err(KeyWriteError::SameDigest { id, other }) => {
                assert_eq!((&*id, &*other), (twin, "a"), "of family {family}");
            }
            other => panic!("of family {family}: {other:?}"),
        }
        assert!(get(&store, twin).await.is_none(), "of family {family}");
    }
    assert_eq!(page(&store, "", 10).await, ["a"]);
    let found = store.find(first.digest()).await;
    let found = found.expect("a store that works answers");
    assert_same(found.as_deref(), &first, "it stays");
}

pub async fn what_makes_a_key_this_key_stays<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let first = record("a").build();
    create(&store, &[&first]).await;
    let other = KeyRecord::builder("a", "acc", digest("other")).build();
    let refused = store.write(&[KeyChange::update(other, &first)]).await;
    let is_immutable = matches!(&refused, Err(KeyWriteError::Immutable { id }) if &**id == "a");
    assert!(is_immutable, "the digest: {refused:?}");
    for (what, other) in [
        ("family", record("a").family("f").build()),
        ("environment", record("a").environment("test").build()),
    ] {
        // Where records lie under their caller, there is none under another one.
        match store.write(&[KeyChange::update(other, &first)]).await {
            Err(KeyWriteError::Immutable { id } | KeyWriteError::Conflict { id }) => {
                assert_eq!(&*id, "a", "the {what}");
            }
            other => panic!("the {what}: {other:?}"),
        }
    }
    assert_same(get(&store, "a").await.as_deref(), &first, "it stays");
}

pub async fn what_could_not_be_read_back_is_not_written<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let nothing = record("a").per_minute(0).build();
    let refused = store.write(&[KeyChange::create(nothing)]).await;
    assert!(refused.is_err(), "a limit of nothing");
    assert!(get(&store, "a").await.is_none());
    let good = record("a").per_minute(1).build();
    create(&store, &[&good]).await;
}

pub async fn a_tracked_record_is_reread_as_it_is_now<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let [first, second] = [10, 20].map(|limit| record("a").per_minute(limit).build());
    create(&store, &[&first]).await;
    let held = get(&store, "a").await.expect("it was written");
    write(&store, &[KeyChange::update(second.clone(), &held)]).await;
    let reread = store.reread(held.principal()).await;
    if held.principal().tracked_version().is_some() {
        let reread = reread.expect("a store that works answers");
        assert_same(reread.as_deref(), &second, "as it is now");
    } else {
        // Nobody asks it again, since no version is compared.
        assert!(reread.is_err() || reread.is_ok_and(|found| found.is_some()));
    }
}

pub async fn a_moment_of_use_is_shown_and_never_moves_back<S: KeySubject>(subject: &S) {
    let store = subject.store();
    create(&store, &[&record("a").build(), &record("b").build()]).await;
    let at = |seconds| SEEN + std::time::Duration::from_secs(seconds);
    for (seen, want) in [(60, 60), (120, 120), (90, 120), (120, 120), (121, 121)] {
        // An id of nobody is passed over.
        let used = [("nobody".into(), at(seen)), ("a".into(), at(seen))];
        let touched = store.touch(&used).await;
        touched.expect("a store that works answers");
        let used = async |id| get(&store, id).await.and_then(|record| record.last_used());
        assert_eq!(used("a").await, Some(at(want)), "after {seen}");
        assert_eq!(used("b").await, None, "after {seen}");
    }
    assert_eq!(page(&store, "", 10).await, ["a", "b"]);
}

pub async fn a_moment_of_use_changes_no_version<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let [first, second] = [10, 20].map(|limit| record("a").per_minute(limit).build());
    create(&store, &[&first]).await;
    let touched = store.touch(&[("a".into(), SEEN)]).await;
    touched.expect("a store that works answers");
    let held = get(&store, "a").await.expect("it was written");
    assert_eq!(held.principal().version(), first.principal().version());
    // So a command that read the record before it was used conflicts with nobody.
    write(&store, &[KeyChange::update(second, &first)]).await;
}

pub async fn a_change_does_not_forget_when_a_key_was_used<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let [first, second] = [10, 20].map(|limit| record("a").per_minute(limit).build());
    create(&store, &[&first]).await;
    let touched = store.touch(&[("a".into(), SEEN)]).await;
    touched.expect("a store that works answers");
    write(&store, &[KeyChange::update(second.clone(), &first)]).await;
    let held = get(&store, "a").await.expect("it was written");
    assert_eq!(held.last_used(), Some(SEEN));
    assert_eq!(held.principal().version(), second.principal().version());
}

pub async fn a_thousand_keys_are_written_at_once<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let ids: Vec<String> = (0..1_000)
        .map(|number| format!("key_{number:04}"))
        .collect();
    let changes: Vec<KeyChange> = ids
        .iter()
        // Families of several keys, and their changes not side by side.
        .zip((0..300).cycle())
        .map(|(id, family)| record(id).family(format!("f{family}")).build())
        .map(KeyChange::create)
        .collect();
    write(&store, &changes).await;
    assert_eq!(page(&store, "", 2_000).await, ids);
    for change in changes.iter().step_by(99) {
        let found = store.find(change.record.digest()).await;
        let found = found.expect("a store that works answers");
        assert_same(found.as_deref(), &change.record, "one of them");
    }
}

pub async fn of_many_concurrent_changes_one_is_made<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let first = record("a").build();
    create(&store, &[&first]).await;
    let mut steps = JoinSet::new();
    for number in 1..=MANY {
        let (store, first) = (store.clone(), first.clone());
        steps.spawn(async move {
            let next = record("a").per_minute(number).build();
            let change = KeyChange::update(next, &first);
            (number, store.write(&[change]).await)
        });
    }
    let mut made = Vec::new();
    for (number, written) in steps.join_all().await {
        match written {
            Ok(()) => made.push(number),
            Err(KeyWriteError::Conflict { id }) => assert_eq!(&*id, "a"),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(made.len(), 1, "{made:?} were made");
    let held = get(&store, "a").await.expect("it was written");
    assert_eq!(held.principal().per_minute(), made.first().copied());
}

pub async fn of_many_concurrent_changes_of_many_keys_none_is_lost<S: KeySubject>(subject: &S) {
    let store = subject.store();
    let mut steps = JoinSet::new();
    for number in 0..MANY {
        let store = store.clone();
        steps.spawn(async move {
            // All are one family's.
            let first = record(&format!("k{number}")).family("f").build();
            create(&store, &[&first]).await;
            let next = first.to_builder().per_minute(number + 1).build();
            write(&store, &[KeyChange::update(next, &first)]).await;
        });
    }
    steps.join_all().await;
    for number in 0..MANY {
        let held = get(&store, &format!("k{number}")).await;
        let held = held.expect("it was written");
        assert_eq!(held.principal().per_minute(), Some(number + 1));
    }
}
