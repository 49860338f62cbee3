//! The control plane, `/__sim/`: what tests and people do to the simulated world.

mod call;
mod clock;
mod error;
mod inbound;
mod metrics;
mod user;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use rand::RngExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::error::Refused;
use crate::fault::Fault;
use crate::id::Purpose;
use crate::ledger;
use crate::limits::Quota;
use crate::simulator::Simulator;
use crate::webhook::Verification;
use crate::world::{self, App, World};

/// What every handler answers with.
type Answered = Result<Json<Value>, Refused>;

/// Which rows of the ledger are asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerQuery {
    token: Option<String>,
    to: Option<String>,
}

/// Which app is meant; it need not be named where there is only one.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AppChange {
    id: Option<String>,
    callback_url: Option<String>,
    secrets: Option<Vec<world::Secret>>,
    verify_token: Option<world::Secret>,
    payload_version: Option<String>,
}

/// The routes of the control plane.
pub(crate) fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/apps", post(change_app))
        .route("/call", post(call::ring))
        .route("/clock", post(clock::change))
        .route(
            "/faults",
            get(list_faults).post(order_fault).delete(clear_faults),
        )
        .route("/healthz", get(health))
        .route("/inbound", post(inbound::receive))
        .route("/ledger", get(rows))
        .route("/ledger/duplicates", get(duplicates))
        .route("/limits", get(limits))
        .route("/metrics", get(metrics::metrics))
        .route("/reset", post(reset))
        .route("/user/{id}", post(user::change))
        .route("/verify", post(verify))
        .route("/webhooks", get(webhooks::attempts))
        .route("/webhooks/flush", post(webhooks::flush))
        .route("/webhooks/hold", post(webhooks::hold))
        .route("/webhooks/replay", post(webhooks::replay))
        .route("/webhooks/shuffle", post(webhooks::shuffle))
        .route("/world", post(change_world))
        // A route and no fallback: what is not here is not the Graph plane's either.
        .route("/{*rest}", any(error::not_found))
}

async fn health(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    let now = simulator.clock.now();
    let state = simulator.lock();
    Json(json!({
        "status": "ok",
        "seed": state.seed.number(),
        "now_ms": now.as_unix_millis(),
        "waiting": state.outbox.len(),
        "due": state.outbox.due(now),
        "parked": state.queue.parked(),
        "dropped": state.outbox.dropped(),
    }))
}

async fn rows(
    State(simulator): State<Arc<Simulator>>,
    Query(LedgerQuery { token, to }): Query<LedgerQuery>,
) -> Json<Value> {
    let state = simulator.lock();
    let rows = state.ledger.matching(&ledger::Query { token, to });
    Json(json!({"count": rows.len(), "rows": rows}))
}

async fn duplicates(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    Json(simulator.lock().ledger.duplicates())
}

async fn limits(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    let now = simulator.clock.now();
    let state = simulator.lock();
    let quota = |pnid: &str| state.quota(pnid, now).unwrap_or(Quota::UNLIMITED);
    let mut report = state.limits.report(quota, now);
    report["enabled"] = state.world.settings.limits.into();
    Json(report)
}

async fn list_faults(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    let now = simulator.clock.now();
    Json(json!({"faults": simulator.lock().faults.waiting(now)}))
}

async fn order_fault(
    State(simulator): State<Arc<Simulator>>,
    Json(order): Json<Map<String, Value>>,
) -> Answered {
    let now = simulator.clock.now();
    let fault = Fault::parse(order, now).map_err(Refused::because)?;
    let closes_the_door = fault.closes_the_door();
    let waiting = {
        let mut state = simulator.lock();
        state.faults.order(fault).map_err(Refused::because)?;
        state.faults.waiting(now)
    };
    if closes_the_door {
        door(&simulator, false).await;
    }
    simulator.wake.notify_one();
    Ok(Json(json!({"faults": waiting})))
}

