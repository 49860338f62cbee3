//! What the service keeps, as the steps that it is made of.
//!
//! Each method is one transaction: it happened whole, or not at all, and what it permits
//! (an answer to a caller, a connection to Meta) is done only after it is on disk. There
//! is one trait for each part of the service that keeps something, and [`Store`] is all of
//! them. Where two steps race, the store's own time and its unique constraints decide.

mod database;
mod error;
mod operator;
mod postgres;
mod schema;
mod sql;
mod sqlite;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use vestibule::clock::Timestamp;
use vestibule::{Claim, Fingerprint};

pub use self::database::{Address, Database};
pub use self::error::StoreError;
pub use self::operator::{Attempt, Entry, Filter, ImportedWindow, Operator, Steered};
use crate::cloud_api::TokenKey;
use crate::delivery::{Departure, Ended, Lines, Update};
use crate::message::{Content, Message, MessageId, Policy, State};
use crate::metrics::Metrics;
use crate::recipient::PhoneNumber;
use crate::window::{Knowledge, Window};

/// Everything that the service asks of a store.
pub trait Store: Ledger + Queue + Intake + Upkeep {}

impl<S: Ledger + Queue + Intake + Upkeep> Store for S {}

/// What was accepted, and under which keys.
///
/// The API's handlers call it. A lost row here is a message that was promised and never
/// sent, or sent twice. When the store is away the caller is told so, and nothing happened.
pub trait Ledger: Clone + Send + Sync + 'static {
    /// The first response to this caller's key, while it is kept.
    fn kept(
        &self,
        caller: &str,
        key: &[u8],
    ) -> impl Future<Output = Result<Option<Kept>, StoreError>> + Send;

    /// Inserts a message, together with the claim on its key where there is one (T1).
    ///
    /// Of all who come with one key exactly one inserts, and only while its lease runs.
    fn insert(
        &self,
        message: NewMessage,
        once: Option<Once>,
    ) -> impl Future<Output = Result<Insertion, StoreError>> + Send;

    /// The message of this id.
    fn message(
        &self,
        id: MessageId,
    ) -> impl Future<Output = Result<Option<Message>, StoreError>> + Send;

    /// The window between a number and a customer, under any name of the customer, if it
    /// was ever opened.
    fn window(
        &self,
        phone_number_id: &str,
        user: &str,
    ) -> impl Future<Output = Result<Option<Window>, StoreError>> + Send;

    /// How much the deployment can know of windows that it never saw open.
    fn knowledge(&self) -> impl Future<Output = Result<Knowledge, StoreError>> + Send;
}

/// The messages that wait to be sent.
///
/// The delivery worker calls it. A step that is repeated changes nothing; a step that is
/// lost leaves an attempt without an outcome, whose lease ends.
pub trait Queue: Clone + Send + Sync + 'static {
    /// When the next message may leave, if any waits that may leave by itself.
    fn next_due(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// Takes up to so many due messages: the attempt at each is recorded, and those that
    /// may not be sent any more have failed.
    fn take(&self, max: usize) -> impl Future<Output = Result<Vec<Departure>, StoreError>> + Send;

    /// Writes down what came of attempts, of all or of none, and answers in their order;
    /// what a webhook has told already stands.
    fn settle(
        &self,
        ended: Arc<[Ended]>,
    ) -> impl Future<Output = Result<Vec<Settled>, StoreError>> + Send;
}

/// The log of webhooks, and what it does to messages and windows.
///
/// The endpoint appends and a worker works off. A webhook that is acknowledged and lost
/// is never sent again, so `append` returns only once the body is on disk.
pub trait Intake: Clone + Send + Sync + 'static {
    /// Appends a body.
    fn append(&self, body: Bytes) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether bodies wait to be appended that came while others were.
    fn is_pressed(&self) -> bool;

    /// The oldest bodies that were not worked off, so many at most.
    fn backlog(&self, max: u32) -> impl Future<Output = Result<Vec<Webhook>, StoreError>> + Send;

    /// Does what bodies say, each update for itself, and marks the bodies as worked off.
    fn apply(&self, told: Vec<Told>) -> impl Future<Output = Result<Applied, StoreError>> + Send;
}

