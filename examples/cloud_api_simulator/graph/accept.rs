//! Accepting a send: the ledger row, the message id, the answer, and what will become of it.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use vestibule::clock::Timestamp;

use super::checks::{self, Message, Request, Wish};
use super::error::Refusal;
use super::recipient::Recipient;
use crate::fault::{Effect, PlanFault, Stage};
use crate::id::{self, Direction, Purpose};
use crate::ledger::{Fate, Full, Row};
use crate::state::State;
use crate::status::{self, Step};
use crate::webhook::{Event, Job, Matter, Status};

/// The answer to a good request.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: Value,
    pub(super) accepted: Option<Accepted>,
}

/// A send that was accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) wamid: String,
    /// The answer waits for this, where a fault says that a status comes first.
    pub(super) heard: Option<Arc<Notify>>,
}

// === impl State ===

impl State {
    /// Judges a request and, where it is a good one, does what it asks for.
    pub(super) fn accept(
        &mut self,
        request: &Request<'_>,
        now: Timestamp,
    ) -> Result<Reply, Refusal> {
        match checks::judge(request, &self.world, &self.windows, now)? {
            Wish::MarkRead => Ok(Reply {
                body: json!({"success": true}),
                accepted: None,
            }),
            Wish::Send(message) => self.send(&message, request.body, now),
        }
    }

    fn send(&mut self, message: &Message, body: &[u8], now: Timestamp) -> Result<Reply, Refusal> {
        let full = |Full| Refusal::because(131016, "The ledger is full: reset the simulator.");
        let seq = self.ledger.next_seq().map_err(full)?;
        let mut random = self.seed.generator(Purpose::Outbound, seq);
        let wamid = id::wamid(&message.user.digits(), Direction::Outbound, &mut random);
        self.ledger.append(Row {
            seq,
            wamid: wamid.clone(),
            pnid: message.number.id.clone(),
            token: message.opaque.clone(),
            body_sha256: hex::encode(Sha256::digest(body)),
            to: message.recipient.address().to_owned(),
            message_type: message.kind.clone(),
            accepted_at_ms: now.as_unix_millis(),
            response_fate: Fate::Unanswered,
        });
        let heard = self.schedule(message, &wamid, seq, now);
        Ok(Reply {
            body: success(message, &wamid),
            accepted: Some(Accepted { wamid, heard }),
        })
    }

    /// Schedules the statuses; returns what to wait for before answering, if anything.
    fn schedule(
        &mut self,
        message: &Message,
        wamid: &str,
        seq: u64,
        now: Timestamp,
    ) -> Option<Arc<Notify>> {
        let failure = match self.strikes(PlanFault::Fail, message) {
            Some(Effect::Fail { code }) => Some(code),
            _ => None,
        };
        let mut random = self.seed.generator(Purpose::Delays, seq);
        let mut steps = status::plan(message, &self.world.settings, failure, &mut random);
        if self.strikes(PlanFault::Reorder, message).is_some() {
            status::reorder(&mut steps);
        }
        let mut heard = None;
        if self.strikes(PlanFault::BeforeResponse, message).is_some() {
            status::hasten(&mut steps);
            heard = Some(Arc::new(Notify::new()));
        }
        for step in steps {
            let event = event(message, wamid, step, now, heard.clone());
            self.outbox.push(now + step.told, Job::Emit(event));
        }
        heard
    }

    fn strikes(&mut self, fault: PlanFault, message: &Message) -> Option<Effect> {
        let user_id = message.user.user_id();
        let names = [message.recipient.address(), &user_id];
        self.faults
            .take(Stage::Plan(fault), &message.number.id, &names)
    }
}

fn success(message: &Message, wamid: &str) -> Value {
    let contact = match &message.recipient {
        Recipient::Phone { input, wa_id } => json!({"input": input, "wa_id": wa_id}),
        Recipient::UserId(id) => json!({"input": id, "user_id": id}),
    };
    let mut sent = json!({"id": wamid});
    if message.category.is_some() {
        sent["message_status"] = "accepted".into();
    }
    json!({"messaging_product": "whatsapp", "contacts": [contact], "messages": [sent]})
}

fn event(
    message: &Message,
    wamid: &str,
    step: Step,
    accepted_at: Timestamp,
    heard: Option<Arc<Notify>>,
) -> Event {
    Event {
        number: message.number.clone(),
        user: message.user.clone(),
        matter: Matter::Status(Status {
            wamid: wamid.to_owned(),
            word: step.word,
            at: accepted_at + step.after,
            recipient: message.recipient.clone(),
            opaque: message.opaque.clone(),
            error: step.error,
            is_priced: step.is_priced,
            category: message.category,
            is_window_open: message.is_window_open,
        }),
        heard,
    }
}
