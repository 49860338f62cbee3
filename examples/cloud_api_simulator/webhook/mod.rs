//! Webhooks: what happened, as Meta writes, escapes, signs, sends and re-sends it.

pub(crate) mod log;
mod payload;
mod retry;
mod sender;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use vestibule::clock::Timestamp;

use crate::graph::Recipient;
use crate::status::Word;
use crate::world::{Category, Number, User};

pub(crate) use self::sender::{Sender, Verification, pump};

/// What is due later.
#[derive(Debug)]
pub(crate) enum Job {
    /// Something happened: tell every subscribed app.
    Emit(Event),
    /// Post this to one app.
    Post(Delivery),
}

/// Something that apps are told of.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) number: Number,
    pub(crate) user: User,
    pub(crate) matter: Matter,
    /// Told when an app has answered with success.
    pub(crate) heard: Option<Arc<Notify>>,
}

/// What an event is about.
#[derive(Clone, Debug)]
pub(crate) enum Matter {
    /// The user wrote: `messages[0]`, complete.
    Message(Map<String, Value>),
    /// A message of the business moved on.
    Status(Status),
}

/// How a message of the business moved on.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) wamid: String,
    pub(crate) word: Word,
    pub(crate) at: Timestamp,
    pub(crate) recipient: Recipient,
    pub(crate) opaque: Option<String>,
    pub(crate) error: Option<u32>,
    pub(crate) is_priced: bool,
    pub(crate) category: Option<Category>,
    pub(crate) is_window_open: bool,
}

/// One webhook on its way to one app; a retry sends the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) app: String,
    pub(crate) pnid: String,
    /// The phone number and the user id.
    pub(crate) user: [String; 2],
    pub(crate) body: Bytes,
    /// Attempts so far, all of them in vain.
    pub(crate) failures: u32,
    /// When it was first due.
    pub(crate) since: Timestamp,
    /// The reset after which it was made; a later reset forgets it.
    pub(crate) epoch: u64,
    pub(crate) heard: Option<Arc<Notify>>,
}

// === impl Event ===

impl Event {
    /// The phone number and the user id, as faults name the user.
    pub(crate) fn addresses(&self) -> [String; 2] {
        [
            self.user.wa_id.clone().unwrap_or_default(),
            self.user.user_id(),
        ]
    }

    /// The body of the webhook for an app.
    pub(crate) fn body(&self, has_conversations: bool) -> Bytes {
        wire::escape(&payload::envelope(self, has_conversations).to_string()).into()
    }
}
