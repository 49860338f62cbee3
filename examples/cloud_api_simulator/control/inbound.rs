//! `POST /__sim/inbound`: a user writes to the business.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use vestibule::clock::Timestamp;

use super::Answered;
use super::error::Refused;
use crate::id::{self, Direction, Purpose};
use crate::ledger::without_punctuation;
use crate::simulator::Simulator;
use crate::state::State;
use crate::webhook::{Event, Job, Matter};
use crate::window;
use crate::world::{Number, User, World};

/// What a user does.
#[derive(Debug, Deserialize)]
pub(super) struct Inbound {
    /// It need not be named where there is only one number.
    pnid: Option<String>,
    /// A phone number or a user id.
    user: String,
    /// `text` where it is absent.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Unix seconds, as a number or a string; now where it is absent.
    timestamp: Option<Value>,
    /// A message id, to send the same message once more.
    id: Option<String>,
    /// The object named like the type, and whatever else the message shall carry.
    #[serde(flatten)]
    content: Map<String, Value>,
}

/// Handles the request.
pub(super) async fn receive(
    Shared(simulator): Shared<Arc<Simulator>>,
    Json(inbound): Json<Inbound>,
) -> Answered {
    let now = simulator.clock.now();
    let answer = simulator.lock().inbound(inbound, now)?;
    simulator.wake.notify_one();
    Ok(Json(answer))
}

// === impl State ===

impl State {
    /// Lets a user write: the window opens by the event's time, and apps are told at once.
    fn inbound(&mut self, inbound: Inbound, now: Timestamp) -> Result<Value, Refused> {
        let number = the_number(&self.world, inbound.pnid.as_deref())?.clone();
        let user = the_user(&self.world, &inbound.user)?;
        let timestamp = seconds(inbound.timestamp.as_ref(), now)?;
        let kind = inbound.kind.unwrap_or_else(|| "text".to_owned());
        let wamid = inbound.id.unwrap_or_else(|| self.next_inbound_wamid(&user));
        let unsupported = inbound.content.get("unsupported");
        let unsupported = unsupported.and_then(|unsupported| unsupported["type"].as_str());
        // What is said in a group opens nothing.
        let is_to_us = !inbound.content.contains_key("group_id");
        if is_to_us && window::opens_window(&kind, unsupported) {
            let at = window::event_time(timestamp);
            self.windows.touch(&number.id, &user.user_id(), at, now);
        }
        let message = message(&user, &wamid, timestamp, &kind, inbound.content)?;
        let closes_at = self.windows.closes_at(&number.id, &user.user_id());
        let answer = json!({
            "wamid": wamid,
            "timestamp": timestamp.to_string(),
            "window_open": self.windows.is_open(&number.id, &user.user_id(), now),
            "window_closes_at": closes_at.map(Timestamp::as_unix_seconds),
        });
        if let Some(quota) = self.quota(&number.id, now) {
            self.limits.charge_inbound(&number.id, &quota, now);
        }
        let event = Event {
            number,
            user,
            matter: Matter::Message(message),
            heard: None,
        };
        self.page.wrote(&event);
        self.outbox.push(now, Job::Emit(event));
        Ok(answer)
    }

    pub(super) fn next_inbound_wamid(&mut self, user: &User) -> String {
        self.inbound += 1;
        let mut random = self.seed.generator(Purpose::Inbound, self.inbound);
        id::wamid(&user.digits(), Direction::Inbound, &mut random)
    }
}

pub(super) fn the_number<'w>(world: &'w World, pnid: Option<&str>) -> Result<&'w Number, Refused> {
    let found = match (pnid, &*world.numbers) {
        (Some(pnid), _) => world.number(pnid),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    found.ok_or_else(|| {
        Refused::because("pnid: no number has it, or there is more than one and none is named")
    })
}

pub(super) fn the_user(world: &World, user: &str) -> Result<User, Refused> {
    let digits = without_punctuation(user);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(world.user(&digits));
    }
    if user.contains('.') {
        return Ok(world.user(user));
    }
    Err(Refused::because(format!(
        "user = {user:?}: neither a phone number nor a user id"
    )))
}

