//! Webhooks: kept until they are done, each update for itself, in any order.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::cases;
use super::scene::{NOW, Place, accepted, settle, settlement, state, status, told};
use crate::delivery::Update;
use crate::message::{Next, State};
use crate::store::{Intake as _, Ledger as _, Queue as _};

cases! {
    a_token_adopts_an_attempt_that_nobody_knew_the_outcome_of
    a_status_may_come_before_the_answer
    a_status_without_a_token_waits_for_one_that_has_it
    statuses_that_two_replicas_apply_at_once_do_not_miss_one_another
    statuses_in_any_order_end_alike
    a_passing_failure_of_an_uncertain_attempt_is_tried_again
    a_status_that_comes_again_changes_nothing
    a_backlog_waits_in_order_until_it_is_worked_off
    bodies_that_come_together_are_kept_byte_for_byte
    a_body_is_worked_off_once
    bodies_that_are_worked_off_together_end_as_one_after_the_other
    an_update_that_cannot_be_kept_takes_back_only_itself
}

async fn a_token_adopts_an_attempt_that_nobody_knew_the_outcome_of(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    for (n, (word, want)) in (1..).zip([
        ("sent", State::Sent),
        ("failed", State::Failed),
        ("read", State::Read),
    ]) {
        let sent = place.send(&store, n).await;
        let unknown = settlement("unknown", Next::Uncertain);
        settle(&store, &sent, &unknown).await;
        let wamid = format!("wamid.{n}");
        let applied = place.status(&store, &wamid, Some(&sent.token), word).await;
        assert_eq!(applied.reconciled.len(), 1, "{word}");
        let message = store.message(sent.message).await.unwrap().unwrap();
        assert_eq!(message.state, want);
        assert_eq!(message.wamid.as_deref(), Some(&*wamid), "{word}");
        // From here on the id alone is enough.
        place.status(&store, &wamid, None, "delivered").await;
        assert!(state(&store, sent.message).await >= State::Delivered);
    }
}

async fn a_status_may_come_before_the_answer(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    for (n, has_token) in [(1, true), (2, false)] {
        let sent = place.send(&store, n).await;
        let token = has_token.then_some(&*sent.token);
        let wamid = format!("wamid.{n}");
        let applied = place.status(&store, &wamid, token, "delivered").await;
        assert_eq!(applied.orphans, u64::from(!has_token));
        settle(&store, &sent, &accepted(&wamid)).await;
        let state = state(&store, sent.message).await;
        assert_eq!(state, State::Delivered, "with a token: {has_token}");
    }
}

async fn a_status_without_a_token_waits_for_one_that_has_it(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let sent = place.send(&store, 1).await;
    let unknown = settlement("unknown", Next::Uncertain);
    settle(&store, &sent, &unknown).await;
    let parked = place.status(&store, "wamid.A", None, "failed").await;
    assert_eq!(parked.orphans, 1);
    place
        .status(&store, "wamid.A", Some(&sent.token), "sent")
        .await;
    assert_eq!(state(&store, sent.message).await, State::Failed);
}

async fn statuses_that_two_replicas_apply_at_once_do_not_miss_one_another(place: Place) {
    let replicas = [place.open().await, place.open().await];
    place.open_window(&replicas[0], 0).await;
    for n in 0..30 {
        let sent = place.send(&replicas[0], n).await;
        let unknown = settlement("unknown", Next::Uncertain);
        settle(&replicas[0], &sent, &unknown).await;
        let wamid = format!("wamid.{n}");
        for _ in 0..2 {
            let body = Bytes::from_static(b"{}");
            replicas[0].append(body).await.unwrap();
        }
        let bodies = replicas[0].backlog(2).await.unwrap();
        let without = vec![Update::Status(status(&wamid, None, "failed", None))];
        let with = status(&wamid, Some(&sent.token), "sent", None);
        let with = vec![Update::Status(with)];
        let (one, other) = tokio::join!(
            replicas[0].apply(vec![told(bodies[0].seq, without)]),
            replicas[1].apply(vec![told(bodies[1].seq, with)]),
        );
        one.unwrap();
        other.unwrap();
        assert_eq!(
            state(&replicas[0], sent.message).await,
            State::Failed,
            "{n}"
        );
        place.clock.advance(Duration::from_secs(20));
    }
}

async fn statuses_in_any_order_end_alike(place: Place) {
    let words = ["sent", "delivered", "failed", "read"];
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let mut ends = Vec::new();
    for turns in 0..words.len() {
        let sent = place.send(&store, turns as u64).await;
        let mut order = words.to_vec();
        order.rotate_left(turns);
        order.extend(words);
        let wamid = format!("wamid.{turns}");
        for word in order {
            place.status(&store, &wamid, Some(&sent.token), word).await;
        }
        let end = store.message(sent.message).await.unwrap().unwrap();
        ends.push((end.state, end.sent_at, end.delivered_at, end.read_at));
    }
    assert_eq!(ends[0].0, State::Read);
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
}

async fn a_passing_failure_of_an_uncertain_attempt_is_tried_again(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let sent = place.send(&store, 1).await;
    let unknown = settlement("unknown", Next::Uncertain);
    settle(&store, &sent, &unknown).await;
    let failed = status("wamid.A", Some(&sent.token), "failed", Some(131_000));
    place.apply(&store, vec![Update::Status(failed)]).await;
    assert_eq!(state(&store, sent.message).await, State::RetryWait);
    place.clock.advance(Duration::from_secs(120));
    assert_eq!(store.take(1).await.unwrap().remove(0).attempt, 2);
}