/// What is done now and then.
///
/// Every replica does it; each step finds what the others have left.
pub trait Upkeep: Clone + Send + Sync + 'static {
    /// Makes every attempt uncertain whose owner is gone; returns how many (T9).
    fn recover(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Gives up what its time is over for (T12, T13, T16, T17).
    fn reconcile(&self) -> impl Future<Output = Result<Reconciled, StoreError>> + Send;

    /// Drops a part of what has outlived its use; returns how many rows.
    fn sweep(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// By which rules a store takes, keeps and forgets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The numbers that send.
    pub lines: Arc<Lines>,
    /// What makes the token of an attempt.
    pub token_key: TokenKey,
    /// For how long an attempt is its taker's: longer than it can take.
    pub lease: Duration,
    /// For how long an uncertain attempt may be confirmed.
    pub confirm_within: Duration,
    /// For how long texts and phone numbers are kept.
    pub keep_content: Duration,
    /// Whether Meta is asked where a window is not known.
    pub allows_unknown_window: bool,
    /// Where it is counted what is decided inside of a step.
    pub metrics: Metrics,
}

/// A message that is to be inserted.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// What its owner will see of it.
    pub message: Message,
    /// Whom it goes to.
    pub to: PhoneNumber,
    /// Meta's id of the number that sends.
    pub phone_number_id: Box<str>,
    /// What it says.
    pub content: Content,
    /// The request that caused it.
    pub correlation_id: Box<str>,
    /// The trace of that request (W3C Trace Context).
    pub traceparent: Option<Box<str>>,
    /// What becomes of it when nobody can tell whether it was sent.
    pub policy: Policy,
    /// Whether it waits until those before it, to the same customer, have arrived.
    pub in_order: bool,
    /// When it is not worth sending any more.
    pub expires_at: Timestamp,
    /// How long Meta tries to deliver it.
    pub lasts: Duration,
}

/// The claim on a key, stored with the message it is for.
#[derive(Clone)]
pub struct Once {
    /// Environment and key family.
    pub caller: Box<str>,
    /// The claim.
    pub claim: Claim,
    /// The response to keep.
    pub response: Kept,
}

/// The first response to a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// What was asked for.
    pub fingerprint: Fingerprint,
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
    /// The request that was executed.
    pub correlation_id: Box<str>,
}

/// What an insert came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// The message is there.
    Inserted,
    /// The lease had ended, or the claim was another's by then; nothing was inserted.
    LeaseEnded,
    /// The key was used before; nothing was inserted.
    Repeated(Kept),
}

/// A webhook's body, as it came.
#[derive(Clone)]
pub struct Webhook {
    /// Its place in the log.
    pub seq: i64,
    /// The bytes.
    pub body: Bytes,
    /// When it came.
    pub received_at: Timestamp,
}

/// What a webhook's body says.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its place in the log.
    pub seq: i64,
    /// What it says.
    pub updates: Vec<Update>,
}

/// What the outcome of an attempt came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Where the message stands.
    pub state: Option<State>,
    /// Whether Meta has it twice.
    pub is_duplicate: bool,
    /// How many holds were lifted.
    pub lifted: u64,
}

/// What webhooks came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Bodies that were worked off; others were another replica's.
    pub bodies: u64,
    /// Messages that got somewhere.
    pub changes: Vec<Change>,
    /// How long each uncertain attempt took that was confirmed.
    pub reconciled: Vec<Duration>,
    /// Windows that were opened, or opened again.
    pub opened: u64,
    /// Updates that had come before.
    pub repeated: u64,
    /// Statuses that came after a later one.
    pub ignored: u64,
    /// Statuses of messages that nobody knows.
    pub orphans: u64,
    /// Messages that Meta has twice.
    pub duplicates: u64,
}

/// What time alone came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Messages that were given up, or wait again.
    pub changes: Vec<Change>,
    /// Attempts that nobody confirmed in time.
    pub given_up: u64,
    /// Messages that are being confirmed.
    pub uncertain: u64,
    /// Statuses that wait for a message.
    pub orphans: u64,
    /// How long the oldest webhook has waited.
    pub lag: Duration,
    /// Messages that wait to be sent.
    pub waiting: u64,
}

/// A message that got somewhere, and the request that caused it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which message.
    pub message: MessageId,
    /// Where it stands now.
    pub state: State,
    /// The request.
    pub correlation_id: Box<str>,
    /// The trace of that request.
    pub traceparent: Option<Box<str>>,
}

// === impl Once ===

impl std::fmt::Debug for Once {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Once")
            .field("caller", &self.caller)
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}

// === impl Kept ===

impl Kept {
    /// The response as the layers keep it.
    pub fn to_http(&self) -> Response<Bytes> {
        let mut response = Response::new(self.body.clone());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::ACCEPTED);
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("status", &self.status)
            .field("correlation_id", &self.correlation_id)
            .finish_non_exhaustive()
    }
}

// === impl Applied ===

impl Applied {
    /// What this and more came to.
    pub(crate) fn add(&mut self, more: Self) {
        self.bodies += more.bodies;
        self.changes.extend(more.changes);
        self.reconciled.extend(more.reconciled);
        self.opened += more.opened;
        self.repeated += more.repeated;
        self.ignored += more.ignored;
        self.orphans += more.orphans;
        self.duplicates += more.duplicates;
    }
}

// === impl Webhook ===

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("seq", &self.seq)
            .field("received_at", &self.received_at)
            .finish_non_exhaustive()
    }
}
