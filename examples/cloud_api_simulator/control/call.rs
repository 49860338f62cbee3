//! `POST /__sim/call`: a user calls the business, or takes a call of the business.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use vestibule::clock::Timestamp;

use super::Answered;
use super::error::Refused;
use super::inbound::{seconds, the_number, the_user};
use crate::id::{self, Purpose};
use crate::simulator::Simulator;
use crate::state::State;
use crate::webhook::{Call, Event, Job, Matter};
use crate::window;
use crate::world::{Number, User};

/// Who calls whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ring {
    /// It need not be named where there is only one number.
    pnid: Option<String>,
    /// A phone number or a user id.
    user: String,
    event: Deed,
    /// Unix seconds, as a number or a string; now where it is absent.
    timestamp: Option<Value>,
}

/// What the user does; each opens the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Deed {
    /// Takes a call of the business.
    UserAccepts,
    /// Calls the business, whether or not anybody answers.
    UserCalls,
}

/// Handles the request.
pub(super) async fn ring(
    Shared(simulator): Shared<Arc<Simulator>>,
    Json(ring): Json<Ring>,
) -> Answered {
    let now = simulator.clock.now();
    let answer = simulator.lock().ring(&ring, now)?;
    simulator.wake.notify_one();
    Ok(Json(answer))
}

// === impl State ===

impl State {
    fn ring(&mut self, ring: &Ring, now: Timestamp) -> Result<Value, Refused> {
        let number = the_number(&self.world, ring.pnid.as_deref())?.clone();
        let user = the_user(&self.world, &ring.user)?;
        let timestamp = seconds(ring.timestamp.as_ref(), now)?;
        self.calls += 1;
        let mut random = self.seed.generator(Purpose::Call, self.calls);
        let call_id = id::wacid(&user.digits(), &mut random);
        let at = window::event_time(timestamp);
        self.windows.touch(&number.id, &user.user_id(), at, now);
        let closes_at = self.windows.closes_at(&number.id, &user.user_id());
        let answer = json!({
            "call_id": call_id,
            "timestamp": timestamp.to_string(),
            "window_open": self.windows.is_open(&number.id, &user.user_id(), now),
            "window_closes_at": closes_at.map(Timestamp::as_unix_seconds),
        });
        let call = match ring.event {
            Deed::UserCalls => Call::Begins(connect(&call_id, &number, &user, timestamp)),
            Deed::UserAccepts => Call::Moves(accepted(&call_id, &user, timestamp)),
        };
        let event = Event {
            number,
            user,
            matter: Matter::Call(call),
            heard: None,
        };
        self.outbox.push(now, Job::Emit(event));
        Ok(answer)
    }
}

fn connect(id: &str, number: &Number, user: &User, timestamp: u64) -> Map<String, Value> {
    let mut call = Map::new();
    call.insert("id".to_owned(), id.into());
    if let Some(phone) = user.shared_phone() {
        call.insert("from".to_owned(), phone.into());
    }
    call.insert("from_user_id".to_owned(), user.user_id().into());
    call.insert("to".to_owned(), number.display.as_str().into());
    call.insert("event".to_owned(), "connect".into());
    call.insert("timestamp".to_owned(), timestamp.to_string().into());
    call.insert("direction".to_owned(), "USER_INITIATED".into());
    let session = json!({"sdp_type": "offer", "sdp": SDP});
    call.insert("session".to_owned(), session);
    call
}

fn accepted(id: &str, user: &User, timestamp: u64) -> Map<String, Value> {
    let mut status = Map::new();
    status.insert("id".to_owned(), id.into());
    status.insert("type".to_owned(), "call".into());
    status.insert("status".to_owned(), "ACCEPTED".into());
    status.insert("timestamp".to_owned(), timestamp.to_string().into());
    if let Some(phone) = user.shared_phone() {
        status.insert("recipient_id".to_owned(), phone.into());
    }
    status.insert("recipient_user_id".to_owned(), user.user_id().into());
    status
}

/// The shortest description of a session that RFC 8866 allows; nobody can answer it.
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seed;
    use crate::world;

    #[test]
    fn a_call_opens_the_window_and_is_told_in_its_own_field() {
        for (event, list, path, want) in [
            ("user_calls", "calls", "/direction", json!("USER_INITIATED")),
            ("user_calls", "calls", "/event", json!("connect")),
            ("user_accepts", "statuses", "/status", json!("ACCEPTED")),
            ("user_accepts", "statuses", "/type", json!("call")),
        ] {
            let mut state = state();
            let answer = ring(&mut state, &json!({"user": "16505551234", "event": event}));
            let answer = answer.unwrap();
            assert_eq!(answer["window_open"], true, "{event}");
            assert_eq!(answer["window_closes_at"], NOW + 86_400);
            let Some(Job::Emit(told)) = state.outbox.pop(at(NOW)) else {
                panic!("an event is due");
            };
            assert_eq!(told.field(), "calls");
            let value = crate::webhook::value(&told, false);
            assert_eq!(value[list][0]["id"], answer["call_id"]);
            assert_eq!(value[list][0].pointer(path), Some(&want), "{event} {path}");
            assert_eq!(value["contacts"][0]["wa_id"], "16505551234");
        }
    }

    #[test]
    fn an_old_call_opens_nothing_any_more() {
        let given = json!({"user": "1", "event": "user_calls", "timestamp": NOW - 86_400});
        assert_eq!(ring(&mut state(), &given).unwrap()["window_open"], false);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (given, want) in [
            (json!({"user": "nobody", "event": "user_calls"}), "user = "),
            (
                json!({"user": "1", "pnid": "gone", "event": "user_calls"}),
                "pnid: ",
            ),
        ] {
            let refused = ring(&mut state(), &given).unwrap_err();
            assert!(
                format!("{refused:?}").contains(want),
                "{given}: {refused:?}"
            );
        }
        let given = json!({"user": "1", "event": "user_hums"});
        assert!(serde_json::from_value::<Ring>(given).is_err());
    }

    fn ring(state: &mut State, given: &Value) -> Result<Value, Refused> {
        let ring = serde_json::from_value(given.clone()).unwrap();
        state.ring(&ring, at(NOW))
    }

    fn state() -> State {
        let world = world::parse(include_str!("../world.toml")).unwrap();
        State::new(world, Seed::new(1))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    const NOW: u64 = 1_800_000_000;
}
