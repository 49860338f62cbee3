//! Customers: one window under every name, and none that a late or repeated event opens.

use std::time::Duration;

use vestibule::clock::{Clock as _, Timestamp};

use super::cases;
use super::scene::{NOW, Place, accepted, named, settle, settlement};
use crate::delivery::{Names, Renamed, Update};
use crate::message::Next;
use crate::store::{Database, ImportedWindow, Ledger as _, Operator as _, Queue as _};
use crate::window::Window;

cases! {
    a_late_message_never_reopens_a_window
    an_event_that_comes_again_opens_nothing
    one_customer_has_one_window_under_every_name
    a_number_that_was_given_to_another_person_opens_nothing_for_the_first
    a_customer_who_changes_number_keeps_the_window_by_the_id_alone
    a_window_that_meta_calls_closed_is_closed_until_the_next_message
    a_refusal_is_remembered_where_no_window_was_known_and_where_names_meet
    the_number_that_answers_may_differ_from_the_one_that_was_dialled
    an_import_fills_what_was_never_seen
}

async fn a_late_message_never_reopens_a_window(place: Place) {
    let store = place.open().await;
    for (ago, want) in [(3600, 3600), (60, 60), (7200, 60)] {
        place.open_window(&store, ago).await;
        let opened = Window::opened_at(before(want));
        let found = store.window("10", "15551234567").await.unwrap();
        assert_eq!(found, Some(opened), "{ago} s ago");
    }
    assert_eq!(store.window("11", "15551234567").await.unwrap(), None);
}

async fn an_event_that_comes_again_opens_nothing(place: Place) {
    let store = place.open().await;
    let customer = || named("1555", None);
    let first = place
        .inbound(&store, "wamid.1", customer(), before(9))
        .await;
    let again = place.inbound(&store, "wamid.1", customer(), NOW).await;
    assert_eq!((first.opened, first.repeated), (1, 0));
    assert_eq!((again.opened, again.repeated), (0, 1));
    assert_eq!(opened(&store, "1555").await, Some(before(9)));
}

async fn one_customer_has_one_window_under_every_name(place: Place) {
    let store = place.open().await;
    for (id, user, at) in [
        ("wamid.1", named("1555", None), before(30)),
        ("wamid.2", named("", Some("US.1")), before(20)),
        ("wamid.3", named("1555", Some("US.1")), before(40)),
    ] {
        place.inbound(&store, id, user, at).await;
    }
    for name in ["1555", "US.1"] {
        assert_eq!(opened(&store, name).await, Some(before(20)), "{name}");
    }
    let by_id = named("", Some("US.1"));
    place.inbound(&store, "wamid.4", by_id, before(10)).await;
    assert_eq!(opened(&store, "1555").await, Some(before(10)));
}

async fn a_number_that_was_given_to_another_person_opens_nothing_for_the_first(place: Place) {
    let store = place.open().await;
    let first = named("1555", Some("US.1"));
    place.inbound(&store, "wamid.1", first, before(30)).await;
    let second = named("1555", Some("US.2"));
    place.inbound(&store, "wamid.2", second, before(10)).await;
    assert_eq!(opened(&store, "US.1").await, Some(before(30)));
    assert_eq!(opened(&store, "US.2").await, Some(before(10)));
    assert_eq!(opened(&store, "1555").await, Some(before(10)));
}

async fn a_customer_who_changes_number_keeps_the_window_by_the_id_alone(place: Place) {
    let store = place.open().await;
    for (id, phone, user_id) in [("wamid.1", "1555", Some("US.1")), ("wamid.2", "1666", None)] {
        let user = named(phone, user_id);
        place.inbound(&store, id, user, before(30)).await;
    }
    for (id, old, new) in [
        (
            "wamid.3",
            named("1555", Some("US.1")),
            named("1777", Some("US.1")),
        ),
        ("wamid.4", named("1666", None), named("1888", None)),
    ] {
        let renamed = Renamed {
            phone_number_id: "10".into(),
            id: id.into(),
            old,
            new,
        };
        place.apply(&store, vec![Update::Renamed(renamed)]).await;
    }
    for (name, want) in [
        ("US.1", Some(before(30))),
        ("1777", Some(before(30))),
        ("1555", None),
        ("1666", None),
        ("1888", None),
    ] {
        assert_eq!(opened(&store, name).await, want, "{name}");
    }
}

