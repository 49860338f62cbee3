//! Accepting a send: the ledger row, the message id, the answer, and what will become of it.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use vestibule::clock::Timestamp;

use super::checks::{self, Ground, Message, Request, Wish};
use super::error::Refusal;
use super::recipient::Recipient;
use crate::fault::{Effect, Stage, Subject};
use crate::id::{self, Direction, Purpose};
use crate::ledger::{Fate, Full, Row};
use crate::limits;
use crate::state::State;
use crate::status::{self, Failure, Step, Word};
use crate::webhook::{Event, Job, Matter, Status};
use crate::world::WindowMode;

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
        self.settle_world(now);
        match self.judge(request, now)? {
            Wish::MarkRead => Ok(Reply {
                body: json!({"success": true}),
                accepted: None,
            }),
            Wish::Send(message) => self.send(&message, request.body, now),
        }
    }

    fn judge(&mut self, request: &Request<'_>, now: Timestamp) -> Result<Wish, Refusal> {
        let is_maintenance = |effect: &Effect| matches!(effect, Effect::Maintenance { .. });
        let maintenance = self.faults.standing(request.pnid, now, is_maintenance);
        let ground = Ground {
            world: &self.world,
            windows: &self.windows,
            limits: &self.limits,
            quota: self.quota(request.pnid, now),
            is_in_maintenance: maintenance.is_some(),
        };
        let judged = checks::judge(request, &ground, now);
        if let Err(refusal) = &judged
            && matches!(refusal.code, limits::THROUGHPUT | limits::PAIR)
        {
            self.limits.note_violation(request.pnid, refusal.code);
        }
        judged
    }

    fn send(&mut self, message: &Message, body: &[u8], now: Timestamp) -> Result<Reply, Refusal> {
        let is_disputed = self.disputes(message);
        if is_disputed && self.world.settings.window_mode == WindowMode::Sync {
            return Err(Refusal::new(131047));
        }
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
            is_window_open: message.is_window_open,
            response_fate: Fate::Unanswered,
            told: Vec::new(),
            failed_with: None,
        });
        if let Some(quota) = self.quota(&message.number.id, now) {
            let user = message.user.user_id();
            self.limits
                .charge_send(&message.number.id, &user, &quota, now);
        }
        self.page.sent(message, &wamid, body, &self.world, now);
        let heard = self.schedule(message, &wamid, is_disputed, now);
        Ok(Reply {
            body: success(message, &wamid),
            accepted: Some(Accepted { wamid, heard }),
        })
    }

    /// Whether Meta takes an open window for closed, as a fault says.
    fn disputes(&mut self, message: &Message) -> bool {
        let may_be = message.category.is_none() && message.is_window_open;
        may_be && !self.strikes(Stage::Window, message).is_empty()
    }

    /// Schedules the statuses of the newest row; returns what to wait for before answering,
    /// if anything.
    fn schedule(
        &mut self,
        message: &Message,
        wamid: &str,
        is_disputed: bool,
        now: Timestamp,
    ) -> Option<Arc<Notify>> {
        let effects = self.strikes(Stage::Plan, message);
        let disputed = is_disputed.then_some(CLOSED);
        let failure = ordered_failure(&effects).or(disputed);
        let mut random = self.seed.generator(Purpose::Delays, self.ledger.len());
        let mut steps = status::plan(message, &self.world.settings, failure, &mut random);
        if effects.contains(&Effect::Reorder { window_ms: None }) {
            status::reorder(&mut steps);
        }
        let mut heard = None;
        if effects.contains(&Effect::BeforeResponse) {
            status::hasten(&mut steps);
            heard = Some(Arc::new(Notify::new()));
        }
        let waits = !message.user.online && !message.user.blocked;
        if waits && steps.iter().all(|step| step.word == Word::Sent) {
            self.waiting.push(message.clone(), wamid.to_owned(), now);
        }
        self.tell_of(message, wamid, steps, now, heard.as_ref());
        heard
    }

    /// Delivers what has waited for users who are online by now.
    pub(crate) fn deliver_waiting(&mut self, now: Timestamp) {
        let world = &self.world;
        let ready = self.waiting.take(now, |message| {
            let user = world.user(&message.user.user_id());
            user.online && !user.blocked
        });
        for mut letter in ready {
            letter.message.user = self.world.user(&letter.message.user.user_id());
            self.delivered += 1;
            let mut random = self.seed.generator(Purpose::Delivery, self.delivered);
            let steps = status::arrive(&letter.message, &self.world.settings, &mut random);
            self.tell_of(&letter.message, &letter.wamid, steps, now, None);
        }
    }

    fn tell_of(
        &mut self,
        message: &Message,
        wamid: &str,
        steps: Vec<Step>,
        since: Timestamp,
        heard: Option<&Arc<Notify>>,
    ) {
        for step in steps {
            let event = event(message, wamid, step, since, heard.cloned());
            self.outbox.push(since + step.told, Job::Emit(event));
        }
    }

    fn strikes(&mut self, stage: Stage, message: &Message) -> Vec<Effect> {
        let user_id = message.user.user_id();
        let subject = Subject {
            pnid: &message.number.id,
            user: [message.recipient.address(), &user_id],
            kind: &message.kind,
        };
        self.faults.take_all(stage, &subject)
    }
}

fn ordered_failure(effects: &[Effect]) -> Option<Failure> {
    let code = |effect: &Effect| match effect {
        Effect::Fail { code, after_sent } => Some(Failure {
            code: *code,
            after_sent: *after_sent,
        }),
        _ => None,
    };
    effects.iter().find_map(code)
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
            is_lite: message.is_lite,
        }),
        heard,
    }
}

/// The window is closed, to Meta.
const CLOSED: Failure = Failure {
    code: 131047,
    after_sent: false,
};
