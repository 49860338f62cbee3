//! What the service keeps, as the steps that it is made of.
//!
//! Each method is one transaction: it happened whole, or not at all, and what it permits
//! (an answer to a caller, a connection to Meta) is done only after it is on disk. There
//! is one trait for each part of the service that keeps something, and [`Store`] is all of
//! them. Where two steps race, the store's own time and its unique constraints decide.

mod sqlite;

use std::error::Error;
use std::future::Future;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use vestibule::clock::Timestamp;
use vestibule::{Claim, Fingerprint};

pub use self::sqlite::Sqlite;
use crate::delivery::{Departure, Settlement, Update};
use crate::message::{Content, Message, MessageId};
use crate::window::Window;

/// Everything that the service asks of a store.
pub trait Store: Ledger + Queue + Intake {}

impl<S: Ledger + Queue + Intake> Store for S {}

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

    /// Inserts a message, together with the claim on its key where there is one.
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

    /// The window between a number and a customer, if it was ever opened.
    fn window(
        &self,
        phone_number_id: &str,
        user: &str,
    ) -> impl Future<Output = Result<Option<Window>, StoreError>> + Send;
}

/// The messages that wait to be sent.
///
/// The delivery worker calls it. A step that is repeated changes nothing; a step that is
/// lost leaves an attempt without an outcome, which the next start finds.
pub trait Queue: Clone + Send + Sync + 'static {
    /// Makes every attempt without an outcome an uncertain one; returns how many.
    ///
    /// Called once, before the first message is taken.
    fn recover(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// When the next message falls due, if any waits.
    fn next_due(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send;

    /// Takes up to so many due messages: the attempt at each is recorded, and those that
    /// may not be sent any more have failed.
    fn take(&self, max: usize) -> impl Future<Output = Result<Vec<Departure>, StoreError>> + Send;

    /// Writes down what came of an attempt, unless a webhook has told already.
    fn settle(
        &self,
        departure: &Departure,
        settlement: &Settlement,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The log of webhooks, and what it does to messages and windows.
///
/// The endpoint appends and a worker works off. A webhook that is acknowledged and lost
/// is never sent again, so `append` returns only once the body is on disk.
pub trait Intake: Clone + Send + Sync + 'static {
    /// Appends a body.
    fn append(&self, body: Bytes) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The oldest bodies that were not worked off.
    fn backlog(&self, max: u32) -> impl Future<Output = Result<Vec<Webhook>, StoreError>> + Send;

    /// Does what a body says, each update for itself, and marks the body as worked off.
    fn apply(
        &self,
        seq: i64,
        updates: Vec<Update>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Drops a part of what has outlived its use; returns how many rows.
    fn sweep(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// A message that is to be inserted.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// What its owner will see of it.
    pub message: Message,
    /// Meta's id of the number that sends.
    pub phone_number_id: Box<str>,
    /// What it says.
    pub content: Content,
    /// The request that caused it.
    pub correlation_id: Box<str>,
    /// When it is not worth sending any more.
    pub expires_at: Timestamp,
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

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct StoreError {
    step: &'static str,
    is_overload: bool,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
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

// === impl Webhook ===

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("seq", &self.seq)
            .field("received_at", &self.received_at)
            .finish_non_exhaustive()
    }
}

// === impl StoreError ===

impl StoreError {
    /// A step failed for this reason.
    pub fn failed(step: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            step,
            is_overload: false,
            cause: Some(cause.into()),
        }
    }

    /// There is no room for another step.
    pub const fn overloaded(step: &'static str) -> Self {
        Self {
            step,
            is_overload: true,
            cause: None,
        }
    }

    /// Whether the step may succeed as soon as others are done.
    pub const fn is_overload(&self) -> bool {
        self.is_overload
    }
}
