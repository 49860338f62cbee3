//! From what was seen to what is told: a step for each layer.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response};
use serde_json::Value;

use super::onlooker::{Seen, Sights};
use super::said::{self, Said, listed, principal};
use super::{Answer, Explanation, Layer, Step};
use crate::body::Body;
use crate::context::CorrelationId;
use crate::error::{ApiError, Code};
use crate::header::{
    self, IDEMPOTENCY_KEY, VESTIBULE_IDENTITY, X_CORRELATION_ID, X_RATELIMIT_LIMIT,
    X_RATELIMIT_REMAINING, X_RATELIMIT_RESET,
};
use crate::route::{Policy, RouteMatch, UpstreamKind};
use crate::stack::edge::Rules;

/// All that is known of a request once it has gone past the onlookers.
pub(super) struct Account<'a> {
    pub(super) rules: &'a Rules,
    pub(super) parts: &'a Parts,
    /// Of the body, in bytes.
    pub(super) length: usize,
    pub(super) response: &'a Response<Body<String>>,
    pub(super) seen: &'a Seen,
}

// === impl Account ===

impl Account<'_> {
    /// Tells it.
    pub(super) fn told(self) -> Explanation {
        let refusal = self.response.extensions().get::<ApiError>();
        let sights = self.seen.sights();
        let replay = said::replayed(&sights).filter(|_| refusal.is_none());
        let last = match refusal {
            Some(refusal) => layer_of(refusal, &sights),
            None if replay.is_some() => Layer::Idempotency,
            None => Layer::Upstream,
        };
        let steps = Layer::ALL.map(|layer| {
            let said = match refusal {
                _ if layer > last => said::not_reached(),
                Some(refusal) if layer == last => self.refused(layer, refusal, &sights),
                _ => self.passed(layer, &sights),
            };
            Step {
                layer,
                finding: said.finding,
                reason: said.reason,
                facts: said.facts,
            }
        });
        let status = self.response.status().as_u16();
        let answer = match (refusal, replay) {
            (Some(refusal), _) => Answer::Refused {
                status,
                code: refusal.code().name().to_owned(),
                message: refusal.message().to_owned(),
            },
            (None, Some(_)) => Answer::Replayed { status },
            (None, None) => Answer::Forwarded,
        };
        Explanation {
            request: format!("{} {}", self.parts.method, self.parts.uri.path()),
            unsaid: unsaid(&answer),
            answer,
            steps: steps.into(),
        }
    }

    fn refused(&self, layer: Layer, refusal: &ApiError, sights: &Sights) -> Said {
        let said = match layer {
            Layer::ApiKey => said::key_refused(refusal, sights),
            Layer::Assertion => Said::refuses(self.assertion_fault()),
            Layer::RateLimit => self.over_limit(refusal, sights),
            Layer::Route => self.no_route(),
            Layer::Scope => self.scope_lacking(sights),
            Layer::Length => Said::refuses(format!(
                "the body has {} bytes, and the route takes {}",
                self.length,
                self.policy().map_or(0, |policy| policy.bytes_allowed()),
            )),
            Layer::Idempotency => said::not_executed(refusal, sights),
            _ => Said::refuses(refusal.message()),
        };
        said.fact("status", refusal.status().as_u16())
            .fact("code", refusal.code().name())
    }

    fn passed(&self, layer: Layer, sights: &Sights) -> Said {
        let needs_key = !self.found().is_public() && !self.is_vouched();
        match layer {
            Layer::CorrelationId => self.identified(),
            Layer::Capacity => Said::passes("a place is free among the requests in flight")
                .fact("in_flight_max", self.rules.in_flight_max),
            Layer::Assertion => self.vouched(),
            Layer::ApiKey | Layer::RateLimit | Layer::Scope if !needs_key => {
                let public = "the route is public";
                let vouched = "the layers that signed the assertion have judged that";
                Said::not_asked(if self.found().is_public() {
                    public
                } else {
                    vouched
                })
            }
            Layer::ApiKey => said::key_known(sights),
            Layer::RateLimit => self.in_budget(sights),
            Layer::Route => self.routed(),
            Layer::Scope => self.scoped(sights),
            Layer::MediaType => self.typed(needs_key),
            Layer::Length => self.measured(),
            Layer::IdempotencyKey => self.named(needs_key),
            Layer::Agent => self.acts(needs_key, sights),
            Layer::Idempotency => said::claimed(sights),
            Layer::Upstream => self.forwarded(),
        }
    }

    fn found(&self) -> RouteMatch {
        let (method, path) = (&self.parts.method, self.parts.uri.path());
        self.rules.routes.find(method, path)
    }

    fn policy(&self) -> Option<Arc<Policy>> {
        self.found().policy().cloned()
    }

    fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    fn identified(&self) -> Said {
        let sent = header::single(self.headers(), &X_CORRELATION_ID).and_then(CorrelationId::parse);
        match sent {
            Some(id) => Said::passes("the id that was sent is taken over").fact("id", id.as_str()),
            None if self.headers().contains_key(X_CORRELATION_ID) => Said::passes(
                "what was sent is not one id of 1 to 128 characters of A-Z a-z 0-9 . _ : -; a new one is made",
            ),
            None => Said::passes("no id was sent; one is made"),
        }
    }

    /// Of a request that has come past that: a bad assertion is refused.
    fn is_vouched(&self) -> bool {
        self.rules.trusted.is_some() && self.headers().contains_key(VESTIBULE_IDENTITY)
    }

    fn vouched(&self) -> Said {
        if self.is_vouched() {
            Said::passes("a signed assertion vouches for the request")
        } else if self.rules.trusted.is_none() {
            Said::not_asked("no assertion is trusted here")
        } else {
            Said::not_asked("no assertion was sent")
        }
    }

    fn assertion_fault(&self) -> String {
        let sent = header::single(self.headers(), &VESTIBULE_IDENTITY);
        let (Some(verifier), Some(sent)) = (&self.rules.trusted, sent) else {
            return "only requests with one signed assertion are taken here".to_owned();
        };
        let (method, uri) = (&self.parts.method, &self.parts.uri);
        let judged = verifier.verify(sent.as_bytes(), method, uri, self.rules.clock.now());
        judged.err().map_or_else(String::new, |fault| {
            format!("the assertion is not believed: {fault}")
        })
    }

    fn routed(&self) -> Said {
        let Some(policy) = self.policy() else {
            return Said::passes("a route has this method and path");
        };
        let kind = policy.upstream_kind().map(|kind| match kind {
            UpstreamKind::Deduplicates => "deduplicates",
            UpstreamKind::Executes => "executes",
        });
        Said::passes("a route has this method and path")
            .fact("path", policy.path().map(ToString::to_string))
            .fact("scopes", policy.scopes().collect::<Vec<_>>())
            .fact("idempotency", kind)
            .fact("deadline_seconds", policy.time_allowed().as_secs_f64())
            .fact("body_max", policy.bytes_allowed())
    }

    fn no_route(&self) -> Said {
        match self.found() {
            RouteMatch::OtherMethods(allow) => Said::refuses(format!(
                "the path has routes, for {}",
                allow.to_str().unwrap_or_default()
            )),
            RouteMatch::Unmatched | RouteMatch::Found(_) => Said::refuses(
                "no route has this path; one with //, dot segments or an encoded / . NUL matches none",
            ),
        }
    }

    fn scoped(&self, sights: &Sights) -> Said {
        let policy = self.policy();
        let policy = policy.filter(|policy| policy.scopes().next().is_some());
        let (Some(policy), Some(who)) = (policy, principal(sights)) else {
            return Said::not_asked("any good key will do");
        };
        let fits = policy.scopes().find(|scope| who.scopes().allow(scope));
        let fits = fits.unwrap_or_default();
        Said::passes(format!("the key has the scope '{fits}'"))
    }

    fn scope_lacking(&self, sights: &Sights) -> Said {
        let policy = self.policy();
        let wanted: Vec<&str> = policy.iter().flat_map(|policy| policy.scopes()).collect();
        let who = principal(sights);
        let held: Vec<&str> = who.iter().flat_map(|who| who.scopes().iter()).collect();
        Said::refuses(format!(
            "the route asks for one of: {}; the key has: {}",
            listed(&wanted),
            listed(&held)
        ))
    }

    fn typed(&self, needs_key: bool) -> Said {
        if self.parts.method != Method::POST || !needs_key {
            return Said::not_asked("only a POST that needs a key must have one");
        }
        let sent = header::single(self.headers(), &CONTENT_TYPE);
        let sent = sent
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        Said::passes(format!("the body is said to be {sent}"))
    }

    fn measured(&self) -> Said {
        let most = self.policy().map_or(0, |policy| policy.bytes_allowed());
        Said::passes(format!("{} bytes, of {most} at most", self.length))
    }

    fn named(&self, needs_key: bool) -> Said {
        let policy = self.policy();
        let is_honoured = policy.is_some_and(|policy| policy.upstream_kind().is_some());
        if !is_honoured || !needs_key {
            return Said::not_asked("it is not honoured on this route");
        }
        if self.parts.method != Method::POST {
            return Said::not_asked("it is honoured on a POST only");
        }
        match header::single(self.headers(), &IDEMPOTENCY_KEY) {
            Some(key) => Said::passes(format!("one of {} characters was sent", key.len())),
            None => Said::not_asked("none was sent: the request is executed each time it comes"),
        }
    }

    fn acts(&self, needs_key: bool, sights: &Sights) -> Said {
        let pointer = self.policy();
        let pointer = pointer.as_ref().and_then(|policy| policy.agent_pointer());
        let is_restricted = principal(sights).is_some_and(|who| who.agents().is_some());
        match pointer {
            None => Said::not_asked("the route names no agent: the service judges that"),
            Some(_) if !needs_key || sights.claim.is_none() => Said::not_asked(
                "only the body of a request with an Idempotency-Key is read: the service judges that",
            ),
            Some(_) if !is_restricted => Said::not_asked("the key is restricted to no agent"),
            Some(pointer) => Said::passes(format!(
                "the key may act for the agent at '{pointer}', or none is named there"
            )),
        }
    }

    fn in_budget(&self, sights: &Sights) -> Said {
        let left = number(self.response, &X_RATELIMIT_REMAINING);
        let reason = match &sights.charge {
            Some((_, false)) => {
                "the store of the counters is lost; by the count of this process alone there is room"
            }
            _ => "there is room in the caller's budget",
        };
        self.budget(
            Said::passes(format!("{reason}: {left} left after this request")),
            sights,
        )
    }

    fn over_limit(&self, refusal: &ApiError, sights: &Sights) -> Said {
        let reason = match (&sights.charge, refusal.code()) {
            (Some((_, false)), Code::OVERLOADED) | (None, _) => {
                "neither the store nor this process can count the request".to_owned()
            }
            (charge, _) => {
                let lost = matches!(charge, Some((_, false)));
                let by = if lost {
                    " by the count of this process alone, for the store is lost"
                } else {
                    ""
                };
                let wait = self.seconds_left();
                format!("the caller's budget is spent{by}; its window ends in {wait} s")
            }
        };
        self.budget(Said::refuses(reason), sights)
    }

    /// What the headers of the response tell, so that it is what a caller would read.
    fn budget(&self, said: Said, sights: &Sights) -> Said {
        let told = |name| number(self.response, name);
        let said = said
            .fact("limit", told(&X_RATELIMIT_LIMIT))
            .fact("left", told(&X_RATELIMIT_REMAINING))
            .fact("resets_at", told(&X_RATELIMIT_RESET));
        let Some((quota, _)) = &sights.charge else {
            return said;
        };
        said.fact("window_seconds", quota.window().as_secs_f64())
            .fact("burst", quota.burst())
    }

    fn seconds_left(&self) -> u64 {
        let reset = number(self.response, &X_RATELIMIT_RESET);
        let now = self.rules.clock.now().as_unix_seconds();
        reset.as_u64().unwrap_or_default().saturating_sub(now)
    }

    fn forwarded(&self) -> Said {
        let deadline = self.policy().map(|policy| policy.time_allowed());
        let deadline = deadline.unwrap_or_default();
        Said::passes(format!(
            "the request is sent on, and has {deadline:?} for its answer"
        ))
    }
}

