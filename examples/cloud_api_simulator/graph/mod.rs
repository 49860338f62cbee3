//! The Graph plane: what Meta's `/messages` would answer.

mod accept;
mod account;
mod ask;
mod body;
mod checks;
pub(crate) mod error;
mod faults;
mod recipient;
mod send;
mod template;

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::Value;

use self::error::Refusal;
use crate::simulator::Simulator;

pub(crate) use self::checks::Message;
pub(crate) use self::recipient::Recipient;

/// Version and id.
type NumberPath = Result<Path<(String, String)>, PathRejection>;

/// The routes of the Graph plane; whatever else is asked for is Graph error 100.
pub(crate) fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/{version}/{id}/messages", post(send::messages))
        .route(
            "/{version}/{id}/marketing_messages",
            post(send::marketing_messages),
        )
        .route("/{version}/{id}", get(ask::fields))
        .route(
            "/{version}/{id}/{edge}",
            get(ask::list).post(ask::subscribe).delete(ask::unsubscribe),
        )
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
}

/// The version that answers, where it is one that is served.
fn api_version(simulator: &Simulator, version: &str) -> Option<HeaderValue> {
    let is_served = simulator.lock().world.settings.serves(version);
    HeaderValue::from_str(version).ok().filter(|_| is_served)
}

fn with_version(mut response: Response, served: Option<HeaderValue>) -> Response {
    if let (Some(header), Some(version)) = (response.headers_mut().get_mut(API_VERSION), served) {
        *header = version;
    }
    response
}

fn authorization(request: &Request) -> Option<String> {
    let value = request.headers().get(AUTHORIZATION)?;
    value.to_str().ok().map(str::to_owned)
}

/// Answers for what is not served.
pub(crate) async fn unknown(State(simulator): State<Arc<Simulator>>, request: Request) -> Response {
    refuse(&simulator, &Refusal::because(100, not_served(&request)))
}

fn not_served(request: &Request) -> String {
    let (method, path) = (request.method(), request.uri().path());
    format!("{method} {path} is not served.")
}

fn refuse(simulator: &Simulator, refusal: &Refusal) -> Response {
    let trace = {
        let mut state = simulator.lock();
        state.note_refusal(refusal.code);
        state.trace()
    };
    finish(refusal.status(), &refusal.body(&trace), &trace)
}

fn respond(simulator: &Simulator, status: StatusCode, body: &Value) -> Response {
    let trace = simulator.lock().trace();
    finish(status, body, &trace)
}

fn finish(status: StatusCode, body: &Value, trace: &str) -> Response {
    let mut response = (status, Json(body)).into_response();
    let trace = HeaderValue::from_str(trace).expect("a trace id is ASCII");
    response.headers_mut().insert(X_FB_TRACE_ID, trace);
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static(NEWEST));
    response
}

const X_FB_TRACE_ID: HeaderName = HeaderName::from_static("x-fb-trace-id");

const API_VERSION: HeaderName = HeaderName::from_static("facebook-api-version");

/// What `facebook-api-version` says where no version was asked for that is served.
const NEWEST: &str = "v26.0";
