//! What each layer would say to a request, and why, without charging or claiming anything.
//!
//! # Example
//!
//! ```
//! use http::Request;
//! use vestibule::api_key::Keys;
//! use vestibule::route::Policy;
//! use vestibule::stack::explain::{Answer, Finding, Layer};
//! use vestibule::{ApiLayer, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = Store::open("memory:").await?;
//! let api = ApiLayer::builder(store, Keys::new([])?)
//!     .route("GET /v1/charges/{id}", Policy::scope("charges:read"))
//!     .build()?;
//!
//! let told = api.explain(Request::get("/v1/charges/17").body("".into())?).await;
//! let Answer::Refused { status, code, .. } = &told.answer else { panic!("{told}") };
//! assert_eq!((*status, code.as_str()), (401, "invalid_api_key"));
//! assert_eq!(told.step(Layer::RateLimit).finding, Finding::NotReached);
//! # Ok(())
//! # }
//! ```
//!
//! The request goes through the very services of the stack, so what is explained cannot drift
//! from what is done. Three things are put in their places: a store that looks where the
//! real one would charge and claim, a keyring that looks at the newest record and notes no
//! use, and innermost a service that only sees whether the request came through.
//!
//! What other requests do meanwhile can change the answer before the request is sent.

mod account;
mod onlooker;
mod said;
mod text;

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower_service::Service;

use self::onlooker::{Door, Lookup, Onlooker, Seen};
use super::ApiLayer;
use super::admission::Admission;
use super::admit::{Admit, Gate};
use super::cleanse::Cleanse;
use super::edge::Edge;
use crate::api_key::Keyring;
use crate::body::Body;
use crate::guarded::Guarded;

/// What would become of a request, and what each layer would say to it.
///
/// Its `Display` is for people, its JSON for machines; neither has a key, a body or a query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Explanation {
    /// Method and path.
    pub request: String,
    /// What the caller would be answered.
    pub answer: Answer,
    /// The layers in the order of their answers: the first that refuses is the one told.
    pub steps: Vec<Step>,
    /// What cannot be said without sending the request.
    pub unsaid: Vec<String>,
}

/// What the caller would be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Answer {
    /// Whatever the service behind the layers answers.
    Forwarded,
    /// The refusal of a layer.
    Refused {
        /// Its status.
        status: u16,
        /// The word that clients branch on.
        code: String,
        /// The text for people.
        message: String,
    },
    /// The first response to the same request, again.
    Replayed {
        /// Its status.
        status: u16,
    },
}

/// What one layer would say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// Which.
    pub layer: Layer,
    /// What it would do.
    pub finding: Finding,
    /// Why, in words for whoever runs the API: a caller is told less.
    pub reason: String,
    /// What it goes by: limits, ids, moments in Unix seconds.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub facts: Map<String, Value>,
}

/// What a layer would do with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// It would answer by itself, which is no refusal: a replay.
    Answers,
    /// It does not concern the request.
    NotAsked,
    /// A layer before it would answer.
    NotReached,
    /// It would let it pass.
    Passes,
    /// It would refuse it.
    Refuses,
}

/// The layers, in the order of their answers (contract §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layer {
    /// Which id the request has.
    CorrelationId,
    /// Whether there is a place for it among those in flight.
    Capacity,
    /// Whether a signed assertion vouches for it.
    Assertion,
    /// Who is calling.
    ApiKey,
    /// Whether the caller's budget has room.
    RateLimit,
    /// Whether there is such an endpoint.
    Route,
    /// What the key may do.
    Scope,
    /// What the body is said to be.
    MediaType,
    /// How long the body is.
    Length,
    /// Under which name it asks to be executed once.
    IdempotencyKey,
    /// For whom the key may act.
    Agent,
    /// Whether it was executed before.
    Idempotency,
    /// The service behind the layers.
    Upstream,
}

// === impl ApiLayer ===

impl<S: Admission, K: Keyring> ApiLayer<S, K> {
    /// What this stack would say to a request, and why.
    ///
    /// Nothing is charged, claimed or noted, and nothing reaches the service behind the
    /// layers. See the [module docs](self).
    pub async fn explain(&self, request: Request<Bytes>) -> Explanation {
        let seen = Arc::new(Seen::default());
        let (parts, body) = request.into_parts();
        let length = body.len();
        let response = self
            .judge(Request::from_parts(parts.clone(), body), &seen)
            .await;
        account::Account {
            rules: &self.rules,
            parts: &parts,
            length,
            response: &response,
            seen: &seen,
        }
        .told()
    }

    /// Sends a request through the services of the stack, past onlookers.
    async fn judge(&self, request: Request<Bytes>, seen: &Arc<Seen>) -> Response<Body<String>> {
        let store = Onlooker::new(self.gate.store.clone(), seen);
        let store = Guarded::new(store, Arc::clone(&self.rules.clock));
        let keyring = |keyring: &K| Lookup::new(keyring.clone(), seen);
        let gate = Gate {
            authenticator: self.gate.authenticator.looking_at(keyring),
            limiter: self.gate.limiter.looking_at(store.clone()),
            executor: self.gate.executor.looking_at(store.clone()),
            store,
        };
        let door = Cleanse::new(Door::new(seen));
        let admit = Admit::new(door, Arc::new(gate));
        let edge = Edge::new(admit, Arc::clone(&self.rules));
        let Ok(response) = once(edge, request.map(Body::<String>::full)).await;
        response
    }
}

/// Calls a service once it is ready.
async fn once<T: Service<R>, R>(mut service: T, request: R) -> Result<T::Response, T::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

// === impl Explanation ===

impl Explanation {
    /// What this layer would say.
    ///
    /// # Panics
    ///
    /// Where it was read from JSON that does not name every layer.
    pub fn step(&self, layer: Layer) -> &Step {
        let found = self.steps.iter().find(|step| step.layer == layer);
        found.expect("every layer has a step")
    }

    /// Whether the request would be answered as its caller wishes: by the service, now or
    /// the first time.
    pub const fn passes(&self) -> bool {
        !matches!(self.answer, Answer::Refused { .. })
    }
}

// === impl Layer ===

impl Layer {
    /// All of them, in the order of their answers.
    pub const ALL: [Self; 13] = [
        Self::CorrelationId,
        Self::Capacity,
        Self::Assertion,
        Self::ApiKey,
        Self::RateLimit,
        Self::Route,
        Self::Scope,
        Self::MediaType,
        Self::Length,
        Self::IdempotencyKey,
        Self::Agent,
        Self::Idempotency,
        Self::Upstream,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CorrelationId => "correlation id",
            Self::Capacity => "capacity",
            Self::Assertion => "assertion",
            Self::ApiKey => "API key",
            Self::RateLimit => "rate limit",
            Self::Route => "route",
            Self::Scope => "scope",
            Self::MediaType => "media type",
            Self::Length => "length",
            Self::IdempotencyKey => "Idempotency-Key",
            Self::Agent => "agent",
            Self::Idempotency => "idempotency",
            Self::Upstream => "upstream",
        }
    }
}

#[cfg(test)]
mod tests;
