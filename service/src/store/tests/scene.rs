//! A database of either engine, a clock that stands still, and a message that is sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;
use vestibule::clock::{Clock as _, Timestamp};
use vestibule::entropy::SystemEntropy;
use vestibule::testing::ManualClock;
use vestibule::testing::server::PostgresServer;
use vestibule::{Claim, Fingerprint};

use crate::cloud_api::TokenKey;
use crate::config::Secret;
use crate::delivery::{
    Departure, Ended, Inbound, LASTS, Line, Lines, Names, QUEUE_MAX, Settlement, Status, Update,
};
use crate::message::{Content, Failure, Message, MessageId, Next, Policy, State};
use crate::metrics::Metrics;
use crate::recipient::PhoneNumber;
use crate::store::{
    Address, Applied, Database, Insertion, Intake as _, Kept, Ledger as _, NewMessage, Once,
    Queue as _, Settings, Settled, Told,
};
use crate::window::EventTime;

/// A database of a test's own.
pub(super) struct Place {
    pub(super) clock: ManualClock,
    pub(super) address: Address,
    /// What the settings of the next handle are changed by.
    pub(super) change: fn(&mut Settings),
    /// What every handle counts in.
    pub(super) metrics: Metrics,
    _folder: TempDir,
    _server: Option<Arc<PostgresServer>>,
}

// === impl Place ===

