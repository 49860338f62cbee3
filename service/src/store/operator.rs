//! What an operator asks of the store, and what it is told.

use vestibule::clock::Timestamp;

use super::StoreError;
use crate::delivery::Hold;
use crate::message::{Message, MessageId, Policy, State};

/// What an operator asks for.
pub trait Operator: Clone + Send + Sync + 'static {
    /// The newest messages that match.
    fn list(&self, filter: Filter) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// The attempts at a message, first to last.
    fn attempts(
        &self,
        id: MessageId,
    ) -> impl Future<Output = Result<Vec<Attempt>, StoreError>> + Send;

    /// Puts a message that has failed into the queue again; one of which nobody knows
    /// whether it was sent only where twice is better than never.
    fn retry(
        &self,
        id: MessageId,
        even_twice: bool,
    ) -> impl Future<Output = Result<Steered, StoreError>> + Send;

    /// Takes a message that waits out of the queue.
    fn cancel(&self, id: MessageId) -> impl Future<Output = Result<Steered, StoreError>> + Send;

    /// Opens windows as another system knew them; returns how many.
    fn import(
        &self,
        windows: Vec<ImportedWindow>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// What is held, and why.
    fn holds(&self) -> impl Future<Output = Result<Vec<Hold>, StoreError>> + Send;

    /// Lifts one hold, or all of them; returns how many.
    fn release(
        &self,
        scope: Option<Box<str>>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// Which messages an operator asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this one.
    pub id: Option<MessageId>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Only what this request caused.
    pub correlation_id: Option<Box<str>>,
    /// Only those to this number.
    pub to: Option<Box<str>>,
    /// At most so many.
    pub max: u32,
}

/// A message as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What its owner sees.
    pub message: Message,
    /// Meta's id of the number that sends.
    pub phone_number_id: Box<str>,
    /// The request that caused it.
    pub correlation_id: Box<str>,
    /// The trace of that request.
    pub traceparent: Option<Box<str>>,
    /// What becomes of it when nobody can tell whether it was sent.
    pub policy: Policy,
    /// How many attempts there were.
    pub attempts: u32,
    /// How often Meta has put it off.
    pub refusals: u32,
    /// When it is due, while it waits.
    pub not_before: Option<Timestamp>,
    /// When it is not worth sending any more.
    pub expires_at: Timestamp,
    /// When its text and its recipient were dropped.
    pub purged_at: Option<Timestamp>,
}

/// One attempt at a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1.
    pub n: u32,
    /// When it was recorded.
    pub started_at: Timestamp,
    /// When its outcome was known.
    pub ended_at: Option<Timestamp>,
    /// Its outcome in one word.
    pub outcome: Option<Box<str>>,
    /// Meta's code.
    pub code: Option<u32>,
    /// The status of Meta's answer.
    pub http_status: Option<u16>,
    /// What Meta's support asks for.
    pub fbtrace_id: Option<Box<str>>,
}

/// What became of an operator's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steered {
    /// It is done.
    Done,
    /// Its text is gone, so it cannot be sent.
    Purged,
    /// The message is in a state in which that is not done.
    Refused(State),
    /// There is no such message.
    Unknown,
}

/// A window as another system knew it.
#[derive(Clone, PartialEq, Eq)]
pub struct ImportedWindow {
    /// Meta's id of the number.
    pub phone_number_id: Box<str>,
    /// The digits of the customer's number.
    pub phone: Option<Box<str>>,
    /// Meta's id of the customer.
    pub user_id: Option<Box<str>>,
    /// When the customer last wrote.
    pub opened_at: Timestamp,
}

// === impl ImportedWindow ===

impl std::fmt::Debug for ImportedWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportedWindow")
            .field("phone_number_id", &self.phone_number_id)
            .field("opened_at", &self.opened_at)
            .finish_non_exhaustive()
    }
}
