//! `POST /__sim/clock`: time is set, moved, paced and stopped.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use vestibule::clock::Timestamp;

use super::Answered;
use super::error::Refused;
use crate::simulator::Simulator;

/// How the clock is moved; what is given is done in this order.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Change {
    /// Virtual seconds in a real one.
    rate: Option<f64>,
    /// Whether time stands still; afterwards it runs with the machine's clock.
    freeze: Option<bool>,
    /// The moment it is from now on, not before the one that it is.
    set_ms: Option<u64>,
    /// How far time is moved forward.
    advance_ms: Option<u64>,
}

/// Handles the request.
pub(super) async fn change(
    State(simulator): State<Arc<Simulator>>,
    Json(change): Json<Change>,
) -> Answered {
    let clock = &simulator.clock;
    let by = change.moves_by(clock.now())?;
    let frozen = change
        .freeze
        .map(|is_frozen| if is_frozen { 0.0 } else { 1.0 });
    if let Some(rate) = frozen.or(change.rate) {
        clock.pace(rate);
    }
    if !by.is_zero() {
        clock.advance(by);
    }
    let (now, rate) = (clock.now(), clock.rate());
    simulator.knock.notify_one();
    Ok(Json(json!({"now_ms": now.as_unix_millis(), "rate": rate})))
}

// === impl Change ===

impl Change {
    /// How far the clock goes forward.
    fn moves_by(&self, now: Timestamp) -> Result<Duration, Refused> {
        let to = self.set_ms.map_or(now, Timestamp::from_unix_millis);
        if to < now {
            let now = now.as_unix_millis();
            let to = to.as_unix_millis();
            let why = format!("set_ms = {to}: it is {now} already, and time does not go back");
            return Err(Refused::because(why));
        }
        Ok(to.since(now) + Duration::from_millis(self.advance_ms.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn time_goes_forward_only() {
        for (given, want) in [
            (json!({}), Some(0)),
            (json!({"advance_ms": 5}), Some(5)),
            (json!({"set_ms": 1000}), Some(0)),
            (json!({"set_ms": 1007, "advance_ms": 5}), Some(12)),
            (json!({"set_ms": 999}), None),
        ] {
            let moved = change(&given).moves_by(Timestamp::from_unix_millis(1000));
            let want = want.map(Duration::from_millis);
            assert_eq!(moved.ok(), want, "{given}");
        }
    }

    fn change(given: &Value) -> Change {
        serde_json::from_value(given.clone()).unwrap()
    }
}
