//! What time brings about, and what an operator does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::cases;
use vestibule::clock::Clock as _;

use super::scene::{CONFIRM, NOW, Place, accepted, named, settle, settlement, state, told};
use crate::delivery::{LASTS, QUEUE_MAX};
use crate::message::{MessageId, Next, State};
use crate::store::{
    Database, Filter, Intake as _, Ledger as _, Operator as _, Queue as _, Steered, Upkeep as _,
};

cases! {
    an_uncertain_attempt_is_given_up_when_nobody_confirms_it
    the_time_to_confirm_stands_still_while_webhooks_lie_about
    what_waits_too_long_has_failed_even_while_it_is_held
    what_nobody_got_in_time_has_expired
    a_status_of_nobodys_message_is_parked_for_a_while
    texts_and_numbers_are_purged_and_the_rest_remains
    a_refusal_outlives_a_sweep_and_a_number_that_never_wrote_does_not
    an_operator_finds_a_message_by_the_id_that_support_is_given
    an_operator_cancels_what_waits_and_repeats_what_failed
}

async fn an_uncertain_attempt_is_given_up_when_nobody_confirms_it(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let id = uncertain(&place, &store, 1).await;
    pass(&place, &store, CONFIRM.as_secs()).await;
    assert_eq!(state(&store, id).await, State::Uncertain);
    pass(&place, &store, 10).await;
    assert_eq!(state(&store, id).await, State::OutcomeUnknown);
}

async fn the_time_to_confirm_stands_still_while_webhooks_lie_about(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let id = uncertain(&place, &store, 1).await;
    pass(&place, &store, 500).await;
    store.append(b"{}"[..].into()).await.unwrap();
    pass(&place, &store, 2000).await;
    assert_eq!(state(&store, id).await, State::Uncertain);
    let seq = store.backlog(1).await.unwrap()[0].seq;
    store.apply(vec![told(seq, vec![])]).await.unwrap();
    // What lay about was a debt, and that is paid first.
    pass(&place, &store, 1900).await;
    assert_eq!(state(&store, id).await, State::Uncertain);
    pass(&place, &store, 200).await;
    assert_eq!(state(&store, id).await, State::OutcomeUnknown);
}

async fn what_waits_too_long_has_failed_even_while_it_is_held(place: Place) {
    let store = place.open().await;
    let new = place.template_to(1, "+15551230001");
    let id = new.message.id;
    store.insert(new, None).await.unwrap();
    place.clock.advance(QUEUE_MAX);
    store.reconcile().await.unwrap();
    let failed = store.message(id).await.unwrap().unwrap();
    assert_eq!(failed.state, State::Failed);
    assert_eq!(failed.failure.unwrap().code, "queue_expired");
}

async fn what_nobody_got_in_time_has_expired(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let sent = place.send(&store, 1).await;
    settle(&store, &sent, &accepted("wamid.A")).await;
    place.clock.advance(LASTS + Duration::from_secs(3599));
    store.reconcile().await.unwrap();
    assert_eq!(state(&store, sent.message).await, State::Submitted);
    place.clock.advance(Duration::from_secs(1));
    store.reconcile().await.unwrap();
    assert_eq!(state(&store, sent.message).await, State::Expired);
    place.status(&store, "wamid.A", None, "delivered").await;
    assert_eq!(state(&store, sent.message).await, State::Delivered);
}

async fn a_status_of_nobodys_message_is_parked_for_a_while(place: Place) {
    let store = place.open().await;
    place
        .status(&store, "wamid.X", Some("m1.not.ours"), "sent")
        .await;
    assert_eq!(store.sweep().await.unwrap(), 0);
    place.clock.advance(Duration::from_secs(8 * 86_400));
    // The parked status, and the body that it came in.
    assert_eq!(store.sweep().await.unwrap(), 2);
    assert_eq!(store.sweep().await.unwrap(), 0);
}

async fn texts_and_numbers_are_purged_and_the_rest_remains(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let sent = place.send(&store, 1).await;
    settle(&store, &sent, &accepted("wamid.A")).await;
    place.status(&store, "wamid.A", None, "delivered").await;
    let kept = uncertain(&place, &store, 2).await;
    place.clock.advance(Duration::from_secs(30 * 86_400 + 1));
    while store.sweep().await.unwrap() > 0 {}
    let message = store.message(sent.message).await.unwrap().unwrap();
    assert_eq!((message.to, message.wamid), (None, None));
    assert_eq!(message.state, State::Delivered);
    assert_eq!(store.window("10", "15551234567").await.unwrap(), None);
    let retried = store.retry(sent.message, true).await.unwrap();
    assert_eq!(retried, Steered::Purged, "there is nothing left to send");
    let message = store.message(kept).await.unwrap().unwrap();
    assert!(message.to.is_some(), "what is being confirmed is not over");
}

