//! Accepting a message: look for a repeat, check the window, insert, answer.
//!
//! Nothing is answered before it is on disk. A repeat is looked for first, so that it gets
//! the first answer whatever has changed since, and once more inside the insert's
//! transaction, where two who came at once are told apart.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Notify;
use tracing::{error, info};
use uuid::Uuid;
use vestibule::clock::{SharedClock, Timestamp};
use vestibule::entropy::SharedEntropy;
use vestibule::error::Code;
use vestibule::{ApiError, Claim, CorrelationId, Fingerprint, Principal};

use crate::delivery::{LASTS, QUEUE_MAX};
use crate::directory::Connection;
use crate::message::{Content, Kind, Message, MessageId, Policy, State};
use crate::metrics::{At, Metrics};
use crate::recipient::PhoneNumber;
use crate::store::{Insertion, Kept, Ledger, NewMessage, Once, StoreError};
use crate::window::{self, ACCEPT_MARGIN, Knowledge, Verdict};

/// The use case behind both sending endpoints.
#[derive(Clone, Debug)]
pub struct Acceptance<S> {
    store: S,
    clock: SharedClock,
    entropy: SharedEntropy,
    queued: Arc<Notify>,
    rules: Arc<Rules>,
    metrics: Metrics,
}

/// Who asks, for which request, under which claim.
#[derive(Clone, Debug)]
pub struct Call {
    /// The caller.
    pub who: Principal,
    /// The claim on the request's key, where it has one.
    pub claim: Option<Claim>,
    /// The request.
    pub correlation_id: CorrelationId,
    /// The trace of the request (W3C Trace Context), where it came with one.
    pub traceparent: Option<Box<str>>,
}

/// A message as it was asked for, every field checked.
#[derive(Clone, Debug)]
pub struct Order {
    /// The agent that sends.
    pub agent_id: Uuid,
    /// The number that it sends from.
    pub from: Connection,
    /// Whom it goes to.
    pub to: PhoneNumber,
    /// What it says.
    pub content: Content,
    /// How it is to be delivered.
    pub wishes: Wishes,
}

/// How a caller wants a message delivered, where it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// What becomes of it when nobody can tell whether it was sent.
    pub policy: Option<Policy>,
    /// Whether it waits until those before it, to the same customer, have arrived.
    pub in_order: bool,
    /// How long it is worth sending; a day at most.
    pub expires_after: Option<Duration>,
}

/// By which rules messages are accepted.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The API keys, by id, whose messages are rather sent twice than never.
    pub at_least_once_keys: HashSet<Box<str>>,
    /// Whether Meta is asked where a window is not known.
    pub allows_unknown_window: bool,
}

/// The answer to a message that was accepted, now or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
    /// The request that was executed, where this one repeats it.
    pub first: Option<Box<str>>,
}

// === impl Acceptance ===

impl<S: Ledger> Acceptance<S> {
    /// Accepts into this store, by these rules; `queued` is told of every new message.
    pub fn new(
        store: S,
        rules: Rules,
        clock: SharedClock,
        entropy: SharedEntropy,
        queued: Arc<Notify>,
        metrics: Metrics,
    ) -> Self {
        Self {
            store,
            clock,
            entropy,
            queued,
            rules: Arc::new(rules),
            metrics,
        }
    }

    /// The first answer, if this call repeats one.
    ///
    /// # Errors
    ///
    /// Where the key was used for another request, or the store is away.
    pub async fn repeat(&self, call: &Call) -> Result<Option<Accepted>, ApiError> {
        let Some(claim) = &call.claim else {
            return Ok(None);
        };
        let caller = call.who.caller().as_str();
        match self.store.kept(caller, &claim.idempotency_key).await {
            Ok(None) => Ok(None),
            Ok(Some(kept)) => replay(kept, claim.fingerprint).map(Some),
            Err(cause) => Err(unavailable(&cause)),
        }
    }

    /// Accepts a message.
    ///
    /// # Errors
    ///
    /// Where its window is closed, the key was used for another request, the lease of the
    /// claim has ended, or the store is away. Nothing is queued then.
    pub async fn accept(&self, call: &Call, order: Order) -> Result<Accepted, ApiError> {
        let now = self.clock.now();
        self.check_window(&order, now).await?;
        let new = self.new_message(call, order, now);
        let id = new.message.id;
        let answer = Accepted {
            status: StatusCode::ACCEPTED,
            body: written(&new.message),
            first: None,
        };
        let once = call.claim.as_ref().map(|claim| once(call, claim, &answer));
        match self.store.insert(new, once).await {
            Ok(Insertion::Inserted) => {
                info!(id = %id, "a message was accepted");
                self.queued.notify_one();
                Ok(answer)
            }
            Ok(Insertion::Repeated(kept)) => {
                let asked = call.claim.as_ref().map(|claim| claim.fingerprint);
                replay(kept, asked.expect("only a claim can be repeated"))
            }
            // The layer in front releases the key on a 503, and the caller may try again.
            Ok(Insertion::LeaseEnded) => Err(ApiError::idempotency_store_unavailable()),
            Err(cause) => Err(unavailable(&cause)),
        }
    }