async fn a_window_that_meta_calls_closed_is_closed_until_the_next_message(place: Place) {
    let store = place.open().await;
    place.open_window(&store, 60).await;
    let sent = place.send(&store, 1).await;
    let mut refused = settlement("rejected", Next::Failed(crate::cloud_api::failure(131_047)));
    refused.closes_window = true;
    settle(&store, &sent, &refused).await;
    let margin = Duration::from_secs(5);
    let window = store.window("10", "15551234567").await.unwrap().unwrap();
    assert!(!window.is_open(place.clock.now(), margin));
    place.clock.advance(Duration::from_secs(10));
    let now = place.clock.now();
    let customer = named("15551234567", None);
    place.inbound(&store, "wamid.N", customer, now).await;
    let window = store.window("10", "15551234567").await.unwrap().unwrap();
    assert!(window.is_open(now, margin));
}

async fn a_refusal_is_remembered_where_no_window_was_known_and_where_names_meet(place: Place) {
    let store = place.open().await;
    let new = place.template_to(1, "+15551230009");
    store.insert(new, None).await.unwrap();
    let sent = store.take(1).await.unwrap().remove(0);
    let mut refused = settlement("rejected", Next::Failed(crate::cloud_api::failure(131_047)));
    refused.closes_window = true;
    settle(&store, &sent, &refused).await;
    let by_id = named("", Some("US.1"));
    place.inbound(&store, "wamid.1", by_id, before(30)).await;
    // The two names turn out to be one customer's.
    let both = Names {
        phone: Some("15551230009".into()),
        id: Some("US.1".into()),
    };
    place.inbound(&store, "wamid.2", both, before(40)).await;
    let window = store.window("10", "15551230009").await.unwrap().unwrap();
    assert_eq!(window.opened(), before(30));
    assert!(
        !window.is_open(NOW, Duration::ZERO),
        "Meta refused after that"
    );
}

async fn the_number_that_answers_may_differ_from_the_one_that_was_dialled(place: Place) {
    let store = place.open().await;
    let new = place.template_to(1, "+5511987654321");
    store.insert(new, None).await.unwrap();
    let sent = store.take(1).await.unwrap().remove(0);
    let mut taken = accepted("wamid.A");
    taken.recipient = named("551187654321", Some("BR.9"));
    settle(&store, &sent, &taken).await;
    let answers = named("551187654321", None);
    place.inbound(&store, "wamid.1", answers, before(9)).await;
    for name in ["5511987654321", "551187654321", "BR.9"] {
        assert_eq!(opened(&store, name).await, Some(before(9)), "{name}");
    }
}

async fn an_import_fills_what_was_never_seen(place: Place) {
    let store = place.open().await;
    let knowledge = store.knowledge().await.unwrap();
    assert_eq!(
        (knowledge.started_at, knowledge.imported_at),
        (Some(NOW), None)
    );
    place.open_window(&store, 60).await;
    let imported = [("1555", before(5)), ("15551234567", before(500))];
    let windows = imported.map(|(phone, opened_at)| ImportedWindow {
        phone_number_id: "10".into(),
        phone: Some(phone.into()),
        user_id: None,
        opened_at,
    });
    assert_eq!(store.import(windows.into()).await.unwrap(), 2);
    assert_eq!(opened(&store, "1555").await, Some(before(5)));
    assert_eq!(
        opened(&store, "15551234567").await,
        Some(before(60)),
        "the later counts"
    );
    assert_eq!(store.knowledge().await.unwrap().imported_at, Some(NOW));
    let nobody = Names::default();
    place.inbound(&store, "wamid.9", nobody, NOW).await;
}

async fn opened(store: &Database, name: &str) -> Option<Timestamp> {
    let window = store.window("10", name).await.unwrap();
    window.map(Window::opened)
}

fn before(seconds: u64) -> Timestamp {
    NOW.before(Duration::from_secs(seconds))
}
