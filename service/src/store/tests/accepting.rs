//! Accepting: once for each key, and never without the disk.

use std::time::Duration;

use super::cases;
use super::scene::{CLAIM, Place};
use crate::store::{Insertion, Ledger as _, Queue as _};

cases! {
    one_key_makes_one_message_however_many_come_at_once
    a_key_is_kept_for_longer_than_a_day_and_not_for_ever
    nothing_is_inserted_once_the_lease_has_ended
    a_repeat_after_the_lease_still_gets_the_first_answer
    a_step_that_fails_takes_back_only_itself
    what_was_accepted_is_there_after_a_restart
}

async fn one_key_makes_one_message_however_many_come_at_once(place: Place) {
    let store = place.open().await;
    let tries = (0..200).map(|n| {
        let (store, new, once) = (store.clone(), place.message(n), place.once("key", n));
        tokio::spawn(async move {
            loop {
                match store.insert(new.clone(), Some(once.clone())).await {
                    // As many at once may be too many, and are told so.
                    Err(cause) if cause.is_overload() => tokio::task::yield_now().await,
                    insertion => return insertion.unwrap(),
                }
            }
        })
    });
    let mut inserted = 0;
    let mut answers = Vec::new();
    for one in tries.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Insertion::Inserted => inserted += 1,
            Insertion::Repeated(kept) => answers.push(kept.correlation_id),
            Insertion::LeaseEnded => panic!("the lease runs"),
        }
    }
    assert_eq!((inserted, answers.len()), (1, 199));
    assert!(answers.iter().all(|id| *id == answers[0]), "{answers:?}");
    let taken = store.take(500).await.unwrap();
    assert_eq!(taken.len(), 0, "a text without a window");
}

async fn a_key_is_kept_for_longer_than_a_day_and_not_for_ever(place: Place) {
    let store = place.open().await;
    assert_eq!(place.insert_keyed(&store, 1).await, Insertion::Inserted);
    for (hours, wants_repeat) in [(24, true), (1, false)] {
        place.clock.advance(Duration::from_secs(hours * 3600));
        let kept = store.kept("live:fam", b"key").await.unwrap();
        assert_eq!(kept.is_some(), wants_repeat, "after another {hours} h");
        let again = place.insert_keyed(&store, 10 + hours).await;
        let is_repeat = matches!(again, Insertion::Repeated(_));
        assert_eq!(is_repeat, wants_repeat, "{again:?}");
    }
}

async fn nothing_is_inserted_once_the_lease_has_ended(place: Place) {
    let store = place.open().await;
    let once = place.once("key", 1);
    place.clock.advance(CLAIM);
    let new = place.message(1);
    let id = new.message.id;
    let insertion = store.insert(new, Some(once)).await.unwrap();
    assert_eq!(insertion, Insertion::LeaseEnded);
    assert_eq!(store.message(id).await.unwrap(), None);
    assert_eq!(store.kept("live:fam", b"key").await.unwrap(), None);
}

async fn a_repeat_after_the_lease_still_gets_the_first_answer(place: Place) {
    let store = place.open().await;
    let late = place.once("key", 2);
    place.insert_keyed(&store, 1).await;
    place.clock.advance(CLAIM);
    let insertion = store.insert(place.message(2), Some(late)).await.unwrap();
    let Insertion::Repeated(kept) = insertion else {
        panic!("{insertion:?}");
    };
    assert_eq!(
        (&*kept.correlation_id, &*kept.body),
        ("req_1", &b"body 1"[..])
    );
}

async fn a_step_that_fails_takes_back_only_itself(place: Place) {
    let store = place.open().await;
    store.insert(place.message(1), None).await.unwrap();
    // The same id again fails late, after the key's row is written.
    let (failing, good) = tokio::join!(
        store.insert(place.message(1), Some(place.once("failing", 1))),
        store.insert(place.message(2), Some(place.once("good", 2))),
    );
    assert!(failing.is_err());
    assert_eq!(good.unwrap(), Insertion::Inserted);
    assert_eq!(store.kept("live:fam", b"failing").await.unwrap(), None);
    assert!(store.kept("live:fam", b"good").await.unwrap().is_some());
}

async fn what_was_accepted_is_there_after_a_restart(place: Place) {
    let new = place.message(1);
    let want = new.message.clone();
    let store = place.open().await;
    store.insert(new, Some(place.once("key", 1))).await.unwrap();
    drop(store);
    let store = place.open().await;
    assert_eq!(store.message(want.id).await.unwrap(), Some(want));
    assert!(store.kept("live:fam", b"key").await.unwrap().is_some());
}
