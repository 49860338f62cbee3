//! The Graph plane: what Meta's `/messages` would answer.

mod accept;
mod checks;
pub(crate) mod error;
mod recipient;
mod template;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::Value;

use self::accept::Accepted;
use self::error::Refusal;
use crate::fault::{Effect, Stage};
use crate::ledger::{Fate, without_punctuation};
use crate::server::Cut;
use crate::simulator::Simulator;

pub(crate) use self::checks::Message;
pub(crate) use self::recipient::Recipient;

/// A send, taken off its connection; without `Debug`, since it holds a token.
struct Send {
    version: String,
    pnid: String,
    authorization: Option<String>,
    body: Bytes,
}

/// An answer, and the send that it accepts.
#[derive(Debug)]
struct Answer {
    response: Response,
    accepted: Option<Accepted>,
}

/// The routes of the Graph plane; whatever else is asked for is Graph error 100.
pub(crate) fn routes() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/{version}/{pnid}/messages", post(messages))
        .method_not_allowed_fallback(unknown)
        .fallback(unknown)
}

async fn messages(
    State(simulator): State<Arc<Simulator>>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let Ok(Path((version, pnid))) = path else {
        return unknown(State(simulator), request).await;
    };
    let authorization = request.headers().get(AUTHORIZATION);
    let authorization = authorization
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let Ok(body) = to_bytes(request.into_body(), MAX_BODY).await else {
        return refuse(
            &simulator,
            &Refusal::because(100, "The body is too large or was cut."),
        );
    };
    let send = Send {
        version,
        pnid,
        authorization,
        body,
    };
    let served = api_version(&simulator, &send.version);
    // Meta goes on with a send whose client has left, and so does a task of its own.
    let work = tokio::spawn(answer(Arc::clone(&simulator), send));
    let answer = work.await.expect("answering does not panic");
    if let Some(accepted) = answer.accepted {
        simulator
            .lock()
            .ledger
            .settle(&accepted.wamid, Fate::Answered);
    }
    let mut response = answer.response;
    if let (Some(header), Some(version)) = (response.headers_mut().get_mut(API_VERSION), served) {
        *header = version;
    }
    response
}

/// The version that answers, where it is one that is served.
fn api_version(simulator: &Simulator, version: &str) -> Option<HeaderValue> {
    let is_served = simulator.lock().world.settings.serves(version);
    HeaderValue::from_str(version).ok().filter(|_| is_served)
}

async fn unknown(State(simulator): State<Arc<Simulator>>, request: Request) -> Response {
    let what = format!(
        "{} {} is not served.",
        request.method(),
        request.uri().path()
    );
    refuse(&simulator, &Refusal::because(100, what))
}

async fn answer(simulator: Arc<Simulator>, send: Send) -> Answer {
    match take_fault(&simulator, &send) {
        Some(Effect::Graph { code }) => Answer::unaccepted(refuse(&simulator, &Refusal::new(code))),
        Some(Effect::Http { status, body }) => Answer::unaccepted(bare(status, body)),
        Some(Effect::HangThenProcess { ms }) => {
            simulator.clock.sleep(Duration::from_millis(ms)).await;
            process(&simulator, &send).await
        }
        Some(Effect::ProcessThenHang { ms }) => {
            let lost = process(&simulator, &send)
                .await
                .lost(&simulator, Fate::Hung);
            simulator.clock.sleep(Duration::from_millis(ms)).await;
            lost
        }
        Some(Effect::ProcessThenReset) => process(&simulator, &send)
            .await
            .lost(&simulator, Fate::Reset),
        _ => process(&simulator, &send).await,
    }
}

async fn process(simulator: &Simulator, send: &Send) -> Answer {
    let request = checks::Request {
        version: &send.version,
        pnid: &send.pnid,
        authorization: send.authorization.as_deref(),
        body: &send.body,
    };
    let now = simulator.clock.now();
    let judged = simulator.lock().accept(&request, now);
    simulator.wake.notify_one();
    match judged {
        Err(refusal) => Answer::unaccepted(refuse(simulator, &refusal)),
        Ok(reply) => {
            if let Some(accepted) = &reply.accepted {
                wait_until_heard(simulator, accepted).await;
            }
            Answer {
                response: respond(simulator, StatusCode::OK, &reply.body),
                accepted: reply.accepted,
            }
        }
    }
}

/// Holds the answer back until an app has taken a status of it, where a fault asks for that.
async fn wait_until_heard(simulator: &Simulator, accepted: &Accepted) {
    let Some(heard) = &accepted.heard else {
        return;
    };
    let longest = simulator.lock().world.settings.ack_timeout();
    tokio::select! {
        () = heard.notified() => {}
        () = tokio::time::sleep(longest) => {}
    }
}

fn take_fault(simulator: &Simulator, send: &Send) -> Option<Effect> {
    if simulator.lock().faults.is_empty() {
        return None;
    }
    let body: Value = serde_json::from_slice(&send.body).unwrap_or_default();
    let [to, recipient] = ["to", "recipient"].map(|key| body[key].as_str().unwrap_or_default());
    let to = without_punctuation(to);
    let mut state = simulator.lock();
    state
        .faults
        .take(Stage::Request, &send.pnid, &[&to, recipient])
}

fn refuse(simulator: &Simulator, refusal: &Refusal) -> Response {
    let trace = simulator.lock().trace();
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

/// An answer from something between Meta and its client, without Meta's envelope.
fn bare(status: u16, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("checked when it was ordered");
    let html = HeaderValue::from_static("text/html");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

// === impl Answer ===

impl Answer {
    const fn unaccepted(response: Response) -> Self {
        Self {
            response,
            accepted: None,
        }
    }

    /// The same, but the client never sees it.
    fn lost(self, simulator: &Simulator, fate: Fate) -> Self {
        if let Some(accepted) = self.accepted {
            simulator.lock().ledger.settle(&accepted.wamid, fate);
        }
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Cut);
        Self::unaccepted(response)
    }
}

/// A template message with every part at its longest stays far below.
const MAX_BODY: usize = 1 << 20;

const X_FB_TRACE_ID: HeaderName = HeaderName::from_static("x-fb-trace-id");

const API_VERSION: HeaderName = HeaderName::from_static("facebook-api-version");

/// What `facebook-api-version` says where no version was asked for that is served.
const NEWEST: &str = "v26.0";
