//! What a route asks of a request, and the judgement whether a request meets it.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::error::ApiError;
use crate::header;
use crate::principal::Principal;

/// What a route asks of its requests.
///
/// In the extensions of every request behind the routes, within a
/// [`RouteMatch`](super::RouteMatch).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The path pattern that it was entered under; none before that.
    path: Option<Arc<str>>,
    public: bool,
    /// Any one of them will do; none asks for nothing beyond a key.
    scopes: Vec<Box<str>>,
    idempotency: Option<UpstreamKind>,
    key_required: bool,
    keeps_client_errors: bool,
    agent: Option<Box<str>>,
    /// None is JSON.
    media_type: Option<Box<str>>,
    deadline: Duration,
    body_max: u64,
}

/// What an upstream does with a request that it has seen before (contract §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamKind {
    /// It knows its requests by their Idempotency-Key and executes each once.
    Deduplicates,
    /// It executes whatever it is sent.
    Executes,
}

// === impl Policy ===

impl Policy {
    /// No key is asked for; the body is passed on as it came.
    pub fn public() -> Self {
        Self {
            public: true,
            ..Self::authenticated()
        }
    }

    /// Any good key will do.
    pub fn authenticated() -> Self {
        Self {
            path: None,
            public: false,
            scopes: Vec::new(),
            idempotency: None,
            key_required: false,
            keeps_client_errors: false,
            agent: None,
            media_type: None,
            deadline: DEADLINE,
            body_max: BODY_MAX,
        }
    }

    /// The key must have this scope.
    pub fn scope(scope: impl Into<Box<str>>) -> Self {
        Self::any_scope([scope])
    }

    /// The key must have one of these scopes; a refusal names the last.
    pub fn any_scope<I: IntoIterator<Item: Into<Box<str>>>>(scopes: I) -> Self {
        Self {
            scopes: scopes.into_iter().map(Into::into).collect(),
            ..Self::authenticated()
        }
    }