async fn clear_faults(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    {
        let mut state = simulator.lock();
        state.faults.clear();
        state.queue.reconsider();
    }
    door(&simulator, true).await;
    simulator.wake.notify_one();
    Json(json!({"faults": []}))
}

/// Waits until the Graph plane listens, or does not: whoever asked may rely on it.
async fn door(simulator: &Simulator, open: bool) {
    simulator.knock.notify_one();
    let mut is_open = simulator.is_open.subscribe();
    let swung = is_open.wait_for(|is_open| *is_open == open);
    // A door that was opened again meanwhile is no reason to wait for ever.
    let _swung_or_late = tokio::time::timeout(SWING, swung).await;
}

async fn reset(State(simulator): State<Arc<Simulator>>) -> Json<Value> {
    simulator.lock().reset();
    door(&simulator, true).await;
    Json(json!({"status": "ok"}))
}

async fn change_world(
    State(simulator): State<Arc<Simulator>>,
    Json(changes): Json<Value>,
) -> Answered {
    let has_settings = changes.get("settings").is_some();
    let changes: World = serde_json::from_value(changes).map_err(Refused::because)?;
    change(&simulator, |world| {
        if has_settings {
            world.settings = changes.settings.clone();
        }
        world.merge(changes);
        Ok(())
    })?;
    let now = simulator.clock.now();
    simulator.lock().deliver_waiting(now);
    simulator.wake.notify_one();
    Ok(Json(json!({"status": "ok"})))
}

async fn change_app(
    State(simulator): State<Arc<Simulator>>,
    Json(wanted): Json<AppChange>,
) -> Answered {
    let mut id = String::new();
    change(&simulator, |world| {
        let app = the_app(&mut world.apps, wanted.id.as_deref())?;
        id.clone_from(&app.id);
        wanted.apply(app);
        Ok(())
    })?;
    Ok(Json(json!({"app": id})))
}

async fn verify(
    State(simulator): State<Arc<Simulator>>,
    change: Option<Json<AppChange>>,
) -> Result<Json<Verification>, Refused> {
    let Json(wanted) = change.unwrap_or_default();
    let (app, challenge) = {
        let mut state = simulator.lock();
        let app = the_app(&mut state.world.apps, wanted.id.as_deref())?.clone();
        let number = simulator.clock.now().as_unix_millis();
        let mut random = state.seed.generator(Purpose::Challenge, number);
        (
            app,
            random.random_range(1_000_000_000..=u32::MAX).to_string(),
        )
    };
    let url = app
        .callback_url
        .ok_or_else(|| Refused::because("the app has no callback_url"))?;
    let token = app.verify_token.expose();
    Ok(Json(
        simulator
            .sender
            .verify(app.id, &url, token, &challenge)
            .await,
    ))
}

// === impl AppChange ===

impl AppChange {
    fn apply(self, app: &mut App) {
        app.callback_url = self.callback_url.or_else(|| app.callback_url.take());
        if let Some(secrets) = self.secrets {
            app.secrets = secrets;
        }
        if let Some(verify_token) = self.verify_token {
            app.verify_token = verify_token;
        }
        if let Some(payload_version) = self.payload_version {
            app.payload_version = payload_version;
        }
    }
}

/// Changes a copy of the world, and keeps it where it is sound.
fn change(
    simulator: &Simulator,
    apply: impl FnOnce(&mut World) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut state = simulator.lock();
    let mut world = state.world.clone();
    apply(&mut world)?;
    world::check(&world, simulator.reach).map_err(Refused::because)?;
    state.world = world;
    Ok(())
}

fn the_app<'a>(apps: &'a mut [App], id: Option<&str>) -> Result<&'a mut App, Refused> {
    let is_only = apps.len() == 1;
    let found = apps
        .iter_mut()
        .find(|app| id.map_or(is_only, |id| app.id == id));
    found.ok_or_else(|| {
        Refused::because("id: no app has it, or there is more than one and none is named")
    })
}

/// Far longer than a door takes to open or close.
const SWING: Duration = Duration::from_secs(1);
