//! `POST /__sim/user/{id}`: a user comes online, blocks, takes another name, number or id.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use vestibule::clock::Timestamp;

use super::Answered;
use super::error::Refused;
use super::inbound::{the_number, the_user};
use crate::simulator::Simulator;
use crate::state::State;
use crate::webhook::{Event, Job, Matter};
use crate::world::{self, Number, Reach, User};

/// What changes; what is absent stays.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Change {
    /// Which number is told of a new phone number or id; the only one where it is absent.
    pnid: Option<String>,
    name: Option<String>,
    username: Option<String>,
    /// The user changes the phone number; the id stays, and the windows with it.
    wa_id: Option<String>,
    /// The user gets another id.
    bsuid: Option<String>,
    share_phone: Option<bool>,
    on_whatsapp: Option<bool>,
    blocked: Option<bool>,
    online: Option<bool>,
    read_receipts: Option<bool>,
    marketing_optout: Option<bool>,
    marketing_capped: Option<bool>,
    in_experiment: Option<bool>,
    chat_open: Option<bool>,
}

/// Handles the request.
pub(super) async fn change(
    Shared(simulator): Shared<Arc<Simulator>>,
    Path(id): Path<String>,
    Json(change): Json<Change>,
) -> Answered {
    let now = simulator.clock.now();
    let answer = simulator
        .lock()
        .change_user(&id, change, simulator.reach, now)?;
    simulator.wake.notify_one();
    Ok(Json(answer))
}

// === impl State ===

impl State {
    fn change_user(
        &mut self,
        id: &str,
        change: Change,
        reach: Reach,
        now: Timestamp,
    ) -> Result<Value, Refused> {
        let before = the_user(&self.world, id)?;
        let moves = change.wa_id.is_some() || change.bsuid.is_some();
        let told = match moves {
            true => Some(the_number(&self.world, change.pnid.as_deref())?.clone()),
            false => None,
        };
        let after = change.applied_to(&before);
        let mut world = self.world.clone();
        world.users.retain(|user| !user.is_same_as(&before));
        world.users.push(after.clone());
        world::check(&world, reach).map_err(Refused::because)?;
        self.world = world;
        self.windows.rename(&before.user_id(), &after.user_id());
        self.waiting.readdress(&before.user_id(), &after);
        if let Some(number) = told {
            self.tell_of_move(&number, &before, &after, now);
        }
        self.deliver_waiting(now);
        Ok(json!({"wa_id": after.wa_id, "user_id": after.user_id()}))
    }

    fn tell_of_move(&mut self, number: &Number, before: &User, after: &User, now: Timestamp) {
        for system in systems(before, after) {
            let wamid = self.next_inbound_wamid(after);
            let event = Event {
                number: number.clone(),
                user: after.clone(),
                matter: Matter::Message(message(before, after, &wamid, system, now)),
                heard: None,
            };
            self.outbox.push(now, Job::Emit(event));
        }
    }
}

// === impl Change ===

impl Change {
    fn applied_to(self, before: &User) -> User {
        let moves = self.wa_id.is_some();
        // The id does not follow from the new number, where it followed from the old one.
        let kept = moves.then(|| before.user_id());
        User {
            wa_id: self.wa_id.or_else(|| before.wa_id.clone()),
            bsuid: self.bsuid.or(kept).or_else(|| before.bsuid.clone()),
            name: self.name.or_else(|| before.name.clone()),
            username: self.username.or_else(|| before.username.clone()),
            share_phone: self.share_phone.unwrap_or(before.share_phone),
            on_whatsapp: self.on_whatsapp.unwrap_or(before.on_whatsapp),
            blocked: self.blocked.unwrap_or(before.blocked),
            online: self.online.unwrap_or(before.online),
            read_receipts: self.read_receipts.unwrap_or(before.read_receipts),
            marketing_optout: self.marketing_optout.unwrap_or(before.marketing_optout),
            marketing_capped: self.marketing_capped.unwrap_or(before.marketing_capped),
            in_experiment: self.in_experiment.unwrap_or(before.in_experiment),
            chat_open: self.chat_open.unwrap_or(before.chat_open),
        }
    }
}

/// The `system` objects that tell of a new number and of a new id.
fn systems(before: &User, after: &User) -> Vec<Value> {
    let name = after.profile_name();
    let mut systems = Vec::new();
    if before.wa_id != after.wa_id {
        let [old, new] = [before, after].map(|user| user.shared_phone().unwrap_or("a number"));
        let body = format!("User {name} changed from {old} to {new}");
        let mut system = json!({"body": body});
        if let Some(phone) = after.shared_phone() {
            system["wa_id"] = phone.into();
        }
        system["type"] = "user_changed_number".into();
        systems.push(system);
    }
    if before.user_id() != after.user_id() {
        systems.push(json!({
            "body": format!("User {name} changed their user id"),
            "type": "user_changed_user_id",
            "user_id": after.user_id(),
            "previous_user_id": before.user_id(),
        }));
    }
    systems
}

