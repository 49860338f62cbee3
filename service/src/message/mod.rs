//! A message and its life: the states it passes through and what a caller is shown of them.

mod progress;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use uuid::Uuid;
use vestibule::clock::Timestamp;

pub use self::progress::{Next, Progress};
use crate::recipient::PhoneNumber;
use crate::template::Template;

/// The name of one message, made here when it is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Uuid);

/// A message as its owner may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// The account that sent it.
    pub account: Box<str>,
    /// The agent that sent it.
    pub agent_id: Uuid,
    /// Whom it goes to, until that is purged.
    pub to: Option<PhoneNumber>,
    /// Text or template.
    pub kind: Kind,
    /// How far it has come.
    pub state: State,
    /// Meta's id for it, once it has one.
    pub wamid: Option<Box<str>>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When Meta took it.
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
    /// When it was read or played.
    pub read_at: Option<Timestamp>,
    /// When it failed.
    pub failed_at: Option<Timestamp>,
}

/// What is to be sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// Free-form text: only inside the customer-service window.
    Text {
        /// The text.
        body: Box<str>,
    },
    /// An approved template: at any time.
    Template(Template),
}

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Made from an approved template.
    Template,
    /// Free-form text.
    Text,
}

/// What becomes of a message when nobody can tell whether Meta took it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// It has failed: never twice.
    #[default]
    AtMostOnce,
    /// It is sent again: rather twice than never.
    AtLeastOnce,
}

/// How far a message has come.
///
/// The order is the lattice in which webhooks move it: a status is applied by taking the
/// greater one, so neither their order nor their repetition matters. Proof of delivery
/// beats a failure that another device of the customer reported, a failure beats `sent`,
/// and any sign of life beats not having known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Accepted, waiting to be sent.
    Queued,
    /// Waiting until it may be tried again.
    RetryWait,
    /// Waiting until its number, account or token may send again.
    Blocked,
    /// An attempt was recorded and has no outcome yet.
    Dispatching,
    /// An attempt may have reached Meta: only a webhook can tell.
    Uncertain,
    /// Meta took it.
    Submitted,
    /// Nothing was heard of an uncertain attempt in time.
    OutcomeUnknown,
    /// Meta gave up delivering it.
    Expired,
    /// Meta sent it on.
    Sent,
    /// Refused, by Meta or here.
    Failed,
    /// On the customer's device.
    Delivered,
    /// Seen by the customer.
    Read,
    /// A voice message that was played.
    Played,
}

/// Why a message failed, in words of ours that stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The word that clients branch on.
    pub code: Cow<'static, str>,
    /// The sentence for people.
    pub message: Cow<'static, str>,
}

/// A message in JSON, field by field as the contract lists them (contract §9).
#[derive(Debug, Serialize)]
pub struct View<'a> {
    id: String,
    status: &'static str,
    agent_id: String,
    to: &'a str,
    #[serde(rename = "type")]
    kind: Kind,
    platform_message_id: Option<&'a str>,
    created_at: String,
    sent_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_at: Option<String>,
    failed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct FailureView<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_safe: Option<bool>,
}

// === impl MessageId ===

impl MessageId {
    /// Mints a version 7 UUID: ids of one moment lie together in the store.
    pub fn mint(now: Timestamp, entropy: u128) -> Self {
        let random = entropy.to_le_bytes();
        let random = random.first_chunk().expect("16 bytes have a first 10");
        Self(uuid::Builder::from_unix_timestamp_millis(now.as_unix_millis(), random).into_uuid())
    }

