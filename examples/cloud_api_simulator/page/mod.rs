//! The page: every customer's phone in a browser, and the events that keep it current.
//!
//! Whatever happens in the simulator tells the [`Page`] of it under the same lock. It keeps
//! the conversations ([`chronicle`]) and tells the open pages ([`hub`]); [`watch`] tells them
//! what changes without an event of its own. A page that opens, or that cannot follow, gets
//! the whole [`picture`].

mod chronicle;
mod events;
mod files;
mod hub;
mod picture;
mod watch;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use vestibule::clock::Timestamp;

use self::chronicle::{Chronicle, Entry, Key, Progress};
use self::hub::Hub;
use crate::graph::{Message, error};
use crate::simulator::Simulator;
use crate::webhook::{Event, Matter};
use crate::world::World;

pub(crate) use self::watch::watch;

/// What the page knows, and who has it open.
#[derive(Debug, Default)]
pub(crate) struct Page {
    chronicle: Chronicle,
    hub: Hub,
}

/// The page and its events; they belong to the control plane.
pub(crate) fn routes() -> Router<Arc<Simulator>> {
    files::routes().route("/__sim/events", get(events::stream))
}

// === impl Page ===

impl Page {
    /// The business has sent a message, and Meta accepted it.
    pub(crate) fn sent(
        &mut self,
        message: &Message,
        wamid: &str,
        body: &[u8],
        world: &World,
        now: Timestamp,
    ) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let content = &body[&message.kind];
        let template = words::template(content, &message.number.waba, world);
        let text = words::of(&message.kind, content, template);
        let key = Key::new(&message.number, &message.user);
        self.write(key, Entry::sent(wamid, &message.kind, text, now), || {
            picture::user(&message.user)
        });
    }

    /// A customer has written.
    pub(crate) fn wrote(&mut self, event: &Event) {
        let Matter::Message(message) = &event.matter else {
            return;
        };
        let field = |name: &str| message.get(name).and_then(Value::as_str);
        let kind = field("type").unwrap_or_default();
        let text = words::of(kind, message.get(kind).unwrap_or(&Value::Null), None);
        let seconds = field("timestamp").and_then(|seconds| seconds.parse().ok());
        let at = crate::window::event_time(seconds.unwrap_or_default());
        let wamid = field("id").unwrap_or_default();
        let key = Key::new(&event.number, &event.user);
        self.write(key, Entry::written(wamid, kind, text, at), || {
            picture::user(&event.user)
        });
    }

    /// Apps are told of a status: from here on the business knows it.
    pub(crate) fn heard(&mut self, event: &Event) {
        let Matter::Status(status) = &event.matter else {
            return;
        };
        let Some(word) = Progress::of(status.word.as_str()) else {
            return;
        };
        let key = Key::new(&event.number, &event.user);
        let error = status.error.map(error::in_status);
        if let Some(entry) = self.chronicle.advance(&key, &status.wamid, word, error) {
            let moved = json!({"pnid": key.pnid, "user": key.user, "message": entry});
            self.hub.tell("status", &moved);
        }
    }

    /// The same without its conversations; open pages begin anew.
    pub(crate) fn emptied(mut self) -> Self {
        self.chronicle = Chronicle::default();
        self.hub.begin_anew();
        self
    }

    fn write(&mut self, key: Key, entry: Entry, user: impl FnOnce() -> Value) {
        let user = user();
        let told = json!({"pnid": key.pnid, "user": user, "message": entry});
        if self.chronicle.write(key, user, entry) {
            self.hub.tell("message", &told);
        }
    }
}

#[cfg(test)]
mod tests;
