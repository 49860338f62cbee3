//! The faults that strike a send on its way in and its answer on its way out.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Body as _;
use rand::rngs::StdRng;
use serde_json::Value;

use super::body::Drip;
use super::send::{Send, cut};
use crate::fault::{Effect, Stage, Subject};
use crate::id::Purpose;
use crate::ledger::without_punctuation;
use crate::server::{After, Cut};
use crate::simulator::Simulator;

/// What a body says about whom it is for, before anybody has judged it.
#[derive(Debug, Default)]
pub(super) struct Addressed {
    to: String,
    recipient: String,
    kind: String,
}

/// What is done to an answer on its way out.
#[derive(Debug, Default)]
pub(super) struct Ways {
    latency: Duration,
    bytes_per_second: Option<u64>,
    after: Option<After>,
}

// === impl Addressed ===

impl Addressed {
    /// Reads what is there; what is not stays empty and matches no fault that asks for it.
    pub(super) fn read(body: &Bytes) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let is_typed = body["type"].is_string();
        Self {
            to: without_punctuation(&text("to")),
            recipient: text("recipient"),
            kind: if is_typed {
                text("type")
            } else {
                "text".to_owned()
            },
        }
    }
}

// === impl Send ===

impl Send {
    fn subject(&self) -> Subject<'_> {
        Subject {
            pnid: &self.pnid,
            user: [&self.addressed.to, &self.addressed.recipient],
            kind: &self.addressed.kind,
        }
    }
}

/// What happens to a send in the place of, or around, being processed.
pub(super) fn verdict(simulator: &Simulator, send: &Send) -> Option<Effect> {
    simulator
        .lock()
        .faults
        .take(Stage::Request, &send.subject())
}

/// How the answer will travel.
pub(super) fn ways(simulator: &Simulator, send: &Send) -> Ways {
    let mut state = simulator.lock();
    if state.faults.is_empty() {
        return Ways::default();
    }
    let effects = state.faults.take_all(Stage::Answer, &send.subject());
    let mut random = state
        .seed
        .generator(Purpose::Latency, state.faults.struck());
    plan(&effects, &mut random)
}

fn plan(effects: &[Effect], random: &mut StdRng) -> Ways {
    let mut ways = Ways::default();
    for effect in effects {
        match effect {
            Effect::Latency { ms } => ways.latency = ms.draw(random),
            Effect::Drip { bytes_per_second } => ways.bytes_per_second = Some(*bytes_per_second),
            Effect::KeepaliveClose => ways.after = Some(After::HangUp),
            Effect::H2Goaway => ways.after = Some(After::GoAway),
            _ => {}
        }
    }
    ways
}

/// Waits as long as the answer travels.
pub(super) async fn linger(simulator: &Simulator, ways: &Ways) {
    if !ways.latency.is_zero() {
        simulator.clock.sleep(ways.latency).await;
    }
}

/// Marks an answer with what happens to it, and to its connection after it.
pub(super) fn travel(simulator: &Simulator, response: Response, ways: &Ways) -> Response {
    let mut response = match ways.bytes_per_second {
        None => response,
        Some(pace) => response.map(|body| {
            let length = body.size_hint().exact();
            Body::new(Drip::new(body, pace, length, simulator.clock.rate()))
        }),
    };
    if let Some(after) = ways.after {
        response.extensions_mut().insert(after);
    }
    response
}

/// After how many bytes of its body a send is cut, if it is.
pub(super) fn mid_body(simulator: &Simulator, pnid: &str) -> Option<usize> {
    let subject = Subject {
        pnid,
        ..Subject::default()
    };
    match simulator.lock().faults.take(Stage::Head, &subject) {
        Some(Effect::ResetMidBody { after }) => Some(after),
        _ => None,
    }
}

/// Reads so many bytes of a body, and no more, and then cuts.
pub(super) async fn read_and_cut(mut body: Body, after: usize) -> Response {
    let mut read = 0;
    while read < after {
        let frame =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context));
        let Some(Ok(frame)) = frame.await else {
            break;
        };
        read += frame.data_ref().map_or(0, Bytes::len);
    }
    cut(Cut::Reset)
}

/// An answer from something between Meta and its client, without Meta's envelope.
pub(super) fn bare(status: u16, body: String, content_type: Option<&str>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("checked when it was ordered");
    let kind = HeaderValue::from_str(content_type.unwrap_or("text/html"));
    let kind = kind.expect("checked when it was ordered");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// Adds `Retry-After`, where a fault gives it.
pub(super) fn retry_after(mut response: Response, seconds: Option<u64>) -> Response {
    if let Some(seconds) = seconds {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::id::Seed;

    #[test]
    fn a_body_says_whom_it_is_for_as_far_as_it_can_be_read() {
        for (body, to, recipient, kind) in [
            (
                json!({"to": "+1 (650) 5", "type": "image"}),
                "16505",
                "",
                "image",
            ),
            (json!({"recipient": "US.1"}), "", "US.1", "text"),
            (json!({"to": 1, "type": 2}), "", "", "text"),
            (json!([]), "", "", "text"),
        ] {
            let read = Addressed::read(&Bytes::from(body.to_string()));
            assert_eq!(
                (&*read.to, &*read.recipient, &*read.kind),
                (to, recipient, kind),
                "{body}"
            );
        }
        assert_eq!(Addressed::read(&Bytes::from("{")).kind, "text");
    }

    #[test]
    fn effects_on_the_answer_add_up() {
        let effects = json!([
            {"fault": "latency", "ms": [5, 9]},
            {"fault": "drip", "bytes_per_second": 7},
            {"fault": "keepalive_close"},
        ]);
        let effects: Vec<Effect> = serde_json::from_value(effects).unwrap();
        let ways = plan(&effects, &mut Seed::new(1).generator(Purpose::Latency, 1));
        assert!((5..=9).contains(&ways.latency.as_millis()));
        assert_eq!(ways.bytes_per_second, Some(7));
        assert_eq!(ways.after, Some(After::HangUp));
    }
}