async fn a_status_that_comes_again_changes_nothing(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let sent = place.send(&store, 1).await;
    settle(&store, &sent, &accepted("wamid.A")).await;
    for (word, repeated, ignored) in [
        ("delivered", 0, 0),
        ("delivered", 1, 0),
        ("sent", 0, 1),
        ("sent", 1, 0),
    ] {
        let applied = place.status(&store, "wamid.A", None, word).await;
        let counted = (applied.repeated, applied.ignored);
        assert_eq!(counted, (repeated, ignored), "{word}");
    }
    assert_eq!(state(&store, sent.message).await, State::Delivered);
}

async fn a_backlog_waits_in_order_until_it_is_worked_off(place: Place) {
    let store = place.open().await;
    let first = Bytes::from_static(b"first \xff");
    store.append(first).await.unwrap();
    store.append(Bytes::from_static(b"second")).await.unwrap();
    let backlog = store.backlog(10).await.unwrap();
    assert_eq!(backlog.len(), 2);
    drop(store);
    let store = place.open().await;
    assert_eq!(&*backlog[0].body, b"first \xff");
    assert_eq!(backlog[0].received_at, NOW);
    store
        .apply(vec![told(backlog[0].seq, vec![])])
        .await
        .unwrap();
    let left = store.backlog(10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(&*left[0].body, b"second");
}

async fn bodies_that_come_together_are_kept_byte_for_byte(place: Place) {
    let bodies: [&[u8]; 6] = [
        b"",
        b"{\"a\":\"\\u0000\"}",
        b"\0",
        b"",
        b"\xff\xfe'",
        "¿qué?".as_bytes(),
    ];
    let store = place.open().await;
    // The first goes by itself, and the others together.
    let appended = bodies.map(|body| store.append(Bytes::from_static(body)));
    for result in join_all(appended).await {
        result.unwrap();
    }
    let kept = store.backlog(10).await.unwrap();
    let mut kept: Vec<&[u8]> = kept.iter().map(|webhook| &*webhook.body).collect();
    kept.sort_unstable();
    let mut want = bodies;
    want.sort_unstable();
    assert_eq!(kept, want);
}

async fn a_body_is_worked_off_once(place: Place) {
    let store = place.open().await;
    let body = Bytes::from_static(b"{}");
    store.append(body).await.unwrap();
    let seq = store.backlog(1).await.unwrap()[0].seq;
    let stranger = || vec![Update::Status(status("wamid.X", None, "sent", None))];
    let (one, other) = tokio::join!(
        store.apply(vec![told(seq, stranger())]),
        store.apply(vec![told(seq, stranger())]),
    );
    let parked = one.unwrap().orphans + other.unwrap().orphans;
    assert_eq!(parked, 1, "whoever came second left it alone");
}

async fn bodies_that_are_worked_off_together_end_as_one_after_the_other(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let mut sent = Vec::new();
    for n in 0..3 {
        let departure = place.send(&store, n).await;
        let unknown = settlement("unknown", Next::Uncertain);
        settle(&store, &departure, &unknown).await;
        sent.push(departure);
    }
    let token = |n: usize| Some(&*sent[n].token);
    let bodies = [
        // Whose it is, the next one tells.
        vec![status("wamid.0", None, "delivered", None)],
        vec![status("wamid.0", token(0), "sent", None)],
        vec![
            status("wamid.1", token(1), "read", None),
            status("wamid.1", token(1), "read", None),
            status("wamid.1", None, "sent", None),
        ],
        vec![status("wamid.X", None, "sent", None)],
        vec![],
    ];
    let mut worked_off = Vec::new();
    for body in bodies {
        store.append(Bytes::from_static(b"{}")).await.unwrap();
        worked_off.push(body.into_iter().map(Update::Status).collect());
    }
    let backlog = store.backlog(10).await.unwrap();
    let places = backlog.iter().map(|body| body.seq);
    let all = places
        .zip(worked_off)
        .map(|(seq, updates)| told(seq, updates));
    let applied = store.apply(all.collect()).await.unwrap();
    assert_eq!((applied.bodies, applied.reconciled.len()), (5, 2));
    let counted = (applied.repeated, applied.ignored, applied.orphans);
    assert_eq!(counted, (1, 2, 1));
    for (n, want) in [State::Delivered, State::Read, State::Uncertain]
        .into_iter()
        .enumerate()
    {
        assert_eq!(state(&store, sent[n].message).await, want, "{n}");
    }
    assert!(store.backlog(10).await.unwrap().is_empty());
}

async fn an_update_that_cannot_be_kept_takes_back_only_itself(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let first = place.send(&store, 1).await;
    let second = place.send(&store, 2).await;
    let updates = [
        status("wamid.1", Some(&first.token), "sent", None),
        // PostgreSQL has no text with this in it.
        status("wamid.\0", None, "sent", None),
        status("wamid.2", Some(&second.token), "read", None),
    ];
    let updates = updates.into_iter().map(Update::Status).collect();
    let applied = place.apply(&store, updates).await;
    assert_eq!((applied.bodies, applied.changes.len()), (1, 2));
    assert_eq!(state(&store, first.message).await, State::Sent);
    assert_eq!(state(&store, second.message).await, State::Read);
    assert!(store.backlog(10).await.unwrap().is_empty());
}
