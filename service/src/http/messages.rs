//! `POST /v1/whatsapp/messages` and `GET /v1/whatsapp/messages/{id}`.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use vestibule::ApiError;
use vestibule::error::Code;

use super::extract::{Fields, JsonBody};
use super::{App, accept, json};
use crate::accept::{Call, unavailable};
use crate::message::{Content, MessageId};
use crate::store::Store;

/// Sends a free-form text, inside the customer's window.
pub(super) async fn send<S: Store>(
    State(app): State<Arc<App<S>>>,
    call: Call,
    body: JsonBody,
) -> Result<Response, ApiError> {
    accept(&app, &call, body, text).await
}

/// Shows how far a message has come.
///
/// An unknown id, an id that is none, and another account's message look alike.
pub(super) async fn show<S: Store>(
    State(app): State<Arc<App<S>>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    call: Call,
) -> Result<Response, ApiError> {
    let id = path.ok().as_ref().and_then(id).ok_or_else(not_found)?;
    let message = app
        .store
        .message(id)
        .await
        .map_err(|cause| unavailable(&cause))?
        .filter(|message| *message.account == *call.who.account())
        .ok_or_else(not_found)?;
    if !call.who.may_act_for(&message.agent_id.to_string()) {
        return Err(ApiError::agent_not_authorized());
    }
    let body = serde_json::to_vec(&message.view(app.shows_recipient))
        .expect("a view is text, numbers and null");
    Ok(json(body.into()).into_response())
}

fn id(path: &RawPathParams) -> Option<MessageId> {
    path.iter()
        .find_map(|(name, value)| (name == "id").then_some(value))
        .and_then(MessageId::parse)
}

fn text(fields: Fields<'_>) -> Result<Content, ApiError> {
    let body = match fields.required("text", "text.body")? {
        Value::Object(text) => Fields::new(text).required("body", "text.body")?,
        _ => {
            return Err(invalid_text(
                "text",
                "'text' must be an object with 'body'.",
            ));
        }
    };
    body.as_str()
        .and_then(Content::text)
        .ok_or_else(|| invalid_text("text.body", "'text.body' must have 1 to 4096 characters."))
}

fn invalid_text(param: &'static str, message: &'static str) -> ApiError {
    ApiError::new(Code::INVALID_MESSAGE_BODY, message).param(param)
}

fn not_found() -> ApiError {
    ApiError::new(Code::MESSAGE_NOT_FOUND, "There is no message with this id.")
}