    /// Reads an id as callers write it.
    pub fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    /// The id as a UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// The id as it is kept.
    pub const fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<Uuid> for MessageId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Message ===

impl Message {
    /// What a caller is shown; the recipient is left out of what is merely read, unless
    /// the deployment wants it there (contract §9).
    pub fn view(&self, shows_recipient: bool) -> View<'_> {
        let has_failed = self.state.public() == FAILED;
        let failure = self.failure.as_ref().filter(|_| has_failed);
        View {
            id: self.id.to_string(),
            status: self.state.public(),
            agent_id: self.agent_id.to_string(),
            to: self
                .to
                .as_ref()
                .filter(|_| shows_recipient)
                .map_or("", PhoneNumber::as_str),
            kind: self.kind,
            platform_message_id: self.wamid.as_deref(),
            created_at: rfc3339(self.created_at),
            sent_at: self.sent_at.map(rfc3339),
            // What was read has arrived, and Meta may say only the one.
            delivered_at: self.delivered_at.or(self.read_at).map(rfc3339),
            read_at: self.read_at.map(rfc3339),
            failed_at: self.failed_at.filter(|_| has_failed).map(rfc3339),
            error: failure.map(|failure| FailureView {
                code: &failure.code,
                message: &failure.message,
                retry_safe: (self.state == State::OutcomeUnknown).then_some(false),
            }),
            detail: (self.state == State::Uncertain).then_some("confirming"),
        }
    }
}

// === impl Content ===

impl Content {
    /// Text or template.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Text { .. } => Kind::Text,
            Self::Template(_) => Kind::Template,
        }
    }

    /// Free-form text of 1 to 4096 characters (Unicode scalar values).
    pub fn text(body: &str) -> Option<Self> {
        let fits = !body.is_empty() && body.chars().nth(TEXT_MAX).is_none();
        fits.then(|| Self::Text { body: body.into() })
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What people write to one another belongs in no log.
        write!(f, "Content::{:?}", self.kind())
    }
}

// === impl Kind ===

impl Kind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Text => "text",
        }
    }

    /// Reads the word for it.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Template, Self::Text]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

// === impl Policy ===

impl Policy {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtMostOnce => "at_most_once",
            Self::AtLeastOnce => "at_least_once",
        }
    }

    /// Reads the word for it.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::AtMostOnce, Self::AtLeastOnce]
            .into_iter()
            .find(|policy| policy.as_str() == word)
    }
}

// === impl State ===

impl State {
    /// Every state, in the order of the lattice.
    pub const ALL: [Self; 13] = [
        Self::Queued,
        Self::RetryWait,
        Self::Blocked,
        Self::Dispatching,
        Self::Uncertain,
        Self::Submitted,
        Self::OutcomeUnknown,
        Self::Expired,
        Self::Sent,
        Self::Failed,
        Self::Delivered,
        Self::Read,
        Self::Played,
    ];

    /// The word under which it is kept.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::RetryWait => "retry_wait",
            Self::Blocked => "blocked",
            Self::Dispatching => "dispatching",
            Self::Uncertain => "uncertain",
            Self::Submitted => "submitted",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Expired => "expired",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Played => "played",
        }
    }

    /// Reads the word under which it is kept.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// The state that a status webhook speaks of; Meta has words that change nothing.
    pub fn from_status(word: &str) -> Option<Self> {
        match word {
            "sent" => Some(Self::Sent),
            "delivered" => Some(Self::Delivered),
            "read" => Some(Self::Read),
            "played" => Some(Self::Played),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }

    /// The word that callers see (contract §9).
    pub const fn public(self) -> &'static str {
        match self {
            Self::Queued
            | Self::RetryWait
            | Self::Blocked
            | Self::Dispatching
            | Self::Uncertain => "queued",
            Self::Submitted | Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read | Self::Played => "read",
            Self::OutcomeUnknown | Self::Expired | Self::Failed => FAILED,
        }
    }

    /// Where a message in this state stands after a webhook that speaks of `other`.
    #[must_use]
    pub fn advanced_to(self, other: Self) -> Self {
        self.max(other)
    }
}

/// Reads a UUID in its hyphenated form, the only one that the contract shows.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == uuid::fmt::Hyphenated::LENGTH)
        .then(|| Uuid::parse_str(text).ok())
        .flatten()
}

/// RFC 3339, UTC, whole seconds, `Z` (contract §9).
pub(crate) fn rfc3339(at: Timestamp) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let seconds = i64::try_from(at.as_unix_seconds()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(&FORMAT)
        .expect("a moment of UTC has each of these parts")
}

const FAILED: &str = "failed";

/// Meta's cap on a text.
const TEXT_MAX: usize = 4096;

#[cfg(test)]
mod tests;
