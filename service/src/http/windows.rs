//! `GET /v1/whatsapp/windows?agent_id=&to=`: until when free text may be sent.

use std::collections::HashMap;

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use vestibule::ApiError;
use vestibule::error::Code;

use super::{App, json};
use crate::accept::Call;
use crate::message::{parse_uuid, rfc3339};
use crate::recipient::PhoneNumber;
use crate::store::Store;
use crate::window::Verdict;

/// The window of each number of an agent; numbers have windows of their own.
#[derive(Debug, Serialize)]
struct View<'a> {
    agent_id: String,
    to: &'a str,
    windows: Vec<WindowView<'a>>,
}

#[derive(Debug, Serialize)]
struct WindowView<'a> {
    from: &'a str,
    state: &'static str,
    is_open: bool,
    open_until: Option<String>,
}

/// Shows the windows between an agent's numbers and a customer. An agent that is not the
/// account's has no numbers.
pub(super) async fn show<S: Store>(
    State(app): State<Arc<App<S>>>,
    call: Call,
    query: Result<Query<HashMap<String, String>>, QueryRejection>,
) -> Result<Response, ApiError> {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let agent = required(&query, "agent_id")?;
    let agent_id = parse_uuid(agent).ok_or_else(|| {
        ApiError::new(Code::INVALID_AGENT_ID, "'agent_id' must be a UUID.").param("agent_id")
    })?;
    if !call.who.may_act_for(agent) {
        return Err(ApiError::agent_not_authorized());
    }
    let to = phone(required(&query, "to")?)?;
    let now = app.clock.now();
    let mut windows = Vec::new();
    for connection in app.directory.connections(call.who.account(), agent_id) {
        let number = &connection.phone_number_id;
        let verdict = app.acceptance.window(number, to.digits(), now).await?;
        windows.push(WindowView::new(connection.number.as_str(), verdict));
    }
    let view = View {
        agent_id: agent_id.to_string(),
        to: to.as_str(),
        windows,
    };
    let body = serde_json::to_vec(&view).expect("a view is text, booleans and null");
    Ok(json(body.into()).into_response())
}

// === impl WindowView ===

impl<'a> WindowView<'a> {
    fn new(from: &'a str, verdict: Verdict) -> Self {
        let (state, until) = match verdict {
            Verdict::Open { until } => ("open", Some(until)),
            Verdict::Closed => ("closed", None),
            Verdict::Unknown => ("unknown", None),
        };
        Self {
            from,
            state,
            is_open: until.is_some(),
            open_until: until.map(rfc3339),
        }
    }
}

fn required<'a>(
    query: &'a HashMap<String, String>,
    name: &'static str,
) -> Result<&'a str, ApiError> {
    let value = query.get(name).filter(|value| !value.is_empty());
    value
        .map(String::as_str)
        .ok_or_else(|| ApiError::missing_required_field(name))
}

fn phone(text: &str) -> Result<PhoneNumber, ApiError> {
    // In a query an unescaped '+' is a space, and no number begins with one.
    let text = match text.strip_prefix(' ') {
        Some(digits) => format!("+{digits}"),
        None => text.to_owned(),
    };
    PhoneNumber::parse(&text).ok_or_else(|| {
        let message = "'to' must be an E.164 number such as +15551234567.";
        ApiError::new(Code::INVALID_PHONE_NUMBER, message).param("to")
    })
}
