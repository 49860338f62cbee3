//! `/__sim/webhooks`: what was posted, and what is held back, let go, mixed or repeated.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::simulator::Simulator;

/// Which webhooks are posted once more.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    /// The last so many that an app took; all that are kept where it is absent.
    last: Option<usize>,
}

/// The attempts that are kept.
pub(super) async fn attempts(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    let state = simulator.lock();
    Json(json!({
        "total": state.log.total(),
        "held": state.queue.is_held,
        "parked": state.queue.parked(),
        "attempts": state.log.recent(),
    }))
}

/// Posts nothing more until it is told to.
pub(super) async fn hold(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    simulator.lock().queue.is_held = true;
    Json(json!({"held": true}))
}

/// Posts whatever waits, now.
pub(super) async fn flush(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    let now = simulator.clock.now();
    let flushed = simulator.lock().flush(now);
    simulator.wake.notify_one();
    Json(json!({"held": false, "flushed": flushed}))
}

/// Posts what was held back, in another order.
pub(super) async fn shuffle(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    let now = simulator.clock.now();
    let flushed = {
        let mut state = simulator.lock();
        state.shuffle_parked();
        state.flush(now)
    };
    simulator.wake.notify_one();
    Json(json!({"held": false, "flushed": flushed}))
}

/// Posts what was taken once more, byte for byte.
pub(super) async fn replay(
    State(simulator): State<Arc<Simulator>>,
    replay: Option<Json<Replay>>,
) -> Json<Value> {
    let Json(Replay { last }) = replay.unwrap_or_default();
    let now = simulator.clock.now();
    let replayed = simulator.lock().replay(last, now);
    simulator.wake.notify_one();
    Json(json!({"replayed": replayed}))
}
