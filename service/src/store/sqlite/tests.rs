//! The steps of the store against real files.

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;
use vestibule::clock::{Clock, Timestamp};
use vestibule::testing::{CountingEntropy, ManualClock};
use vestibule::{Claim, Fingerprint};

use super::*;
use crate::delivery::{Departure, Settlement, Status, Update};
use crate::message::{Content, Failure, Message, MessageId, State};
use crate::recipient::PhoneNumber;
use crate::store::{Insertion, Intake, Kept, Ledger, NewMessage, Once, Queue};
use crate::window::{EventTime, Window};

#[tokio::test(flavor = "multi_thread")]
async fn one_key_makes_one_message_however_many_come_at_once() {
    let place = Place::new();
    let store = place.open().await;
    let tries = (0..200).map(|n| {
        let (store, new, once) = (store.clone(), place.message(n), place.once("key", n));
        tokio::spawn(async move { store.insert(new, Some(once)).await.unwrap() })
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
    assert_eq!(
        store.take(500).await.unwrap().len(),
        0,
        "a text without a window"
    );
}

#[tokio::test]
async fn a_key_is_kept_for_longer_than_a_day_and_not_for_ever() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(place.insert_keyed(&store, 1).await, Insertion::Inserted);
    for (hours, wants_repeat) in [(24, true), (1, false)] {
        place.clock.advance(Duration::from_secs(hours * 3600));
        let kept = store.kept("live:fam", b"key").await.unwrap();
        assert_eq!(kept.is_some(), wants_repeat, "after another {hours} h");
        let again = place.insert_keyed(&store, 10 + hours).await;
        assert_eq!(
            matches!(again, Insertion::Repeated(_)),
            wants_repeat,
            "{again:?}"
        );
    }
}

#[tokio::test]
async fn nothing_is_inserted_once_the_lease_has_ended() {
    let place = Place::new();
    let store = place.open().await;
    let once = place.once("key", 1);
    place.clock.advance(LEASE);
    let new = place.message(1);
    let id = new.message.id;
    let insertion = store.insert(new, Some(once)).await.unwrap();
    assert_eq!(insertion, Insertion::LeaseEnded);
    assert_eq!(store.message(id).await.unwrap(), None);
    assert_eq!(store.kept("live:fam", b"key").await.unwrap(), None);
}

#[tokio::test]
async fn a_repeat_after_the_lease_still_gets_the_first_answer() {
    let place = Place::new();
    let store = place.open().await;
    let late = place.once("key", 2);
    place.insert_keyed(&store, 1).await;
    place.clock.advance(LEASE);
    let insertion = store.insert(place.message(2), Some(late)).await.unwrap();
    let Insertion::Repeated(kept) = insertion else {
        panic!("{insertion:?}");
    };
    assert_eq!(
        (&*kept.correlation_id, &*kept.body),
        ("req_1", &b"body 1"[..])
    );
}

#[tokio::test]
async fn a_step_that_fails_takes_back_only_itself() {
    let place = Place::new();
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

#[tokio::test]
async fn what_was_accepted_is_there_after_a_restart() {
    let place = Place::new();
    let new = place.message(1);
    let want = new.message.clone();
    place
        .open()
        .await
        .insert(new, Some(place.once("key", 1)))
        .await
        .unwrap();
    let store = place.open().await;
    assert_eq!(store.message(want.id).await.unwrap(), Some(want));
    assert!(store.kept("live:fam", b"key").await.unwrap().is_some());
}

#[tokio::test]
async fn commits_wait_for_the_disk() {
    let store = Place::new().open().await;
    let pragmas = store
        .writer
        .write("pragmas", |connection| {
            Box::pin(async move {
                let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
                    .fetch_one(&mut *connection)
                    .await?;
                let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
                    .fetch_one(connection)
                    .await?;
                Ok((mode, synchronous))
            })
        })
        .await;
    assert_eq!(pragmas.unwrap(), ("wal".to_owned(), 2));
}

#[tokio::test]
async fn an_attempt_is_recorded_before_it_is_made_and_found_after_a_crash() {
    let place = Place::new();
    let id;
    {
        let store = place.open().await;
        place.open_window(&store, 0).await;
        id = place.send(&store, 1).await.message;
        assert_eq!(place.state(&store, id).await, State::Dispatching);
    }
    let store = place.open().await;
    assert_eq!(store.recover().await.unwrap(), 1);
    assert_eq!(place.state(&store, id).await, State::Uncertain);
    assert_eq!(store.recover().await.unwrap(), 0, "once is enough");
    assert_eq!(
        store.take(10).await.unwrap().len(),
        0,
        "it is never sent again"
    );
}

#[tokio::test]
async fn messages_are_taken_when_they_fall_due() {
    let place = Place::new();
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let sent = place.send(&store, 1).await;
    let due = place.clock.now() + Duration::from_secs(5);
    let settled = settlement("rejected", State::RetryWait);
    let settled = Settlement {
        code: Some(130_429),
        not_before: Some(due),
        ..settled
    };
    store.settle(&sent, &settled).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), Some(due));
    assert_eq!(store.take(10).await.unwrap().len(), 0);
    place.clock.advance(Duration::from_secs(5));
    let again = store.take(10).await.unwrap().remove(0);
    assert_eq!((again.attempt, again.refusals), (2, 1));
    assert_ne!(again.token, sent.token);
    assert_eq!(store.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_text_whose_window_closed_meanwhile_has_failed() {
    let place = Place::new();
    let store = place.open().await;
    place.open_window(&store, 0).await;
    let new = place.message(1);
    let id = new.message.id;
    store.insert(new, None).await.unwrap();
    place.clock.advance(Duration::from_secs(86_396));
    assert_eq!(store.take(10).await.unwrap().len(), 0);
    let failed = store.message(id).await.unwrap().unwrap();
    assert_eq!(failed.state, State::Failed);
    assert_eq!(failed.failure.unwrap().code, "window_closed");
    assert_eq!(failed.failed_at, Some(place.clock.now()));
}

#[tokio::test]
async fn a_token_adopts_an_attempt_that_nobody_knew_the_outcome_of() {
    for (status, want) in [
        ("sent", State::Sent),
        ("failed", State::Failed),
        ("read", State::Read),
    ] {
        let place = Place::new();
        let store = place.open().await;
        place.open_window(&store, 0).await;
        let sent = place.send(&store, 1).await;
        let unknown = settlement("unknown", State::Uncertain);
        store.settle(&sent, &unknown).await.unwrap();
        place
            .status(&store, "wamid.A", Some(&sent.token), status)
            .await;
        let message = store.message(sent.message).await.unwrap().unwrap();
        assert_eq!(message.state, want);
        assert_eq!(message.wamid.as_deref(), Some("wamid.A"), "{status}");
        // From here on the id alone is enough.
        place.status(&store, "wamid.A", None, "delivered").await;
        assert!(place.state(&store, sent.message).await >= State::Delivered);
    }
}

#[tokio::test]
async fn a_status_may_come_before_the_answer() {
    for has_token in [true, false] {
        let place = Place::new();
        let store = place.open().await;
        place.open_window(&store, 0).await;
        let sent = place.send(&store, 1).await;
        let token = has_token.then_some(&*sent.token);
        place.status(&store, "wamid.A", token, "delivered").await;
        let wamid = Some("wamid.A".into());
        let accepted = Settlement {
            wamid,
            ..settlement("accepted", State::Submitted)
        };
        store.settle(&sent, &accepted).await.unwrap();
        let state = place.state(&store, sent.message).await;
        assert_eq!(state, State::Delivered, "with a token: {has_token}");
    }
}

#[tokio::test]
async fn statuses_in_any_order_end_alike() {
    let words = ["sent", "delivered", "failed", "read"];
    let mut ends = Vec::new();
    for turns in 0..words.len() {
        let place = Place::new();
        let store = place.open().await;
        place.open_window(&store, 0).await;
        let sent = place.send(&store, 1).await;
        let mut order = words.to_vec();
        order.rotate_left(turns);
        order.extend(words);
        for word in order {
            place
                .status(&store, "wamid.A", Some(&sent.token), word)
                .await;
        }
        ends.push(store.message(sent.message).await.unwrap().unwrap());
    }
    assert_eq!(ends[0].state, State::Read);
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
}

#[tokio::test]
async fn a_status_of_nobodys_message_is_parked_for_a_while() {
    let place = Place::new();
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

#[tokio::test]
async fn a_late_message_never_reopens_a_window() {
    let place = Place::new();
    let store = place.open().await;
    for (ago, want) in [(3600, 3600), (60, 60), (7200, 60)] {
        place.open_window(&store, ago).await;
        let opened = NOW.as_unix_millis() - want * 1000;
        assert_eq!(
            store.window("10", "15551234567").await.unwrap(),
            Some(Window::opened_at(Timestamp::from_unix_millis(opened))),
            "{ago} s ago"
        );
    }
    assert_eq!(store.window("11", "15551234567").await.unwrap(), None);
}

#[tokio::test]
async fn a_backlog_waits_in_order_until_it_is_worked_off() {
    let place = Place::new();
    let first = {
        let store = place.open().await;
        store
            .append(Bytes::from_static(b"first \xff"))
            .await
            .unwrap();
        store.append(Bytes::from_static(b"second")).await.unwrap();
        let backlog = store.backlog(10).await.unwrap();
        assert_eq!(backlog.len(), 2);
        backlog[0].clone()
    };
    let store = place.open().await;
    assert_eq!(&*first.body, b"first \xff");
    store.apply(first.seq, vec![]).await.unwrap();
    let left = store.backlog(10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(&*left[0].body, b"second");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let place = Place::new();
    let store = place.open().await;
    let (release, held) = tokio::sync::oneshot::channel::<()>();
    let held = store.writer.write_in_turn("held", move |_| {
        Box::pin(async move {
            drop(held.await);
            Ok(())
        })
    });
    let (refused, held) = tokio::join!(
        async {
            // As many as wait and as are taken at once, and then one more.
            let mut waiting = tokio::task::JoinSet::new();
            let refused = loop {
                let (store, body) = (store.clone(), Bytes::from_static(b"{}"));
                waiting.spawn(async move { store.append(body).await });
                tokio::task::yield_now().await;
                if let Some(ended) = waiting.try_join_next() {
                    break ended.unwrap();
                }
            };
            release.send(()).unwrap();
            while let Some(ended) = waiting.join_next().await {
                ended.unwrap().unwrap();
            }
            refused
        },
        held
    );
    assert!(refused.unwrap_err().is_overload());
    held.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = Place::new();
    std::fs::write(
        place.folder.path().join("m.db"),
        "no database, but long enough",
    )
    .unwrap();
    let path = place.folder.path().join("m.db");
    let opened = Sqlite::open(&path, place.clock.shared(), CountingEntropy::shared()).await;
    assert!(opened.is_err());
}

/// A folder, and a clock that stands still.
struct Place {
    folder: TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::at(NOW),
        }
    }

    async fn open(&self) -> Sqlite {
        let path = self.folder.path().join("m.db");
        Sqlite::open(&path, self.clock.shared(), CountingEntropy::shared())
            .await
            .unwrap()
    }

    fn message(&self, n: u64) -> NewMessage {
        let now = self.clock.now();
        let content = Content::text("hello").unwrap();
        NewMessage {
            message: Message {
                id: MessageId::mint(NOW, n.into()),
                account: "acme".into(),
                agent_id: Uuid::nil(),
                to: PhoneNumber::parse("+15551234567").unwrap(),
                kind: content.kind(),
                state: State::Queued,
                wamid: None,
                failure: None,
                created_at: now,
                sent_at: None,
                failed_at: None,
            },
            phone_number_id: "10".into(),
            content,
            correlation_id: format!("req_{n}").into(),
            expires_at: now + Duration::from_secs(86_400),
        }
    }

    fn once(&self, key: &'static str, n: u64) -> Once {
        Once {
            caller: "live:fam".into(),
            claim: Claim::new(
                Bytes::from_static(key.as_bytes()),
                Fingerprint::from_bytes([7; 32]),
                self.clock.now() + LEASE,
                n.into(),
            ),
            response: Kept {
                fingerprint: Fingerprint::from_bytes([7; 32]),
                status: 202,
                body: format!("body {n}").into(),
                correlation_id: format!("req_{n}").into(),
            },
        }
    }

    async fn insert_keyed(&self, store: &Sqlite, n: u64) -> Insertion {
        store
            .insert(self.message(n), Some(self.once("key", n)))
            .await
            .unwrap()
    }

    /// Inserts a text and takes it from the queue.
    async fn send(&self, store: &Sqlite, n: u64) -> Departure {
        store.insert(self.message(n), None).await.unwrap();
        store.take(1).await.unwrap().remove(0)
    }

    async fn state(&self, store: &Sqlite, id: MessageId) -> State {
        store.message(id).await.unwrap().unwrap().state
    }

    async fn open_window(&self, store: &Sqlite, seconds_ago: u64) {
        let at = Timestamp::from_unix_millis(NOW.as_unix_millis() - seconds_ago * 1000);
        let opened = Update::Inbound {
            phone_number_id: "10".into(),
            user: "15551234567".into(),
            opened: EventTime {
                at,
                is_skewed: false,
            },
        };
        self.apply(store, opened).await;
    }

    async fn status(&self, store: &Sqlite, wamid: &str, token: Option<&str>, word: &str) {
        let state = State::from_status(word).unwrap();
        let status = Update::Status(Status {
            wamid: wamid.into(),
            token: token.map(Into::into),
            state,
            at: NOW,
            failure: (state == State::Failed).then(|| Failure {
                code: "undeliverable".into(),
                message: "It cannot be delivered.".into(),
            }),
        });
        self.apply(store, status).await;
    }

    async fn apply(&self, store: &Sqlite, update: Update) {
        store.append(Bytes::from_static(b"{}")).await.unwrap();
        let seq = store.backlog(1).await.unwrap()[0].seq;
        store.apply(seq, vec![update]).await.unwrap();
    }
}

fn settlement(outcome: &'static str, state: State) -> Settlement {
    Settlement {
        outcome,
        code: None,
        wamid: None,
        state,
        not_before: None,
        failure: None,
    }
}

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const LEASE: Duration = Duration::from_secs(10);