/// A number in a header of the response; null where it has none.
fn number(response: &Response<Body<String>>, name: &HeaderName) -> Value {
    let value = response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok());
    value.and_then(|text| text.parse::<u64>().ok()).into()
}

/// Which layer makes a refusal. The codes that several of them answer are told apart by
/// how far the request came.
fn layer_of(refusal: &ApiError, sights: &Sights) -> Layer {
    match refusal.code() {
        Code::AUTH_STORE_UNAVAILABLE if sights.key.is_none() => Layer::Assertion,
        Code::OVERLOADED => match (&sights.key, &sights.charge) {
            (_, Some((_, false))) => Layer::RateLimit,
            (_, Some(_)) => Layer::Idempotency,
            (Some(_), None) => Layer::RateLimit,
            (None, None) => Layer::Capacity,
        },
        Code::RATE_LIMIT_EXCEEDED => Layer::RateLimit,
        Code::ENDPOINT_NOT_FOUND | Code::METHOD_NOT_ALLOWED => Layer::Route,
        Code::INSUFFICIENT_SCOPE => Layer::Scope,
        Code::UNSUPPORTED_MEDIA_TYPE => Layer::MediaType,
        Code::PAYLOAD_TOO_LARGE => Layer::Length,
        Code::INVALID_IDEMPOTENCY_KEY => Layer::IdempotencyKey,
        Code::AGENT_NOT_AUTHORIZED => Layer::Agent,
        Code::IDEMPOTENCY_KEY_IN_PROGRESS
        | Code::IDEMPOTENCY_KEY_IN_USE
        | Code::IDEMPOTENCY_OUTCOME_UNKNOWN
        | Code::IDEMPOTENCY_RESPONSE_NOT_STORED
        | Code::IDEMPOTENCY_STORE_FULL
        | Code::IDEMPOTENCY_STORE_UNAVAILABLE => Layer::Idempotency,
        Code::INVALID_API_KEY
        | Code::REVOKED_API_KEY
        | Code::EXPIRED_API_KEY
        | Code::AUTH_STORE_UNAVAILABLE => Layer::ApiKey,
        // A refusal that a layer further out has put in.
        _ => Layer::Capacity,
    }
}

/// What cannot be said without sending the request.
fn unsaid(answer: &Answer) -> Vec<String> {
    let mut unsaid =
        vec!["What other requests do before this one is sent can change what it meets.".to_owned()];
    if *answer == Answer::Forwarded {
        unsaid.push("What the service answers is known only once it is asked.".to_owned());
    }
    unsaid
}