    /// The window as it is known here (contract §9: text inside it, templates at any time).
    ///
    /// # Errors
    ///
    /// Where the store is away.
    pub async fn window(
        &self,
        phone_number_id: &str,
        user: &str,
        now: Timestamp,
    ) -> Result<Verdict, ApiError> {
        let window = self.store.window(phone_number_id, user).await;
        let window = window.map_err(|cause| unavailable(&cause))?;
        let verdict = window::judge(window, Knowledge::of_everything(), now, ACCEPT_MARGIN);
        if verdict != Verdict::Closed {
            return Ok(verdict);
        }
        // Only now it matters whether the deployment can know.
        let knowledge = self.store.knowledge().await;
        let knowledge = knowledge.map_err(|cause| unavailable(&cause))?;
        Ok(window::judge(window, knowledge, now, ACCEPT_MARGIN))
    }

    async fn check_window(&self, order: &Order, now: Timestamp) -> Result<(), ApiError> {
        if order.content.kind() == Kind::Template {
            return Ok(());
        }
        let number = &order.from.phone_number_id;
        let verdict = self.window(number, order.to.digits(), now).await?;
        self.metrics.window(At::Accept, verdict);
        let message = match verdict {
            Verdict::Open { .. } => return Ok(()),
            Verdict::Unknown if self.rules.allows_unknown_window => return Ok(()),
            Verdict::Unknown => {
                "Whether the customer has written in the last 24 hours is not known yet: \
                 only a template may be sent."
            }
            Verdict::Closed => {
                "The customer has not written in the last 24 hours: only a template may be sent."
            }
        };
        Err(ApiError::new(Code::OUTSIDE_24H_WINDOW, message))
    }

    fn new_message(&self, call: &Call, order: Order, now: Timestamp) -> NewMessage {
        let wishes = order.wishes;
        let is_careless = self.rules.at_least_once_keys.contains(call.who.key_id());
        let policy = match is_careless {
            true => Policy::AtLeastOnce,
            false => Policy::AtMostOnce,
        };
        NewMessage {
            message: Message {
                id: MessageId::mint(now, self.entropy.draw()),
                account: call.who.account().into(),
                agent_id: order.agent_id,
                to: Some(order.to.clone()),
                kind: order.content.kind(),
                state: State::Queued,
                wamid: None,
                failure: None,
                created_at: now,
                sent_at: None,
                delivered_at: None,
                read_at: None,
                failed_at: None,
            },
            to: order.to,
            phone_number_id: order.from.phone_number_id,
            content: order.content,
            correlation_id: call.correlation_id.as_str().into(),
            traceparent: call.traceparent.clone(),
            policy: wishes.policy.unwrap_or(policy),
            in_order: wishes.in_order,
            expires_at: now + wishes.expires_after.unwrap_or(QUEUE_MAX).min(QUEUE_MAX),
            lasts: LASTS,
        }
    }
}

/// What a caller is told when the store took no step: the cause is for the log.
pub fn unavailable(cause: &StoreError) -> ApiError {
    if cause.is_overload() {
        return ApiError::overloaded();
    }
    error!(?cause, "the store failed");
    ApiError::internal()
}

fn once(call: &Call, claim: &Claim, answer: &Accepted) -> Once {
    Once {
        caller: call.who.caller().as_str().into(),
        claim: claim.clone(),
        response: Kept {
            fingerprint: claim.fingerprint,
            status: answer.status.as_u16(),
            body: answer.body.clone(),
            correlation_id: call.correlation_id.as_str().into(),
        },
    }
}

fn replay(kept: Kept, asked: Fingerprint) -> Result<Accepted, ApiError> {
    if kept.fingerprint != asked {
        return Err(ApiError::idempotency_key_in_use(&kept.correlation_id));
    }
    Ok(Accepted {
        status: StatusCode::from_u16(kept.status).unwrap_or(StatusCode::ACCEPTED),
        body: kept.body,
        first: Some(kept.correlation_id),
    })
}

fn written(message: &Message) -> Bytes {
    serde_json::to_vec(&message.view(true))
        .expect("a view is text, numbers and null")
        .into()
}