impl Place {
    pub(super) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            clock: ManualClock::at(NOW),
            address: Address::File(folder.path().join("m.db")),
            change: |_| {},
            metrics: Metrics::new(),
            _folder: folder,
            _server: None,
        }
    }

    pub(super) fn postgres() -> Self {
        let server = PostgresServer::shared();
        Self {
            clock: ManualClock::at(NOW),
            address: Address::parse(&server.database()),
            change: |_| {},
            metrics: Metrics::new(),
            _folder: tempfile::tempdir().unwrap(),
            _server: Some(server),
        }
    }

    /// A handle to the database: another replica where the engine has any.
    pub(super) async fn open(&self) -> Database {
        let mut settings = Settings {
            lines: Arc::new(Lines::new("t", [line()])),
            token_key: TokenKey::derived_from(&Secret::new("an app's secret")),
            lease: LEASE,
            confirm_within: CONFIRM,
            keep_content: Duration::from_secs(30 * 86_400),
            allows_unknown_window: false,
            metrics: self.metrics.clone(),
        };
        (self.change)(&mut settings);
        let (clock, entropy) = (self.clock.shared(), SystemEntropy::shared());
        Database::open(&self.address, settings, clock, entropy)
            .await
            .unwrap()
    }

    pub(super) fn message(&self, n: u64) -> NewMessage {
        let now = self.clock.now();
        let content = Content::text("hello").unwrap();
        let to = PhoneNumber::parse("+15551234567").unwrap();
        NewMessage {
            message: Message {
                id: MessageId::mint(NOW, u128::from(n) << 24),
                account: "acme".into(),
                agent_id: Uuid::nil(),
                to: Some(to.clone()),
                kind: content.kind(),
                state: State::Queued,
                wamid: None,
                failure: None,
                created_at: now,
                sent_at: None,
                delivered_at: None,
                read_at: None,
                failed_at: None,
            },
            to,
            phone_number_id: "10".into(),
            content,
            correlation_id: format!("req_{n}").into(),
            traceparent: None,
            policy: Policy::AtMostOnce,
            in_order: false,
            expires_at: now + QUEUE_MAX,
            lasts: LASTS,
        }
    }

    /// The same to another customer, whose window does not matter.
    pub(super) fn template_to(&self, n: u64, to: &str) -> NewMessage {
        let template =
            serde_json::from_str(r#"{"type":"template","name":"hello","language":"en"}"#);
        let content: Content = template.unwrap();
        let to = PhoneNumber::parse(to).unwrap();
        let mut new = self.message(n);
        new.message.kind = content.kind();
        new.message.to = Some(to.clone());
        NewMessage { to, content, ..new }
    }

    pub(super) fn once(&self, key: &'static str, n: u64) -> Once {
        Once {
            caller: "live:fam".into(),
            claim: Claim::new(
                Bytes::from_static(key.as_bytes()),
                Fingerprint::from_bytes([7; 32]),
                self.clock.now() + CLAIM,
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

    pub(super) async fn insert_keyed(&self, store: &Database, n: u64) -> Insertion {
        store
            .insert(self.message(n), Some(self.once("key", n)))
            .await
            .unwrap()
    }

    /// Inserts a text in an open window and takes it from the queue.
    pub(super) async fn send(&self, store: &Database, n: u64) -> Departure {
        store.insert(self.message(n), None).await.unwrap();
        let mut taken = store.take(1).await.unwrap();
        assert_eq!(taken.len(), 1, "message {n} is taken");
        taken.remove(0)
    }

    pub(super) async fn open_window(&self, store: &Database, seconds_ago: u64) {
        let at = Timestamp::from_unix_millis(NOW.as_unix_millis() - seconds_ago * 1000);
        let id = format!("wamid.I{seconds_ago}");
        self.inbound(store, &id, named("15551234567", None), at)
            .await;
    }

    pub(super) async fn inbound(
        &self,
        store: &Database,
        id: &str,
        user: Names,
        at: Timestamp,
    ) -> Applied {
        let inbound = Update::Inbound(Inbound {
            phone_number_id: "10".into(),
            id: id.into(),
            user,
            opened: Some(EventTime {
                at,
                is_skewed: false,
            }),
        });
        self.apply(store, vec![inbound]).await
    }

    pub(super) async fn status(
        &self,
        store: &Database,
        wamid: &str,
        token: Option<&str>,
        word: &str,
    ) -> Applied {
        let status = Update::Status(status(wamid, token, word, None));
        self.apply(store, vec![status]).await
    }

    pub(super) async fn apply(&self, store: &Database, updates: Vec<Update>) -> Applied {
        store.append(Bytes::from_static(b"{}")).await.unwrap();
        let seq = store.backlog(1).await.unwrap()[0].seq;
        store.apply(vec![told(seq, updates)]).await.unwrap()
    }
}

pub(super) fn told(seq: i64, updates: Vec<Update>) -> Told {
    Told { seq, updates }
}

pub(super) async fn state(store: &Database, id: MessageId) -> State {
    store.message(id).await.unwrap().unwrap().state
}

pub(super) fn status(wamid: &str, token: Option<&str>, word: &str, code: Option<u32>) -> Status {
    let state = State::from_status(word).unwrap();
    Status {
        phone_number_id: "10".into(),
        wamid: wamid.into(),
        token: token.map(Into::into),
        recipient: Names::default(),
        state,
        at: NOW,
        code,
        failure: (state == State::Failed).then(|| Failure {
            code: "undeliverable".into(),
            message: "It cannot be delivered.".into(),
        }),
    }
}

pub(super) fn named(phone: &str, id: Option<&str>) -> Names {
    Names {
        phone: (!phone.is_empty()).then(|| phone.into()),
        id: id.map(Into::into),
    }
}

/// Writes down what came of one attempt.
pub(super) async fn settle(
    store: &Database,
    departure: &Departure,
    settlement: &Settlement,
) -> Settled {
    let ended = Ended {
        departure: departure.clone(),
        settlement: settlement.clone(),
    };
    store.settle(Arc::new([ended])).await.unwrap().remove(0)
}

pub(super) fn accepted(wamid: &str) -> Settlement {
    Settlement {
        wamid: Some(wamid.into()),
        ..settlement("accepted", Next::Submitted)
    }
}

pub(super) fn settlement(outcome: &'static str, next: Next) -> Settlement {
    Settlement {
        outcome,
        refusal: None,
        wamid: None,
        recipient: Names::default(),
        next,
        strike: None,
        pair_until: None,
        is_too_fast: false,
        closes_window: false,
    }
}

pub(super) fn line() -> Line {
    Line {
        phone_number_id: "10".into(),
        account: "1".into(),
        token: "t".into(),
        per_second: 1000,
        burst: 45,
    }
}

pub(super) const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
pub(super) const LEASE: Duration = Duration::from_secs(45);
pub(super) const CLAIM: Duration = Duration::from_secs(10);
pub(super) const CONFIRM: Duration = Duration::from_secs(600);
