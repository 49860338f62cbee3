//! Meta's webhooks: whether one is genuine, and what its updates say.
//!
//! The signature is over the bytes as they came. Meta escapes them in ways that no other
//! writer of JSON repeats, so a body that was parsed and written again would never match.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use vestibule::clock::Timestamp;

use super::failure;
use crate::config::Secret;
use crate::delivery::{Inbound, Names, Renamed, Status, Update};
use crate::message::State;
use crate::window::{self, EventTime, Rules};

/// What a body says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What is to be done: inbound events first, and each kind in the order of its ids, so
    /// that two who work off bodies at once lock rows in one order.
    pub updates: Vec<Update>,
    /// How many updates could not be understood, or named no moment.
    pub skipped: usize,
    /// How many words and fields came that nobody here knows.
    pub unknown: usize,
    /// How many events lay in the future.
    pub skewed: usize,
}

/// Whether `X-Hub-Signature-256` was made with one of these secrets over these bytes.
///
/// There are two secrets while one is being rotated. A header that is absent or
/// malformed is refused like a wrong one.
pub fn is_genuine(signature: Option<&[u8]>, body: &[u8], secrets: &[Secret]) -> bool {
    let Some(signature) = signature
        .and_then(|header| header.strip_prefix(b"sha256="))
        .and_then(|digits| hex::decode(digits).ok())
    else {
        return false;
    };
    // Every secret is tried, so that the time taken does not tell which one matched.
    secrets.iter().fold(false, |matched, secret| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .expect("HMAC takes keys of any length")
            .chain_update(body);
        matched | mac.verify_slice(&signature).is_ok()
    })
}

/// Whether this is the token that Meta was given to verify the endpoint with.
pub fn is_verified(token: &str, expected: &Secret) -> bool {
    token.as_bytes().ct_eq(expected.expose().as_bytes()).into()
}

/// Reads the updates of a body, each for itself: one that is not understood never loses
/// the others.
pub fn parse(body: &[u8], received: Timestamp, rules: Rules) -> Parsed {
    let mut reader = Reader {
        received,
        rules,
        parsed: Parsed::default(),
    };
    match serde_json::from_slice::<Value>(body) {
        Ok(body) => reader.body(&body),
        Err(_) => reader.parsed.skipped += 1,
    }
    reader
        .parsed
        .updates
        .sort_by(|one, other| order(one).cmp(&order(other)));
    reader.parsed
}

/// Reads a body.
struct Reader {
    received: Timestamp,
    rules: Rules,
    parsed: Parsed,
}

/// A value of one change, and the number it is about.
#[derive(Clone, Copy)]
struct Scene<'a> {
    value: &'a Value,
    number: &'a str,
}

// === impl Reader ===

impl Reader {
    fn body(&mut self, body: &Value) {
        for change in each(body, "entry").flat_map(|entry| each(entry, "changes")) {
            let value = &change["value"];
            let number = value["metadata"]["phone_number_id"].as_str();
            let scene = number.map(|number| Scene { value, number });
            match change["field"].as_str() {
                Some("messages") => self.messages(value, scene),
                Some("calls") => self.calls(value, scene),
                Some(field) if OTHER_FIELDS.contains(&field) => {}
                _ => self.parsed.unknown += 1,
            }
        }
    }

    fn messages(&mut self, value: &Value, scene: Option<Scene<'_>>) {
        for message in each(value, "messages") {
            let read = scene.and_then(|scene| self.message(scene, message));
            self.take(read);
        }
        for status in each(value, "statuses") {
            match status["status"].as_str().map(State::from_status) {
                // Meta has words that change nothing, and may get more.
                Some(None) => self.parsed.unknown += 1,
                _ => {
                    let read = scene.and_then(|scene| self.status(scene, status));
                    self.take(read);
                }
            }
        }
        // Trouble of the whole account: it is about no message.
        self.parsed.unknown += each(value, "errors").count();
    }

    /// A call opens the window when the customer makes it, answered or not, and when the
    /// customer accepts one of the business.
    fn calls(&mut self, value: &Value, scene: Option<Scene<'_>>) {
        for call in each(value, "calls") {
            let is_customers = call["direction"] == "USER_INITIATED" && call["event"] == "connect";
            if is_customers {
                let read = scene.and_then(|scene| self.call(scene, call, "from"));
                self.take(read);
            }
        }
        for status in each(value, "statuses") {
            if status["status"] == "ACCEPTED" {
                let read = scene.and_then(|scene| self.call(scene, status, "recipient_id"));
                self.take(read);
            }
        }
    }

    fn message(&mut self, scene: Scene<'_>, message: &Value) -> Option<Update> {
        let (id, kind) = (message["id"].as_str()?, message["type"].as_str()?);
        if kind == "system" {
            return renamed(scene, id, message);
        }
        let opens = message.get("group_id").is_none()
            && window::is_opened_by(kind, message["unsupported"]["type"].as_str(), self.rules);
        let opened = match opens {
            true => Some(self.moment(&message["timestamp"])?),
            false => None,
        };
        let user = scene.names(message["from"].as_str(), message["from_user_id"].as_str());
        (user != Names::default()).then(|| scene.inbound(id, user, opened))
    }