async fn a_refusal_outlives_a_sweep_and_a_number_that_never_wrote_does_not(place: Place) {
    let store = place.open().await;
    for (n, to, closes) in [(1, "+15551230001", true), (2, "+15551230002", false)] {
        store.insert(place.template_to(n, to), None).await.unwrap();
        let sent = store.take(1).await.unwrap().remove(0);
        let mut settled = accepted(&format!("wamid.{n}"));
        settled.closes_window = closes;
        settled.recipient = named(sent.to.digits(), Some(&format!("US.{n}")));
        settle(&store, &sent, &settled).await;
    }
    while store.sweep().await.unwrap() > 0 {}
    let refused = store.window("10", "15551230001").await.unwrap();
    assert!(refused.is_some(), "Meta's word is remembered");
    place.clock.advance(Duration::from_secs(30 * 86_400 + 1));
    // The refused window, three names that are left, and the two messages.
    let mut gone = 0;
    loop {
        match store.sweep().await.unwrap() {
            0 => break,
            rows => gone += rows,
        }
    }
    assert!(gone >= 5, "{gone}");
    // A window under the id would be found by the number, were the two still one customer's.
    let by_id = named("", Some("US.2"));
    let now = place.clock.now();
    place.inbound(&store, "wamid.I", by_id, now).await;
    assert_eq!(store.window("10", "15551230002").await.unwrap(), None);
}

async fn an_operator_finds_a_message_by_the_id_that_support_is_given(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let sent = place.send(&store, 1).await;
    store.insert(place.message(2), None).await.unwrap();
    let found = store
        .list(Filter {
            correlation_id: Some("req_1".into()),
            max: 10,
            ..Filter::default()
        })
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message.id, sent.message);
    let attempts = store.attempts(sent.message).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].n), (1, 1));
    assert_eq!((attempts[0].started_at, attempts[0].ended_at), (NOW, None));
    let all = Filter {
        max: 10,
        ..Filter::default()
    };
    assert_eq!(store.list(all).await.unwrap().len(), 2);
}

async fn an_operator_cancels_what_waits_and_repeats_what_failed(place: Place) {
    let store = place.open().await;
    let new = place.template_to(1, "+15551230001");
    let id = new.message.id;
    store.insert(new, None).await.unwrap();
    assert_eq!(
        store.retry(id, true).await.unwrap(),
        Steered::Refused(State::Queued)
    );
    assert_eq!(store.cancel(id).await.unwrap(), Steered::Done);
    assert_eq!(store.take(1).await.unwrap().len(), 0);
    let cancelled = store.message(id).await.unwrap().unwrap();
    assert_eq!(cancelled.failure.unwrap().code, "cancelled");
    assert_eq!(
        store.cancel(id).await.unwrap(),
        Steered::Refused(State::Failed)
    );
    assert_eq!(store.retry(id, false).await.unwrap(), Steered::Done);
    let sent = store.take(1).await.unwrap().remove(0);
    let unknown = settlement("unknown", Next::Uncertain);
    settle(&store, &sent, &unknown).await;
    let nobodys = MessageId::mint(NOW, 99);
    assert_eq!(store.cancel(nobodys).await.unwrap(), Steered::Unknown);
}

#[tokio::test]
async fn a_process_that_ends_at_once_has_told_the_replicas() {
    let place = Place::postgres();
    let (replica, command) = (place.open().await, place.open().await);
    let (queued, taken_in) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let heard = Arc::clone(&queued);
    let listening = tokio::spawn(async move { replica.listen(queued, taken_in).await });
    // Nothing is heard before the replica listens, and nothing but this rings.
    let told = async {
        loop {
            command.flush().await.unwrap();
            let pause = Duration::from_millis(50);
            if tokio::time::timeout(pause, heard.notified()).await.is_ok() {
                return;
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), told).await;
    assert!(told.is_ok(), "the replica was not told");
    listening.abort();
}

/// Sends a message of whose attempt nobody knows the outcome.
async fn uncertain(place: &Place, store: &Database, n: u64) -> MessageId {
    let sent = place.send(store, n).await;
    let unknown = settlement("unknown", Next::Uncertain);
    settle(store, &sent, &unknown).await;
    sent.message
}

/// Lets time pass as it does where somebody looks at it.
async fn pass(place: &Place, store: &Database, seconds: u64) {
    for _ in 0..seconds.div_ceil(10) {
        place.clock.advance(Duration::from_secs(10));
        store.reconcile().await.unwrap();
    }
}