/// The timestamp as it will stand in the webhook.
pub(super) fn seconds(timestamp: Option<&Value>, now: Timestamp) -> Result<u64, Refused> {
    let read = match timestamp {
        None => Some(now.as_unix_seconds()),
        Some(Value::String(digits)) => digits.parse().ok(),
        Some(number) => number.as_u64(),
    };
    read.ok_or_else(|| Refused::because("timestamp: neither a whole number nor a string of digits"))
}

fn message(
    user: &User,
    wamid: &str,
    timestamp: u64,
    kind: &str,
    mut content: Map<String, Value>,
) -> Result<Map<String, Value>, Refused> {
    if let Some(Value::String(text)) = content.get("text") {
        let text = json!({"body": text});
        content.insert("text".to_owned(), text);
    }
    if !content.contains_key(kind) {
        return Err(Refused::because(format!(
            "{kind}: a message of this type needs it"
        )));
    }
    let mut message = Map::new();
    if let Some(phone) = user.shared_phone() {
        message.insert("from".to_owned(), phone.into());
    }
    message.insert("from_user_id".to_owned(), user.user_id().into());
    message.insert("id".to_owned(), wamid.into());
    message.insert("timestamp".to_owned(), timestamp.to_string().into());
    message.insert("type".to_owned(), kind.into());
    message.extend(content);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seed;
    use crate::world;

    #[test]
    fn what_a_user_writes_opens_the_window_by_its_own_time() {
        for (given, open, closes_at) in [
            (
                json!({"user": "+1 650 555-1234", "text": "hi"}),
                true,
                json!(NOW + 86_400),
            ),
            (
                json!({"user": "US.77", "text": "hi"}),
                true,
                json!(NOW + 86_400),
            ),
            (
                json!({"user": "16505551234", "text": "hi", "timestamp": NOW - 86_400}),
                false,
                json!(NOW),
            ),
            (
                json!({"user": "16505551234", "text": "hi", "timestamp": (NOW - 60).to_string()}),
                true,
                json!(NOW + 86_340),
            ),
            (
                json!({"user": "16505551234", "text": "hi", "timestamp": NOW + 9000}),
                true,
                json!(NOW + 86_400),
            ),
            (
                json!({"user": "16505551234", "type": "reaction", "reaction": {"emoji": "👍"}}),
                false,
                json!(null),
            ),
        ] {
            let answer = receive(&mut state(), &given).unwrap();
            assert_eq!(answer["window_open"], open, "{given}");
            assert_eq!(answer["window_closes_at"], closes_at, "{given}");
        }
    }

    #[test]
    fn the_message_is_written_as_meta_writes_it() {
        let mut state = state();
        let given = json!({"user": "16505551234", "text": "hi", "timestamp": 5, "context": {"id": "wamid.y"}});
        let answer = receive(&mut state, &given).unwrap();
        let Some(Job::Emit(event)) = state.outbox.pop(Timestamp::from_unix_seconds(NOW)) else {
            panic!("an event is due");
        };
        let Matter::Message(message) = event.matter else {
            panic!("it is a message");
        };
        let want = json!({
            "from": "16505551234",
            "from_user_id": event.user.user_id(),
            "id": answer["wamid"],
            "timestamp": "5",
            "type": "text",
            "text": {"body": "hi"},
            "context": {"id": "wamid.y"},
        });
        assert_eq!(Value::Object(message), want);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (given, want) in [
            (json!({"user": "somebody", "text": "hi"}), "user = "),
            (json!({"user": "1", "pnid": "gone", "text": "hi"}), "pnid: "),
            (
                json!({"user": "1", "text": "hi", "timestamp": "soon"}),
                "timestamp: ",
            ),
            (
                json!({"user": "1", "type": "image", "text": "hi"}),
                "image: ",
            ),
        ] {
            let refused = format!("{:?}", receive(&mut state(), &given).unwrap_err());
            assert!(refused.contains(want), "{given}: {refused}");
        }
    }

    fn receive(state: &mut State, given: &Value) -> Result<Value, Refused> {
        let inbound = serde_json::from_value(given.clone()).unwrap();
        state.inbound(inbound, Timestamp::from_unix_seconds(NOW))
    }

    fn state() -> State {
        let world = world::parse(include_str!("../world.toml")).unwrap();
        State::new(world, Seed::new(1))
    }

    const NOW: u64 = 1_800_000_000;
}
