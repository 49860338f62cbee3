//! The conversations as the page shows them: bounded, the newest of everything.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use serde_json::Value;
use vestibule::clock::Timestamp;

use crate::world::{Number, User};

/// The newest messages of the newest conversations.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    conversations: HashMap<Key, Conversation>,
    written: u64,
}

/// Whose conversation: a business number and a user id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) pnid: String,
    pub(super) user: String,
}

#[derive(Debug)]
struct Conversation {
    user: Value,
    entries: VecDeque<Entry>,
    last_written: u64,
}

/// One message.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Entry {
    wamid: String,
    from: Side,
    #[serde(rename = "type")]
    kind: String,
    text: String,
    at_ms: u64,
    /// Of a message of the business.
    status: Option<Progress>,
    /// Why it failed.
    error: Option<Value>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Business,
    Customer,
}

/// How far a message of the business has come; whatever the order in which apps are told,
/// it goes up only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Progress {
    Accepted,
    Sent,
    Delivered,
    Read,
    Failed,
}

// === impl Chronicle ===

impl Chronicle {
    /// Writes a message, unless it is there already: a customer's may come twice.
    pub(super) fn write(&mut self, key: Key, user: Value, entry: Entry) -> bool {
        if !self.conversations.contains_key(&key) {
            self.make_room();
        }
        self.written += 1;
        let conversation = self.conversations.entry(key).or_insert(Conversation {
            user: Value::Null,
            entries: VecDeque::new(),
            last_written: 0,
        });
        conversation.user = user;
        conversation.last_written = self.written;
        conversation.write(entry)
    }

    /// Notes a status; returns the message where that changed it.
    pub(super) fn advance(
        &mut self,
        key: &Key,
        wamid: &str,
        status: Progress,
        error: Option<Value>,
    ) -> Option<&Entry> {
        let conversation = self.conversations.get_mut(key)?;
        let mut entries = conversation.entries.iter_mut().rev();
        let entry = entries.find(|entry| entry.wamid == wamid)?;
        if entry.status.is_some_and(|reached| reached >= status) {
            return None;
        }
        entry.status = Some(status);
        entry.error = error;
        Some(entry)
    }

    /// Every conversation that is kept: whose it is, the user, and the messages, oldest first.
    pub(super) fn conversations(
        &self,
    ) -> impl Iterator<Item = (&Key, &Value, impl Iterator<Item = &Entry>)> {
        let kept = self.conversations.iter();
        kept.map(|(key, kept)| (key, &kept.user, kept.entries.iter()))
    }

    fn make_room(&mut self) {
        if self.conversations.len() < MAX_CONVERSATIONS {
            return;
        }
        let kept = self.conversations.iter();
        let oldest = kept.min_by_key(|(_, kept)| kept.last_written);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            self.conversations.remove(&oldest);
        }
    }
}

// === impl Key ===

impl Key {
    pub(super) fn new(number: &Number, user: &User) -> Self {
        Self {
            pnid: number.id.clone(),
            user: user.user_id(),
        }
    }
}

// === impl Conversation ===

impl Conversation {
    fn write(&mut self, entry: Entry) -> bool {
        if self.entries.iter().any(|kept| kept.wamid == entry.wamid) {
            return false;
        }
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        true
    }
}

// === impl Entry ===

impl Entry {
    /// A message of the business that was just accepted.
    pub(super) fn sent(wamid: &str, kind: &str, text: String, at: Timestamp) -> Self {
        Self {
            status: Some(Progress::Accepted),
            from: Side::Business,
            ..Self::written(wamid, kind, text, at)
        }
    }

    /// A message of a customer.
    pub(super) fn written(wamid: &str, kind: &str, text: String, at: Timestamp) -> Self {
        Self {
            wamid: wamid.to_owned(),
            from: Side::Customer,
            kind: kind.to_owned(),
            text,
            at_ms: at.as_unix_millis(),
            status: None,
            error: None,
        }
    }
}

// === impl Progress ===

impl Progress {
    /// Reads the word of a status; there are words that tell nothing of progress.
    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "sent" => Some(Self::Sent),
            "delivered" => Some(Self::Delivered),
            "read" | "played" => Some(Self::Read),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }
}

/// As many phones as a screen can show, many times over.
const MAX_CONVERSATIONS: usize = 100;

/// Of one conversation: with the text of each cut short, all of them take some 20 MB at most.
const MAX_ENTRIES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_goes_up_only() {
        let mut chronicle = Chronicle::default();
        chronicle.write(key(1), Value::Null, sent(1));
        for (word, moves) in [
            ("sent", true),
            ("read", true),
            ("delivered", false),
            ("read", false),
            ("failed", true),
            ("read", false),
        ] {
            let status = Progress::of(word).unwrap();
            let moved = chronicle.advance(&key(1), "w1", status, None);
            assert_eq!(moved.is_some(), moves, "{word}");
        }
    }

    #[test]
    fn a_status_of_what_is_not_kept_changes_nothing() {
        let mut chronicle = Chronicle::default();
        chronicle.write(key(1), Value::Null, sent(1));
        for (key, wamid) in [(key(1), "w2"), (key(2), "w1")] {
            let moved = chronicle.advance(&key, wamid, Progress::Read, None);
            assert!(moved.is_none(), "{key:?} {wamid}");
        }
    }

    #[test]
    fn a_message_that_comes_twice_is_written_once() {
        let mut chronicle = Chronicle::default();
        for is_new in [true, false] {
            assert_eq!(chronicle.write(key(1), Value::Null, sent(1)), is_new);
        }
    }

    #[test]
    fn the_oldest_messages_and_conversations_make_room() {
        let mut chronicle = Chronicle::default();
        for number in 0..=MAX_ENTRIES {
            chronicle.write(key(0), Value::Null, sent(number));
        }
        for user in 1..MAX_CONVERSATIONS {
            chronicle.write(key(user), Value::Null, sent(0));
        }
        let (_, _, entries) = chronicle
            .conversations()
            .find(|(k, ..)| **k == key(0))
            .unwrap();
        let kept: Vec<&str> = entries.map(|entry| &*entry.wamid).collect();
        assert_eq!((kept.len(), kept[0]), (MAX_ENTRIES, "w1"));
        chronicle.write(key(MAX_CONVERSATIONS), Value::Null, sent(0));
        let users: Vec<&Key> = chronicle.conversations().map(|(key, ..)| key).collect();
        assert_eq!(users.len(), MAX_CONVERSATIONS);
        assert!(
            !users.contains(&&key(0)),
            "the first one was written to the longest ago"
        );
    }

    fn key(user: usize) -> Key {
        Key {
            pnid: "n".to_owned(),
            user: format!("u{user}"),
        }
    }

    fn sent(number: usize) -> Entry {
        let wamid = format!("w{number}");
        Entry::sent(&wamid, "text", String::new(), Timestamp::EPOCH)
    }
}