/// It comes from the old number, and from the id that is good from now on.
fn message(
    before: &User,
    after: &User,
    wamid: &str,
    system: Value,
    now: Timestamp,
) -> Map<String, Value> {
    let mut message = Map::new();
    if let Some(phone) = before.shared_phone() {
        message.insert("from".to_owned(), phone.into());
    }
    message.insert("from_user_id".to_owned(), after.user_id().into());
    message.insert("id".to_owned(), wamid.into());
    let timestamp = now.as_unix_seconds().to_string();
    message.insert("timestamp".to_owned(), timestamp.into());
    message.insert("type".to_owned(), "system".into());
    message.insert("system".to_owned(), system);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Seed;

    #[test]
    fn a_change_leaves_the_rest_as_it_was() {
        let mut state = state();
        for (given, want) in [
            (json!({"online": false}), (false, false, "Sheena Nelson")),
            (json!({"blocked": true}), (false, true, "Sheena Nelson")),
            (json!({"name": "Ada"}), (false, true, "Ada")),
            (
                json!({"online": true, "blocked": false}),
                (true, false, "Ada"),
            ),
        ] {
            change(&mut state, "+16505551234", &given).unwrap();
            let user = state.world.user("16505551234");
            let got = (user.online, user.blocked, user.profile_name());
            assert_eq!(got, want, "{given}");
            assert_eq!(state.world.users.len(), 1);
        }
        assert_eq!(state.outbox.len(), 0, "nobody is told of that");
    }

    #[test]
    fn a_new_number_keeps_the_id_and_the_window() {
        let mut state = state();
        let id = state.world.user("16505551234").user_id();
        state.windows.touch(PNID, &id, NOW, NOW);
        let answer = change(&mut state, "16505551234", &json!({"wa_id": "16505559999"})).unwrap();
        assert_eq!(answer, json!({"wa_id": "16505559999", "user_id": id}));
        assert!(state.windows.is_open(PNID, &id, NOW));
        let told = told(&mut state);
        assert_eq!(told["from"], "16505551234");
        assert_eq!(told["system"]["type"], "user_changed_number");
        assert_eq!(told["system"]["wa_id"], "16505559999");
    }

    #[test]
    fn a_new_id_takes_the_window_along() {
        let mut state = state();
        let old = state.world.user("16505551234").user_id();
        state.windows.touch(PNID, &old, NOW, NOW);
        change(&mut state, "16505551234", &json!({"bsuid": "US.77"})).unwrap();
        assert!(state.windows.is_open(PNID, "US.77", NOW));
        assert!(!state.windows.is_open(PNID, &old, NOW));
        let told = told(&mut state);
        assert_eq!(told["from_user_id"], "US.77");
        assert_eq!(
            told["system"],
            json!({
                "body": "User Sheena Nelson changed their user id",
                "type": "user_changed_user_id",
                "user_id": "US.77",
                "previous_user_id": old,
            })
        );
    }

    #[test]
    fn a_change_that_makes_no_sense_is_refused_and_changes_nothing() {
        let mut state = state();
        for (id, given, want) in [
            ("somebody", json!({}), "user = "),
            ("16505551234", json!({"wa_id": "+1"}), "wa_id = "),
            (
                "16505551234",
                json!({"wa_id": "1", "pnid": "gone"}),
                "pnid: ",
            ),
        ] {
            let refused = change(&mut state, id, &given).unwrap_err();
            assert!(
                format!("{refused:?}").contains(want),
                "{given}: {refused:?}"
            );
        }
        assert!(state.world.user("16505551234").name.is_some());
        assert!(serde_json::from_value::<Change>(json!({"onlin": true})).is_err());
    }

    fn change(state: &mut State, id: &str, given: &Value) -> Result<Value, Refused> {
        let change = serde_json::from_value(given.clone()).unwrap();
        state.change_user(id, change, Reach::Loopback, NOW)
    }

    fn told(state: &mut State) -> Map<String, Value> {
        let Some(Job::Emit(Event {
            matter: Matter::Message(message),
            ..
        })) = state.outbox.pop(NOW)
        else {
            panic!("a message is due");
        };
        assert_eq!(message["type"], "system");
        message
    }

    fn state() -> State {
        let world = world::parse(include_str!("../world.toml")).unwrap();
        State::new(world, Seed::new(1))
    }

    const PNID: &str = "106540352242922";

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
}
