//! The handlers of what can be asked beside sending.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use vestibule::clock::Timestamp;

use super::account::{self, Ask};
use super::error::Refusal;
use super::{
    NumberPath, api_version, authorization, not_served, refuse, respond, unknown, with_version,
};
use crate::simulator::Simulator;
use crate::state::State as WorldState;

/// A question, taken off its connection; without `Debug`, since it holds a token.
struct Asked {
    version: String,
    id: String,
    authorization: Option<String>,
    query: account::Query,
}

type EdgePath = Result<Path<(String, String, String)>, PathRejection>;

type AskQuery = Result<Query<account::Query>, QueryRejection>;

/// The fields of a number or an account.
pub(super) async fn fields(
    State(simulator): State<Arc<Simulator>>,
    path: NumberPath,
    query: AskQuery,
    request: Request,
) -> Response {
    let (Ok(Path((version, id))), Ok(Query(query))) = (path, query) else {
        return unknown(State(simulator), request).await;
    };
    let asked = Asked::new(version, id, query, &request);
    let answer = |state: &mut WorldState, now| account::fields(&asked.ask(), &state.world, now);
    asked.answer(&simulator, answer)
}

/// A list of an account.
pub(super) async fn list(
    State(simulator): State<Arc<Simulator>>,
    path: EdgePath,
    query: AskQuery,
    request: Request,
) -> Response {
    let (Ok(Path((version, id, edge))), Ok(Query(query))) = (path, query) else {
        return unknown(State(simulator), request).await;
    };
    let what = not_served(&request);
    let asked = Asked::new(version, id, query, &request);
    let answer = |state: &mut WorldState, now| {
        let list = account::list(&asked.ask(), &edge, &state.world, now);
        list.unwrap_or_else(|| Err(Refusal::because(100, what)))
    };
    asked.answer(&simulator, answer)
}

/// The token's app joins an account.
pub(super) async fn subscribe(
    state: State<Arc<Simulator>>,
    path: EdgePath,
    request: Request,
) -> Response {
    change_subscription(state, path, request, true).await
}

/// The token's app leaves an account.
pub(super) async fn unsubscribe(
    state: State<Arc<Simulator>>,
    path: EdgePath,
    request: Request,
) -> Response {
    change_subscription(state, path, request, false).await
}

async fn change_subscription(
    State(simulator): State<Arc<Simulator>>,
    path: EdgePath,
    request: Request,
    is_wanted: bool,
) -> Response {
    match path {
        Ok(Path((version, id, edge))) if edge == "subscribed_apps" => {
            let asked = Asked::new(version, id, account::Query::default(), &request);
            let answer = |state: &mut WorldState, now| {
                account::subscribe(&asked.ask(), is_wanted, &mut state.world, now)
            };
            asked.answer(&simulator, answer)
        }
        _ => unknown(State(simulator), request).await,
    }
}

// === impl Asked ===

impl Asked {
    fn new(version: String, id: String, query: account::Query, request: &Request) -> Self {
        Self {
            version,
            id,
            authorization: authorization(request),
            query,
        }
    }

    fn ask(&self) -> Ask<'_> {
        Ask {
            version: &self.version,
            id: &self.id,
            authorization: self.authorization.as_deref(),
            query: &self.query,
        }
    }

    fn answer(
        &self,
        simulator: &Simulator,
        answer: impl FnOnce(&mut WorldState, Timestamp) -> Result<Value, Refusal>,
    ) -> Response {
        let now = simulator.clock.now();
        let answered = {
            let mut state = simulator.lock();
            state.settle_world(now);
            answer(&mut state, now)
        };
        let response = match answered {
            Ok(body) => respond(simulator, StatusCode::OK, &body),
            Err(refusal) => refuse(simulator, &refusal),
        };
        with_version(response, api_version(simulator, &self.version))
    }
}
