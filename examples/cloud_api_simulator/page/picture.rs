//! The whole picture: all that a page needs to show, bounded, as JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vestibule::clock::Timestamp;

use crate::state::State;
use crate::world::User;

/// Everything that a page shows that opens now.
pub(super) fn whole(state: &mut State, now: Timestamp, rate: f64) -> Value {
    let mut picture = cast(state);
    picture["clock"] = clock(now, rate);
    picture["faults"] = faults(state, now);
    picture["windows"] = windows(state)
        .into_iter()
        .map(|((pnid, user), closes_at)| window(&pnid, &user, closes_at))
        .collect();
    picture["conversations"] = state
        .page
        .chronicle
        .conversations()
        .map(|(key, user, entries)| {
            let entries: Vec<_> = entries.collect();
            json!({"pnid": key.pnid, "user": user, "messages": entries})
        })
        .collect();
    picture
}

/// Who takes part: the business numbers, the customers, and how many apps listen.
pub(super) fn cast(state: &State) -> Value {
    let world = &state.world;
    let numbers = world.numbers.iter();
    let numbers: Vec<Value> = numbers
        .map(|number| json!({"id": number.id, "display": number.display}))
        .collect();
    let users: Vec<Value> = world.users.iter().take(MAX_USERS).map(user).collect();
    let apps = world.apps.iter().filter(|app| app.callback_url.is_some());
    json!({"numbers": numbers, "users": users, "apps": apps.count()})
}

/// A customer.
pub(super) fn user(user: &User) -> Value {
    json!({
        "id": user.user_id(),
        "phone": user.wa_id,
        "name": user.name,
        "online": user.online,
        "blocked": user.blocked,
    })
}

/// The time, and how fast it passes.
pub(super) fn clock(now: Timestamp, rate: f64) -> Value {
    json!({"now_ms": now.as_unix_millis(), "rate": rate})
}

/// What is ordered and has not happened yet.
pub(super) fn faults(state: &mut State, now: Timestamp) -> Value {
    json!(state.faults.waiting(now))
}

/// When each window ends, or ended, by number and user.
pub(super) fn windows(state: &State) -> BTreeMap<(String, String), Timestamp> {
    let named = state.world.users.iter().take(MAX_USERS).map(User::user_id);
    let mut users: BTreeSet<String> = named.collect();
    let conversations = state.page.chronicle.conversations();
    users.extend(conversations.map(|(key, ..)| key.user.clone()));
    let mut windows = BTreeMap::new();
    for number in &state.world.numbers {
        for user in &users {
            if let Some(closes_at) = state.windows.closes_at(&number.id, user) {
                windows.insert((number.id.clone(), user.clone()), closes_at);
            }
        }
    }
    windows
}

/// When a window ends, or ended.
pub(super) fn window(pnid: &str, user: &str, closes_at: Timestamp) -> Value {
    json!({"pnid": pnid, "user": user, "closes_at_ms": closes_at.as_unix_millis()})
}

/// Of the world's own: a world for load tests names more than a screen can show.
const MAX_USERS: usize = 100;
