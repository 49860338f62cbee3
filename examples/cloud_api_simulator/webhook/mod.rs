//! Webhooks: what happened, as Meta writes, gathers, escapes, signs, sends and re-sends it.

mod batch;
mod forgery;
pub(crate) mod log;
mod payload;
mod queue;
mod retry;
mod sender;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use vestibule::clock::Timestamp;

use crate::fault::Subject;
use crate::graph::Recipient;
use crate::status::Word;
use crate::world::{Category, Number, User};

#[cfg(test)]
pub(crate) use self::payload::value;
pub(crate) use self::queue::Queue;
pub(crate) use self::sender::{Sender, Verification, pump};

/// What is due later.
#[derive(Debug)]
pub(crate) enum Job {
    /// Something happened: tell every subscribed app.
    Emit(Event),
    /// An app is told: alone, or together with what else there is to tell.
    Tell(String, Update),
    /// What has gathered for an app waits no longer.
    Close(String, u64),
    /// Post this to one app.
    Post(Delivery),
    /// Look again whether parked webhooks may go.
    Release,
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
    /// A call.
    Call(Call),
}

/// What there is to tell of a call, complete.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// The user calls: `calls[0]`.
    Begins(Map<String, Value>),
    /// A call of the business moved on: `statuses[0]`.
    Moves(Map<String, Value>),
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
    pub(crate) is_lite: bool,
}

/// Whom an update is about, as faults name it.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) pnid: String,
    /// The phone number and the user id.
    pub(crate) user: [String; 2],
    /// The type of a message, or the word of a status.
    pub(crate) kind: String,
    pub(crate) heard: Option<Arc<Notify>>,
}

/// One event, written for one app.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) about: About,
    pub(crate) waba: String,
    pub(crate) field: &'static str,
    pub(crate) value: Value,
}

/// One webhook on its way to one app; a retry sends the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) app: String,
    pub(crate) about: Vec<About>,
    /// What it is made of, where that is more than one update.
    pub(crate) parts: Vec<Update>,
    pub(crate) body: Bytes,
    /// Attempts so far, all of them in vain.
    pub(crate) failures: u32,
    /// When it was first due.
    pub(crate) since: Timestamp,
    /// The reset after which it was made; a later reset forgets it.
    pub(crate) epoch: u64,
}

// === impl Event ===

impl Event {
    /// Whom it is about.
    pub(crate) fn about(&self) -> About {
        About {
            pnid: self.number.id.clone(),
            user: [
                self.user.wa_id.clone().unwrap_or_default(),
                self.user.user_id(),
            ],
            kind: self.kind().to_owned(),
            heard: self.heard.clone(),
        }
    }

    fn kind(&self) -> &str {
        match &self.matter {
            Matter::Message(message) => message["type"].as_str().unwrap_or_default(),
            Matter::Status(status) => status.word.as_str(),
            Matter::Call(_) => "call",
        }
    }

    /// The field that an app subscribes to for it.
    pub(crate) const fn field(&self) -> &'static str {
        match &self.matter {
            Matter::Message(_) | Matter::Status(_) => "messages",
            Matter::Call(_) => "calls",
        }
    }
}

// === impl About ===

impl About {
    /// What a fault is held against.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            pnid: &self.pnid,
            user: self.user.each_ref().map(String::as_str),
            kind: &self.kind,
        }
    }
}

// === impl Delivery ===

impl Delivery {
    /// A webhook with these updates, due now.
    pub(crate) fn of(app: String, updates: Vec<Update>, now: Timestamp, epoch: u64) -> Self {
        let body = wire::escape(&payload::envelope(&updates).to_string()).into();
        let about = updates.iter().map(|update| update.about.clone()).collect();
        Self {
            app,
            about,
            parts: if updates.len() > 1 {
                updates
            } else {
                Vec::new()
            },
            body,
            failures: 0,
            since: now,
            epoch,
        }
    }

    /// Its updates as webhooks of their own, each as often tried.
    pub(crate) fn split(self) -> Vec<Self> {
        if self.parts.is_empty() {
            return vec![self];
        }
        let alone = |part| Self {
            failures: self.failures,
            ..Self::of(self.app.clone(), vec![part], self.since, self.epoch)
        };
        self.parts.into_iter().map(alone).collect()
    }
}
