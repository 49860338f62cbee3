//! `/messages` and `/marketing_messages`: a send, from its first byte to its answer or the lack of one.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::accept::Accepted;
use super::body::Short;
use super::checks::{self, Edge};
use super::error::Refusal;
use super::faults::{self, Addressed};
use super::{NumberPath, api_version, authorization, refuse, respond, unknown, with_version};
use crate::fault::Effect;
use crate::ledger::Fate;
use crate::server::Cut;
use crate::simulator::Simulator;

/// A send, taken off its connection; without `Debug`, since it holds a token.
pub(super) struct Send {
    version: String,
    pub(super) pnid: String,
    authorization: Option<String>,
    body: Bytes,
    edge: Edge,
    pub(super) addressed: Addressed,
}

/// An answer, and the send that it accepts.
#[derive(Debug)]
struct Answer {
    response: Response,
    accepted: Option<Accepted>,
}

/// Sends, or marks as read.
pub(super) async fn messages(
    state: State<Arc<Simulator>>,
    path: NumberPath,
    request: Request,
) -> Response {
    send(state, path, request, Edge::Messages).await
}

/// Sends a marketing template.
pub(super) async fn marketing_messages(
    state: State<Arc<Simulator>>,
    path: NumberPath,
    request: Request,
) -> Response {
    send(state, path, request, Edge::MarketingMessages).await
}

async fn send(
    State(simulator): State<Arc<Simulator>>,
    path: NumberPath,
    request: Request,
    edge: Edge,
) -> Response {
    let Ok(Path((version, pnid))) = path else {
        return unknown(State(simulator), request).await;
    };
    let authorization = authorization(&request);
    let body = request.into_body();
    if let Some(after) = faults::mid_body(&simulator, &pnid) {
        return faults::read_and_cut(body, after).await;
    }
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return refuse(
            &simulator,
            &Refusal::because(100, "The body is too large or was cut."),
        );
    };
    let send = Send {
        addressed: Addressed::read(&body),
        version,
        pnid,
        authorization,
        body,
        edge,
    };
    let served = api_version(&simulator, &send.version);
    let ways = faults::ways(&simulator, &send);
    // Meta goes on with a send whose client has left, and so does a task of its own.
    let work = tokio::spawn(answer(Arc::clone(&simulator), send));
    let answer = work.await.expect("answering does not panic");
    faults::linger(&simulator, &ways).await;
    if let Some(accepted) = answer.accepted {
        simulator
            .lock()
            .ledger
            .settle(&accepted.wamid, Fate::Answered);
    }
    let response = with_version(answer.response, served);
    faults::travel(&simulator, response, &ways)
}

async fn answer(simulator: Arc<Simulator>, send: Send) -> Answer {
    match faults::verdict(&simulator, &send) {
        Some(Effect::Graph { code, retry_after }) => {
            let refused = refuse(&simulator, &Refusal::new(code));
            Answer::unaccepted(faults::retry_after(refused, retry_after))
        }
        Some(Effect::Http {
            status,
            body,
            content_type,
            retry_after,
        }) => {
            let bare = faults::bare(status, body, content_type.as_deref());
            Answer::unaccepted(faults::retry_after(bare, retry_after))
        }
        Some(Effect::H2RefusedStream) => Answer::unaccepted(cut(Cut::Refuse)),
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
        Some(Effect::ProcessThenTruncate { after }) => process(&simulator, &send)
            .await
            .truncated(&simulator, after),
        _ => process(&simulator, &send).await,
    }
}

async fn process(simulator: &Simulator, send: &Send) -> Answer {
    let request = checks::Request {
        version: &send.version,
        pnid: &send.pnid,
        authorization: send.authorization.as_deref(),
        body: &send.body,
        edge: send.edge,
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

/// No answer: the connection, or the stream, ends in its place.
pub(super) fn cut(cut: Cut) -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(cut);
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
        Self::unaccepted(cut(Cut::Reset))
    }

    /// The same, but its body ends too early.
    fn truncated(self, simulator: &Simulator, after: usize) -> Self {
        if let Some(accepted) = self.accepted {
            let fate = Fate::Truncated;
            simulator.lock().ledger.settle(&accepted.wamid, fate);
        }
        Self::unaccepted(self.response.map(|body| Body::new(Short::new(body, after))))
    }
}

/// A template message with every part at its longest stays far below.
const MAX_BODY: usize = 1 << 20;
