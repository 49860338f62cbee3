//! Accepting a message: look for a repeat, check the window, insert, answer.
//!
//! Nothing is answered before it is on disk. A repeat is looked for first, so that it gets
//! the first answer whatever has changed since, and once more inside the insert's
//! transaction, where two who came at once are told apart.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Notify;
use tracing::{error, info};
use uuid::Uuid;
use vestibule::clock::{SharedClock, Timestamp};
use vestibule::entropy::SharedEntropy;
use vestibule::error::Code;
use vestibule::{ApiError, Claim, CorrelationId, Fingerprint, Principal};

use crate::delivery::QUEUE_MAX;
use crate::directory::Connection;
use crate::message::{Content, Kind, Message, MessageId, State};
use crate::recipient::PhoneNumber;
use crate::store::{Insertion, Kept, Ledger, NewMessage, Once, StoreError};
use crate::window::ACCEPT_MARGIN;

/// The use case behind both sending endpoints.
#[derive(Clone, Debug)]
pub struct Acceptance<S> {
    store: S,
    clock: SharedClock,
    entropy: SharedEntropy,
    queued: Arc<Notify>,
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
    /// Accepts into this store; `queued` is told of every new message.
    pub fn new(store: S, clock: SharedClock, entropy: SharedEntropy, queued: Arc<Notify>) -> Self {
        Self {
            store,
            clock,
            entropy,
            queued,
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

    async fn check_window(&self, order: &Order, now: Timestamp) -> Result<(), ApiError> {
        if order.content.kind() == Kind::Template {
            return Ok(());
        }
        let number = &order.from.phone_number_id;
        let window = self
            .store
            .window(number, order.to.digits())
            .await
            .map_err(|cause| unavailable(&cause))?;
        if window.is_some_and(|window| window.is_open(now, ACCEPT_MARGIN)) {
            return Ok(());
        }
        Err(ApiError::new(
            Code::OUTSIDE_24H_WINDOW,
            "The customer has not written in the last 24 hours: only a template may be sent.",
        ))
    }

    fn new_message(&self, call: &Call, order: Order, now: Timestamp) -> NewMessage {
        NewMessage {
            message: Message {
                id: MessageId::mint(now, self.entropy.draw()),
                account: call.who.account().into(),
                agent_id: order.agent_id,
                to: order.to,
                kind: order.content.kind(),
                state: State::Queued,
                wamid: None,
                failure: None,
                created_at: now,
                sent_at: None,
                failed_at: None,
            },
            phone_number_id: order.from.phone_number_id,
            content: order.content,
            correlation_id: call.correlation_id.as_str().into(),
            expires_at: now + QUEUE_MAX,
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
