//! The endpoints, in the order of the public documentation.
//!
//! They run behind the layers, which have authenticated, limited and claimed already; a
//! handler finds the caller in the request's extensions. Every refusal is an
//! [`ApiError`], so that no framework's own text ever reaches a caller.

mod extract;
mod messages;
pub mod openapi;
mod routes;
mod templates;
mod webhook;
mod windows;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, header};
use tokio::sync::Notify;
use vestibule::ApiError;
use vestibule::clock::SharedClock;
use vestibule::header::VESTIBULE_REPLAYED;

use self::extract::{Addressing, Fields, JsonBody};
use self::openapi::page::policy;
use self::openapi::{Served, document, page};
pub(crate) use self::routes::routes;
use crate::accept::{Acceptance, Accepted, Call, Order};
use crate::config::Secret;
use crate::directory::Directory;
use crate::message::Content;
use crate::metrics::Metrics;
use crate::store::Store;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct App<S> {
    /// Accounts, agents and numbers.
    pub directory: Arc<Directory>,
    /// The use case of sending.
    pub acceptance: Acceptance<S>,
    /// Where messages and webhooks are kept.
    pub store: S,
    /// What windows are judged by.
    pub clock: SharedClock,
    /// Whether reads show the recipient.
    pub shows_recipient: bool,
    /// What Meta signs with, and verifies the endpoint with.
    pub webhook: Arc<WebhookSecrets>,
    /// Told of every webhook that was taken in.
    pub taken_in: Arc<Notify>,
    /// What is counted.
    pub metrics: Metrics,
}

/// What makes a webhook genuine.
#[derive(Clone, Debug)]
pub struct WebhookSecrets {
    /// What Meta signs with: two while one is rotated.
    pub app_secrets: Vec<Secret>,
    /// What Meta shows when it verifies the endpoint.
    pub verify_token: Secret,
}

/// The service without its layers.
pub fn router<S: Store>(app: App<S>) -> Router {
    Router::new()
        .route("/v1/whatsapp/messages", post(messages::send::<S>))
        .route("/v1/whatsapp/messages/{id}", get(messages::show::<S>))
        .route("/v1/whatsapp/templates", post(templates::send::<S>))
        .route("/v1/whatsapp/windows", get(windows::show::<S>))
        .route(
            "/webhooks/whatsapp",
            get(webhook::verify::<S>)
                .post(webhook::take_in::<S>)
                .fallback(webhook::other_method),
        )
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready::<S>))
        .route("/openapi.json", get(Served::json(document()).handler()))
        .route("/docs", get(Served::page(page(), policy()).handler()))
        .fallback(unknown)
        .with_state(Arc::new(app))
}

/// What both sending endpoints do; they differ in what `content` reads.
async fn accept<S: Store>(
    app: &App<S>,
    call: &Call,
    body: JsonBody,
    content: fn(Fields<'_>) -> Result<Content, ApiError>,
) -> Result<Response, ApiError> {
    // In the order of the contract: the agent, then a repeat, then field by field.
    body.check_agent(&call.who)?;
    if let Some(accepted) = app.acceptance.repeat(call).await? {
        return Ok(respond(accepted));
    }
    let fields = body.fields()?;
    let Addressing { agent_id, from, to } = fields.addressing(&call.who, &app.directory)?;
    let order = Order {
        agent_id,
        from,
        to,
        content: content(fields)?,
        wishes: fields.wishes()?,
    };
    app.acceptance.accept(call, order).await.map(respond)
}

fn respond(accepted: Accepted) -> Response {
    let mut response = (accepted.status, json(accepted.body)).into_response();
    if let Some(first) = accepted
        .first
        .and_then(|id| HeaderValue::from_str(&id).ok())
    {
        response.headers_mut().insert(VESTIBULE_REPLAYED, first);
    }
    response
}

fn json(body: Bytes) -> ([(header::HeaderName, HeaderValue); 1], Bytes) {
    let json = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, json)], body)
}

pub(crate) async fn healthy() -> &'static str {
    "ok"
}

pub(crate) async fn ready<S: Store>(
    State(app): State<Arc<App<S>>>,
) -> Result<&'static str, ApiError> {
    // A store that hangs must not make a probe hang.
    let asked = tokio::time::timeout(READY_WITHIN, app.store.next_due()).await;
    match asked {
        Ok(Ok(_)) => Ok("ready"),
        Err(_) => Err(ApiError::upstream_unavailable()),
        Ok(Err(cause)) => {
            tracing::warn!(?cause, "the service is not ready");
            Err(ApiError::upstream_unavailable())
        }
    }
}

async fn unknown() -> ApiError {
    ApiError::endpoint_not_found()
}

/// Longer than any look at the queue takes.
const READY_WITHIN: Duration = Duration::from_secs(2);