    /// Honours the Idempotency-Key for an upstream that executes whatever it is sent.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotency = Some(UpstreamKind::Executes);
        self
    }

    /// Honours the Idempotency-Key for an upstream that de-duplicates by itself.
    #[must_use]
    pub fn deduplicated(mut self) -> Self {
        self.idempotency = Some(UpstreamKind::Deduplicates);
        self
    }

    /// Honours the Idempotency-Key for a handler that ends its claim in the transaction of
    /// its effect, with `Claim::finish`.
    ///
    /// Effect and record are then there both or neither, so this is a handler that
    /// de-duplicates: a claim that lapsed or failed has left nothing behind and may be
    /// taken over, and the transaction of the first one is refused after that. Nothing else
    /// may have an effect in such a handler.
    #[must_use]
    pub fn transactional(self) -> Self {
        self.deduplicated()
    }

    /// Refuses a request without an Idempotency-Key.
    #[must_use]
    pub fn require_idempotency_key(mut self) -> Self {
        self.key_required = true;
        self
    }

    /// Keeps a 4xx of the handler too, instead of letting the key be used again.
    #[must_use]
    pub fn keep_client_errors(mut self) -> Self {
        self.keeps_client_errors = true;
        self
    }

    /// Where in the JSON body the agent is named (RFC 6901), so that the key's allowlist
    /// is judged before a keyed request is claimed.
    #[must_use]
    pub fn agent(mut self, pointer: impl Into<Box<str>>) -> Self {
        self.agent = Some(pointer.into());
        self
    }

    /// The media type that a POST must have, sent with parameters or without;
    /// `application/json` by default. `application/grpc` is also `application/grpc+proto`.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<Box<str>>) -> Self {
        self.media_type = Some(media_type.into());
        self
    }

    /// How long the upstream may take until the head of its answer; 30 s by default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many bytes a body may have; 1 MiB by default.
    #[must_use]
    pub fn body_max(mut self, bytes: u64) -> Self {
        self.body_max = bytes;
        self
    }

    /// The path pattern of the route, such as `/v1/charges/{id}`; none before it was entered
    /// into [`Routes`](super::Routes).
    pub fn path(&self) -> Option<&Arc<str>> {
        self.path.as_ref()
    }

    /// The policy of the route with this path.
    pub(super) fn entered(self: Arc<Self>, path: &str) -> Arc<Self> {
        let mut policy = Arc::unwrap_or_clone(self);
        policy.path = Some(path.into());
        Arc::new(policy)
    }

    /// Whether a request needs no key.
    pub fn is_public(&self) -> bool {
        self.public
    }

    /// The scopes of which a key must have one; none where any good key will do.
    pub fn scopes(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.scopes.iter().map(|scope| &**scope)
    }

    /// What the upstream does with a repetition; none where the Idempotency-Key is not honoured.
    pub fn upstream_kind(&self) -> Option<UpstreamKind> {
        self.idempotency
    }

    /// Whether a POST without an Idempotency-Key is refused.
    pub fn requires_idempotency_key(&self) -> bool {
        self.key_required
    }

    /// Whether a 4xx of the handler is kept.
    pub fn keeps_client_errors(&self) -> bool {
        self.keeps_client_errors
    }

    /// Where in the body the agent is named.
    pub fn agent_pointer(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// How long the upstream may take until the head of its answer.
    pub fn time_allowed(&self) -> Duration {
        self.deadline
    }

    /// How many bytes a body may have.
    pub fn bytes_allowed(&self) -> u64 {
        self.body_max
    }

    /// Judges scope, then media type, then declared length (contract §3, order of answers).
    ///
    /// # Errors
    ///
    /// The refusal that the caller is told.
    pub fn judge(
        &self,
        principal: &Principal,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        self.judge_scope(principal)?;
        if method == Method::POST {
            self.judge_media_type(headers)?;
        }
        self.judge_length(headers)
    }

    /// Judges the declared length alone, as a public route does.
    ///
    /// # Errors
    ///
    /// 413 where the body is said to be longer than the route allows.
    pub fn judge_length(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        match declared_length(headers) {
            Some(length) if length > self.body_max => {
                Err(ApiError::payload_too_large(self.body_max))
            }
            _ => Ok(()),
        }
    }

    /// Judges whether the key may act for the agent that a buffered body names.
    ///
    /// A body that names none, or is no JSON, passes: the handler says what is wrong
    /// with it.
    ///
    /// # Errors
    ///
    /// 403 where the key is restricted to other agents.
    pub fn judge_agent(&self, principal: &Principal, body: &[u8]) -> Result<(), ApiError> {
        let Some(pointer) = self
            .agent
            .as_deref()
            .filter(|_| principal.agents().is_some())
        else {
            return Ok(());
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match body.pointer(pointer).and_then(Value::as_str) {
            Some(agent) if !principal.may_act_for(agent) => Err(ApiError::agent_not_authorized()),
            _ => Ok(()),
        }
    }

    fn judge_media_type(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let wanted = self.media_type.as_deref().unwrap_or(JSON);
        let sent = header::single(headers, &CONTENT_TYPE);
        if sent.is_some_and(|sent| header::is_media_type(sent, wanted)) {
            Ok(())
        } else {
            Err(ApiError::other_media_type(wanted))
        }
    }

    fn judge_scope(&self, principal: &Principal) -> Result<(), ApiError> {
        let Some(named) = self.scopes.last() else {
            return Ok(());
        };
        if self
            .scopes
            .iter()
            .any(|scope| principal.scopes().allow(scope))
        {
            return Ok(());
        }
        Err(ApiError::insufficient_scope(named))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::authenticated()
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    header::single(headers, &CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Peers' time limits for one call lie between 30 and 35 s.
const DEADLINE: Duration = Duration::from_secs(30);

/// What an API takes unless a route says something else (contract §2).
const JSON: &str = "application/json";

/// 1 MiB (contract §1).
const BODY_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_request_is_judged_by_scope_then_media_type_then_length() {
        let policy = Policy::scope("a:b").body_max(10);
        let with = Principal::builder("acc", "k").scopes(["a:b"]).build();
        let without = Principal::builder("acc", "k").build();
        for (who, media_type, length, want) in [
            (&without, "text/plain", "11", "insufficient_scope"),
            (&with, "text/plain", "11", "unsupported_media_type"),
            (&with, "application/json", "11", "payload_too_large"),
            (&with, "application/json", "10", ""),
            (&with, "Application/JSON ; charset=utf-8", "10", ""),
            (&with, "application/jsonp", "10", "unsupported_media_type"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
            let refusal = policy.judge(who, &Method::POST, &headers).err();
            let code = refusal.as_ref().map_or("", |error| error.code().name());
            assert_eq!(code, want, "{media_type} {length}");
        }
    }

    #[test]
    fn only_a_post_needs_a_media_type() {
        let who = Principal::builder("acc", "k").build();
        let headers = HeaderMap::new();
        assert!(
            Policy::authenticated()
                .judge(&who, &Method::GET, &headers)
                .is_ok()
        );
        assert!(
            Policy::authenticated()
                .judge(&who, &Method::POST, &headers)
                .is_err()
        );
    }

    #[test]
    fn a_route_may_take_another_media_type_than_json() {
        let policy = Policy::authenticated().media_type("application/grpc");
        let who = Principal::builder("acc", "k").build();
        for (media_type, allowed) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/grpc; a=b", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            let judged = policy.judge(&who, &Method::POST, &headers);
            assert_eq!(judged.is_ok(), allowed, "{media_type}");
        }
    }

    #[test]
    fn any_one_of_several_scopes_will_do() {
        let policy = Policy::any_scope(["m:send", "m:read"]);
        for (scope, allowed) in [
            ("m:send", true),
            ("m:read", true),
            ("*", true),
            ("m:list", false),
        ] {
            let who = Principal::builder("acc", "k").scopes([scope]).build();
            assert_eq!(
                policy.judge(&who, &Method::GET, &HeaderMap::new()).is_ok(),
                allowed,
                "{scope}"
            );
        }
    }
}
