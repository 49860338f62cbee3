//! Sending: who may go, one attempt at a time, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use vestibule::clock::Clock as _;

use super::cases;
use super::scene::{LEASE, NOW, Place, accepted, line, settle, settlement, state};
use crate::cloud_api::Resume;
use crate::delivery::{Line, Lines, Strike, Term};
use crate::message::{Next, Policy, State};
use crate::store::{Ledger as _, Operator as _, Queue as _, Upkeep as _};

cases! {
    an_attempt_is_recorded_before_it_is_made_and_found_after_a_crash
    no_two_replicas_take_the_same_message
    messages_are_taken_when_they_fall_due
    a_text_whose_window_closed_meanwhile_has_failed
    a_hold_stops_its_scope_and_lets_one_probe_go
    a_probe_that_tells_nothing_is_followed_by_another
    an_operator_lifts_what_only_an_operator_can
    messages_in_order_wait_for_the_one_before
    a_message_that_meta_has_twice_is_told
    what_is_looked_at_on_the_way_out_is_counted
}

async fn what_is_looked_at_on_the_way_out_is_counted(mut place: Place) {
    place.change = |settings| {
        let slow = Line {
            per_second: 20,
            burst: 1,
            ..line()
        };
        settings.lines = Arc::new(Lines::new("t", [slow]));
    };
    let store = place.open().await;
    place.open_window(&store, 0).await;
    store.insert(place.message(1), None).await.unwrap();
    store.insert(place.message(2), None).await.unwrap();
    assert_eq!(store.take(10).await.unwrap().len(), 1);
    for n in 3..60 {
        let to = format!("+155512300{n:02}");
        store.insert(place.template_to(n, &to), None).await.unwrap();
    }
    assert!(store.take(100).await.unwrap().len() < 57);
    let text = place.metrics.text();
    for line in [
        "messaging_window_check_total{at=\"dispatch\",result=\"open\"} 2",
        "messaging_shaper_wait_seconds_count{scope=\"pair\"} 1",
        "messaging_shaper_wait_seconds_count{scope=\"number\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

async fn an_attempt_is_recorded_before_it_is_made_and_found_after_a_crash(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let id = place.send(&store, 1).await.message;
    assert_eq!(state(&store, id).await, State::Dispatching);
    drop(store);
    let store = place.open().await;
    place.clock.advance(LEASE + Duration::from_millis(1));
    assert_eq!(store.recover().await.unwrap(), 1);
    assert_eq!(state(&store, id).await, State::Uncertain);
    assert_eq!(store.recover().await.unwrap(), 0, "once is enough");
    let taken = store.take(10).await.unwrap();
    assert_eq!(taken.len(), 0, "it is never sent again");
}

async fn no_two_replicas_take_the_same_message(place: Place) {
    let replicas = [place.open().await, place.open().await];
    for n in 0..40 {
        let to = format!("+1555123{n:04}");
        replicas[0]
            .insert(place.template_to(n, &to), None)
            .await
            .unwrap();
    }
    let mut taken = Vec::new();
    let mut tries = 0;
    while taken.len() < 40 {
        let (one, other) = tokio::join!(replicas[0].take(3), replicas[1].take(3));
        taken.extend(one.unwrap().into_iter().chain(other.unwrap()));
        // The numbers' shape lets only so many leave at one moment.
        place.clock.advance(Duration::from_millis(200));
        tries += 1;
        assert!(tries < 200, "{} were taken", taken.len());
    }
    let mut ids: Vec<_> = taken.iter().map(|one| one.message.as_uuid()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), taken.len()), (40, 40));
    assert!(taken.iter().all(|one| one.attempt == 1));
}

async fn messages_are_taken_when_they_fall_due(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let sent = place.send(&store, 1).await;
    let at = NOW + Duration::from_secs(7);
    let put_off = settlement("rejected", Next::Retry { at, counts: true });
    settle(&store, &sent, &put_off).await;
    assert_eq!(store.next_due().await.unwrap(), Some(at));
    assert_eq!(store.take(10).await.unwrap().len(), 0);
    place.clock.advance(Duration::from_secs(7));
    let again = store.take(10).await.unwrap().remove(0);
    assert_eq!((again.attempt, again.refusals), (2, 1));
    assert_ne!(again.token, sent.token);
    assert_eq!(store.next_due().await.unwrap(), None);
}

async fn a_text_whose_window_closed_meanwhile_has_failed(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let new = place.message(1);
    let id = new.message.id;
    store.insert(new, None).await.unwrap();
    place.clock.advance(Duration::from_secs(86_396));
    // A deployment that has seen a whole day of webhooks knows that it is closed.
    assert_eq!(store.take(10).await.unwrap().len(), 0);
    let failed = store.message(id).await.unwrap().unwrap();
    assert_eq!(failed.state, State::Failed);
    assert_eq!(failed.failure.unwrap().code, "window_closed");
    assert_eq!(failed.failed_at, Some(place.clock.now()));
}