    fn call(&mut self, scene: Scene<'_>, call: &Value, phone: &str) -> Option<Update> {
        let id = call["id"].as_str()?;
        let opened = self.moment(&call["timestamp"])?;
        let user_id = ["from_user_id", "recipient_user_id"]
            .into_iter()
            .find_map(|name| call[name].as_str());
        let user = scene.names(call[phone].as_str(), user_id);
        (user != Names::default()).then(|| scene.inbound(id, user, Some(opened)))
    }

    fn status(&mut self, scene: Scene<'_>, status: &Value) -> Option<Update> {
        let wamid = status["id"].as_str()?;
        let state = State::from_status(status["status"].as_str()?)?;
        // A status without a usable time still moves the message: at the time it came.
        let at = self.moment(&status["timestamp"]);
        let code = (state == State::Failed).then(|| {
            let code = status["errors"][0]["code"].as_u64().unwrap_or_default();
            u32::try_from(code).unwrap_or_default()
        });
        Some(Update::Status(Status {
            phone_number_id: scene.number.into(),
            wamid: wamid.into(),
            token: status["biz_opaque_callback_data"].as_str().map(Into::into),
            recipient: scene.names(
                status["recipient_id"].as_str(),
                status["recipient_user_id"].as_str(),
            ),
            state,
            at: at.map_or(self.received, |time| time.at),
            code,
            failure: code.map(failure),
        }))
    }

    fn moment(&mut self, stamp: &Value) -> Option<EventTime> {
        let time = EventTime::parse(stamp.as_str()?, self.received)?;
        self.parsed.skewed += usize::from(time.is_skewed);
        Some(time)
    }

    fn take(&mut self, read: Option<Update>) {
        match read {
            Some(update) => self.parsed.updates.push(update),
            None => self.parsed.skipped += 1,
        }
    }
}

// === impl Scene ===

impl Scene<'_> {
    /// A customer's names: the one that an update gives, and the one beside it in `contacts`,
    /// where that is about the same customer.
    fn names(&self, phone: Option<&str>, id: Option<&str>) -> Names {
        let contact = each(self.value, "contacts").find(|contact| {
            let is_same = |name: &str, given: Option<&str>| {
                given.is_some() && contact[name].as_str() == given
            };
            is_same("wa_id", phone) || is_same("user_id", id)
        });
        let beside = |name: &str| contact.and_then(|contact| contact[name].as_str());
        Names {
            phone: phone.or_else(|| beside("wa_id")).and_then(name),
            id: id.or_else(|| beside("user_id")).and_then(name),
        }
    }

    fn inbound(&self, id: &str, user: Names, opened: Option<EventTime>) -> Update {
        Update::Inbound(Inbound {
            phone_number_id: self.number.into(),
            id: id.into(),
            user,
            opened,
        })
    }
}

/// A customer tells of another number or another id; other system messages tell nothing.
fn renamed(scene: Scene<'_>, id: &str, message: &Value) -> Option<Update> {
    let system = &message["system"];
    let user = scene.names(message["from"].as_str(), message["from_user_id"].as_str());
    let (old, new) = match system["type"].as_str()? {
        "user_changed_number" => {
            let phone = system["wa_id"].as_str().and_then(name);
            let new = Names {
                phone,
                id: user.id.clone(),
            };
            (user, new)
        }
        "user_changed_user_id" => {
            let old = Names {
                phone: user.phone.clone(),
                id: system["previous_user_id"].as_str().and_then(name),
            };
            let now = system["user_id"].as_str().and_then(name);
            let new = Names {
                id: now.or_else(|| user.id.clone()),
                ..user
            };
            (old, new)
        }
        _ => return Some(scene.inbound(id, user, None)),
    };
    Some(Update::Renamed(Renamed {
        phone_number_id: scene.number.into(),
        id: id.into(),
        old,
        new,
    }))
}

/// A name as it is kept; what is longer than any name of Meta's is none.
fn name(text: &str) -> Option<Box<str>> {
    (1..=NAME_MAX).contains(&text.len()).then(|| text.into())
}

/// By what updates are sorted: the kind, the number, the id.
fn order(update: &Update) -> (u8, &str, &str) {
    match update {
        Update::Inbound(inbound) => (0, &inbound.phone_number_id, &inbound.id),
        Update::Renamed(renamed) => (1, &renamed.phone_number_id, &renamed.id),
        Update::Status(status) => (2, &status.phone_number_id, &status.wamid),
    }
}

fn each<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

/// Fields that an app may be subscribed to, and that say nothing to this service.
const OTHER_FIELDS: [&str; 11] = [
    "account_alerts",
    "account_update",
    "business_capability_update",
    "history",
    "message_template_quality_update",
    "message_template_status_update",
    "phone_number_quality_update",
    "smb_app_state_sync",
    "smb_message_echoes",
    "standby",
    "user_preferences",
];

/// Meta's ids of users have some 130 characters at most.
const NAME_MAX: usize = 256;

#[cfg(test)]
mod tests;