async fn a_hold_stops_its_scope_and_lets_one_probe_go(place: Place) {
    let store = place.open().await;
    for n in 0..4 {
        let to = format!("+1555123456{n}");
        let new = place.template_to(n, &to);
        store.insert(new, None).await.unwrap();
    }
    let first = store.take(1).await.unwrap().remove(0);
    let resume = Resume::Probe(Duration::from_secs(60));
    let mut refused = settlement("rejected", Next::Blocked { at: NOW });
    refused.strike = Some(strike("account:1", resume));
    settle(&store, &first, &refused).await;
    assert_eq!(state(&store, first.message).await, State::Blocked);
    assert_eq!(store.take(10).await.unwrap().len(), 0, "all of it waits");
    let until = NOW + Duration::from_secs(60);
    assert_eq!(store.next_due().await.unwrap(), Some(until));
    place.clock.advance(Duration::from_secs(60));
    let probe = store.take(10).await.unwrap();
    assert_eq!(probe.len(), 1, "one probe");
    assert_eq!(store.take(10).await.unwrap().len(), 0, "and no other");
    let settled = settle(&store, &probe[0], &accepted("wamid.A")).await;
    assert_eq!(settled.lifted, 1);
    assert_eq!(store.take(10).await.unwrap().len(), 3, "the others follow");
}

async fn a_probe_that_tells_nothing_is_followed_by_another(place: Place) {
    let store = place.open().await;
    for n in 0..3 {
        let new = place.template_to(n, &format!("+1555123456{n}"));
        store.insert(new, None).await.unwrap();
    }
    let first = store.take(1).await.unwrap().remove(0);
    let mut refused = settlement("rejected", Next::Blocked { at: NOW });
    refused.strike = Some(strike("number:10", Resume::Probe(Duration::from_secs(60))));
    settle(&store, &first, &refused).await;
    place.clock.advance(Duration::from_secs(60));
    let probe = store.take(10).await.unwrap().remove(0);
    let unknown = settlement("unknown", Next::Uncertain);
    settle(&store, &probe, &unknown).await;
    assert_eq!(store.take(10).await.unwrap().len(), 0, "not at once");
    place.clock.advance(Duration::from_secs(1));
    let next = store.take(10).await.unwrap();
    assert_eq!(next.len(), 1, "one again");
    let mut failed = settlement("rejected", Next::Failed(crate::cloud_api::failure(131_026)));
    failed.refusal = Some(crate::cloud_api::Refusal {
        code: 131_026,
        http_status: 400,
        fbtrace_id: None,
        retry_after: None,
        action: crate::cloud_api::Action::Fail,
    });
    let settled = settle(&store, &next[0], &failed).await;
    assert_eq!(settled.lifted, 1, "Meta has judged that message by itself");
}

async fn an_operator_lifts_what_only_an_operator_can(place: Place) {
    let store = place.open().await;
    let new = place.template_to(1, "+15551230001");
    store.insert(new, None).await.unwrap();
    let first = store.take(1).await.unwrap().remove(0);
    let mut refused = settlement("rejected", Next::Blocked { at: NOW });
    refused.strike = Some(strike("number:10", Resume::Manual));
    settle(&store, &first, &refused).await;
    place.clock.advance(Duration::from_secs(7200));
    assert_eq!(store.next_due().await.unwrap(), None);
    assert_eq!(store.take(10).await.unwrap().len(), 0);
    let holds = store.holds().await.unwrap();
    assert_eq!((holds.len(), holds[0].code), (1, 368));
    assert_eq!(store.release(Some("number:11".into())).await.unwrap(), 0);
    assert_eq!(store.release(None).await.unwrap(), 1);
    assert_eq!(store.take(10).await.unwrap().len(), 1);
}

async fn messages_in_order_wait_for_the_one_before(place: Place) {
    let store = place.open().await;
    for n in 0..3 {
        let mut new = place.template_to(n, "+15551230001");
        new.in_order = true;
        store.insert(new, None).await.unwrap();
    }
    let mut other = place.template_to(9, "+15551230002");
    other.in_order = true;
    store.insert(other, None).await.unwrap();
    let taken = store.take(10).await.unwrap();
    assert_eq!(taken.len(), 2, "one for each customer");
    let first = taken
        .iter()
        .find(|one| one.to.as_str() == "+15551230001")
        .unwrap();
    settle(&store, first, &accepted("wamid.A")).await;
    place.clock.advance(Duration::from_secs(60));
    assert_eq!(store.take(10).await.unwrap().len(), 0, "it has not arrived");
    place.status(&store, "wamid.A", None, "delivered").await;
    let second = store.take(10).await.unwrap();
    assert_eq!(second.len(), 1, "it has");
    let failed = settlement("rejected", Next::Failed(crate::cloud_api::failure(131_026)));
    settle(&store, &second[0], &failed).await;
    assert_eq!(store.take(10).await.unwrap().len(), 1, "it never will");
}

async fn a_message_that_meta_has_twice_is_told(place: Place) {
    let store = place.open().await;
    let mut new = place.template_to(1, "+15551230001");
    new.policy = Policy::AtLeastOnce;
    store.insert(new, None).await.unwrap();
    let first = store.take(1).await.unwrap().remove(0);
    let unknown = settlement("unknown", Next::Uncertain);
    settle(&store, &first, &unknown).await;
    for _ in 0..700 {
        place.clock.advance(Duration::from_secs(1));
        store.reconcile().await.unwrap();
    }
    let second = store.take(1).await.unwrap().remove(0);
    settle(&store, &second, &accepted("wamid.B")).await;
    let applied = place
        .status(&store, "wamid.A", Some(&first.token), "sent")
        .await;
    assert_eq!(applied.changes.len(), 1, "sent outdoes submitted");
    let settled = settle(&store, &first, &accepted("wamid.A")).await;
    assert!(settled.is_duplicate);
}

fn strike(scope: &str, resume: Resume) -> Strike {
    Strike {
        scope: scope.into(),
        code: 368,
        began: NOW,
        term: Term::Paused(resume),
    }
}
