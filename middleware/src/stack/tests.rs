//! Rules of the whole stack: the order of its answers, and what is on every response.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::api_key::{ApiKey, KeyRecord, Keys, Peppers};
use crate::clock::Timestamp;
use crate::context::Claim;
use crate::entropy::SystemEntropy;
use crate::error::{ApiError, Code};
use crate::identity::{AssertLayer, Secret, Signer, Verifier};
use crate::principal::Principal;
use crate::route::Policy;
use crate::telemetry::{KeyDecision, Observer};
use crate::testing::{CountingEntropy, ManualClock};
use crate::{Store, memory};

type Sent = Request<Full<Bytes>>;
type Got = Request<RequestBody<Full<Bytes>>>;

/// Each row breaks a rule, and every later rule that can be broken with it.
const ORDER: &str = r#"
    bad    POST /v1/nothing text/plain       long          -  401 invalid_api_key
    spent  POST /v1/nothing text/plain       long          -  429 rate_limit_exceeded
    narrow POST /v1/charges text/plain       long          -  403 insufficient_scope
    wide   POST /v1/nothing text/plain       long          -  404 endpoint_not_found
    wide   PUT  /v1/charges text/plain       long          -  405 method_not_allowed
    wide   POST /v1/charges text/plain       long          -  415 unsupported_media_type
    wide   POST /v1/charges application/json long          -  413 payload_too_large
    wide   POST /v1/charges application/json {"agent":"b"} -  422 invalid_idempotency_key
    wide   POST /v1/charges application/json {"agent":"b"} k  403 agent_not_authorized
    wide   POST /v1/charges application/json {"agent":"a"} k  200
    wide   POST /v1/charges application/json {"agent":"A"} k  422 idempotency_key_in_use_with_different_params
"#;

#[tokio::test]
async fn answers_in_the_order_of_the_contract() {
    let world = World::new(20);
    for row in ORDER.trim().lines() {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let [key, method, path, media_type, body, idempotency_key, ..] = cells[..] else {
            unreachable!("a row has six cells and the answer");
        };
        let body = if body == "long" {
            "x".repeat(40)
        } else {
            body.to_owned()
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", world.key(key)))
            .header("content-type", media_type)
            .header("content-length", body.len())
            .header("idempotency-key", idempotency_key.trim_matches('-'))
            .body(Full::from(body))
            .unwrap();
        let (status, headers, text) = world.send(request).await;
        let body = serde_json::from_str::<Value>(&text).unwrap_or_default();
        let code = body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!(
            format!("{} {code}", status.as_u16()).trim(),
            cells[6..].join(" "),
            "{row}"
        );
        assert_eq!(headers["cache-control"], "no-store", "{row}");
        assert_eq!(
            headers.contains_key("x-ratelimit-limit"),
            status != 401,
            "{row}"
        );
    }
}

#[tokio::test]
async fn the_id_of_a_response_is_the_id_in_its_error() {
    let world = World::new(9);
    let (_, headers, text) = world
        .send(Request::get("/").body(Full::default()).unwrap())
        .await;
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        body["error"]["correlation_id"].as_str().unwrap(),
        headers["x-correlation-id"]
    );
}

#[tokio::test]
async fn a_layer_further_out_can_refuse_and_can_count_who_was_not_let_in() {
    let world = World::new(9);
    let mut refused = world.charge("k", r#"{"agent":"a"}"#);
    let refusal = Refusal(ApiError::too_many_failed_attempts(Duration::from_secs(7)));
    refused.extensions_mut().insert(refusal);
    let (status, headers, text) = world.send(refused).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers["retry-after"], "7");
    assert!(text.contains(headers["x-correlation-id"].to_str().unwrap()));
    assert!(
        !headers.contains_key("x-ratelimit-limit"),
        "nothing was charged"
    );
    assert_eq!(world.executed(), 0);

    let mut unknown = world.charge("k", r#"{"agent":"a"}"#);
    unknown.headers_mut().remove("authorization");
    for (request, want) in [
        (unknown, true),
        (world.charge("k", r#"{"agent":"a"}"#), false),
    ] {
        let service = world.api.layer(service_fn(drain));
        let response = service.oneshot(request).await.unwrap();
        let marked = response.extensions().get::<Unauthenticated>().is_some();
        assert_eq!(marked, want, "{}", response.status());
    }
}

#[tokio::test]
async fn a_replay_is_marked_and_charged_and_names_the_first_request() {
    let world = World::new(9);
    let send = async || world.send(world.charge("k", r#"{"agent":"a"}"#)).await;
    let (first, replay) = (send().await, send().await);
    assert_eq!((first.0, &first.2), (replay.0, &replay.2));
    assert_eq!(world.executed(), 1);
    assert!(!first.1.contains_key("idempotent-replayed"));
    assert_eq!(replay.1["idempotent-replayed"], "true");
    assert_eq!(
        replay.1["x-original-correlation-id"],
        first.1["x-correlation-id"]
    );
    assert_ne!(replay.1["x-correlation-id"], first.1["x-correlation-id"]);
    assert_eq!(
        (
            &first.1["x-ratelimit-remaining"],
            &replay.1["x-ratelimit-remaining"]
        ),
        (&"8".parse().unwrap(), &"7".parse().unwrap())
    );
}

#[tokio::test]
async fn a_panic_is_answered_and_its_outcome_stays_unknown() {
    let world = World::new(9);
    let keyed = || world.charge("k", r#"{"agent":"a","panic":true}"#);
    let (status, headers, text) = world.send(keyed()).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("internal_error") && headers.contains_key("x-ratelimit-limit"));
    assert!(
        world
            .send(keyed())
            .await
            .2
            .contains("idempotency_outcome_unknown")
    );
    assert_eq!(world.executed(), 1);
    let mut unkeyed = world.charge("k", r#"{"agent":"a","panic":true}"#);
    unkeyed.headers_mut().remove("idempotency-key");
    assert!(world.send(unkeyed).await.2.contains("internal_error"));
}

#[tokio::test]
async fn nobody_but_the_layers_sets_reserved_headers_and_the_handler_sees_no_key() {
    let world = World::new(9);
    let mut request = world.charge("k", r#"{"agent":"a"}"#);
    for name in [
        "x-ratelimit-limit",
        "vestibule-x",
        "idempotent-replayed",
        "x-original-correlation-id",
    ] {
        request
            .headers_mut()
            .insert(name, "forged".parse().unwrap());
    }
    let (_, headers, text) = world.send(request).await;
    assert!(
        !text.contains("forged") && !text.contains("authorization"),
        "{text}"
    );
    assert!(
        text.contains("x-correlation-id") && text.contains("idempotency-key"),
        "{text}"
    );
    assert_eq!(headers["x-ratelimit-limit"], "9");
    assert!(!headers.contains_key("vestibule-secret"));
}

#[tokio::test]
async fn a_public_route_asks_for_no_key_and_is_not_limited() {
    let world = World::new(9);
    let (status, headers, _) = world
        .send(Request::post("/hook").body(Full::from("raw")).unwrap())
        .await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers.contains_key("x-correlation-id"));
    for name in ["x-ratelimit-limit", "cache-control"] {
        assert!(!headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_body_that_declared_no_length_is_cut_at_the_cap() {
    let world = World::new(9);
    let request = world.charge("", r#"{"agent":"a","more":"xxxxxxxxxxxxxxxxxxxxxxxxx"}"#);
    for key in [None, Some("k")] {
        let mut request = request.clone();
        if let Some(key) = key {
            request
                .headers_mut()
                .insert("idempotency-key", key.parse().unwrap());
        }
        let request = request.map(Undeclared);
        let response = world
            .api
            .layer(service_fn(drain))
            .oneshot(request)
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{key:?}");
    }
}

#[tokio::test]
async fn an_assertion_carries_the_caller_and_the_claim_to_a_second_stack() {
    let world = World::new(9);
    let (clock, secret) = (world.clock.shared(), Secret::new([7; 32]).unwrap());
    let behind = ApiLayer::builder(memory::Store::new(clock.clone()), Keys::new([]).unwrap())
        .route(
            "POST /v1/charges",
            Policy::scope("charges:write").deduplicated(),
        )
        .trust_assertion(Verifier::new([secret.clone()]))
        .assertions_only()
        .clock(clock.clone())
        .build()
        .unwrap();
    let told = service_fn(
        |request: Request<RequestBody<RequestBody<Full<Bytes>>>>| async move {
            let who: &Principal = request.extensions().get().unwrap();
            let claim: &Claim = request.extensions().get().unwrap();
            let text = format!(
                "{} {}",
                who.account(),
                str::from_utf8(&claim.idempotency_key).unwrap()
            );
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text)))
        },
    );
    let front = AssertLayer::new(Signer::new(secret), clock);
    let service = world.api.layer(front.layer(behind.layer(told)));
    let observer = Observer::new();
    let mut request = world.charge("k", r#"{"agent":"a"}"#);
    request.extensions_mut().insert(observer.clone());
    let response = service.clone().oneshot(request).await.unwrap();
    assert_eq!(observer.decisions().key, Some(KeyDecision::Vouched));
    let (parts, body) = response.into_parts();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "acc k");
    assert_eq!(parts.headers["x-ratelimit-remaining"], "8");

    let mut unsigned = world.charge("k", "{}");
    unsigned.extensions_mut().insert(observer.clone());
    let unsigned = behind.layer(service_fn(drain)).oneshot(unsigned);
    assert_eq!(
        unsigned.await.unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    let seen = observer.decisions();
    assert_eq!(seen.key, Some(KeyDecision::UnprovenAssertion));
    assert_eq!(seen.refusal, Some(Code::AUTH_STORE_UNAVAILABLE));
}

#[test]
fn a_stack_that_cannot_work_is_not_built() {
    let builder = || {
        let store =
            Store::with_clock("memory:", ManualClock::at(Timestamp::EPOCH).shared()).unwrap();
        ApiLayer::builder(store, Keys::new([]).unwrap())
    };
    let routed = || builder().route("GET /", Policy::public());
    for (built, want) in [
        (builder().build(), "an API without a route"),
        (
            routed().route("GET /", Policy::public()).build(),
            "route \"GET /\"",
        ),
        (
            routed().assertions_only().build(),
            "assertions_only() without trust_assertion()",
        ),
        (
            routed()
                .lease(Duration::from_secs(4), Duration::from_secs(2))
                .build(),
            "a lease of 4s",
        ),
    ] {
        let fault = built.unwrap_err().to_string();
        assert!(fault.starts_with(want), "{fault}");
    }
}

/// Key, Idempotency-Key and body of requests one after the other; what is decided of each.
const DECIDED: &str = r#"
    bad    POST /v1/charges  - {"agent":"a"}  minted malformed - -          /v1/charges invalid_api_key     -
    -      POST /v1/charges  - {"agent":"a"}  minted missing   - -          /v1/charges invalid_api_key     -
    -      GET  /hook        - {}             minted public    - -          /hook       -                   -
    spent  POST /v1/charges  - {"agent":"a"}  minted accepted  limited -    /v1/charges rate_limit_exceeded spent
    wide   POST /v1/nothing  - {"agent":"a"}  minted accepted  allowed -    -           endpoint_not_found  wide
    narrow POST /v1/charges  - {"agent":"a"}  minted accepted  allowed -    /v1/charges insufficient_scope  narrow
    wide   POST /v1/charges  - {"agent":"a"}  minted accepted  allowed -    /v1/charges -                   wide
    wide   POST /v1/charges  k {"agent":"a"}  minted accepted  allowed executed /v1/charges -               wide
    wide   POST /v1/charges  k {"agent":"a"}  minted accepted  allowed replayed /v1/charges -               wide
    wide   POST /v1/charges  k {"agent":"A"}  minted accepted  allowed mismatch /v1/charges idempotency_key_in_use_with_different_params wide
    spent  POST /v1/charges  k {"agent":"a"}  minted accepted  limited -    /v1/charges rate_limit_exceeded spent
"#;

#[tokio::test]
async fn an_observer_learns_what_each_layer_decided() {
    let world = World::new(20);
    for row in DECIDED.trim().lines() {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let [key, method, path, idempotency_key, body, ..] = cells[..] else {
            unreachable!("a row has five cells and what is decided");
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        if key != "-" {
            request = request.header("authorization", format!("Bearer {}", world.key(key)));
        }
        if idempotency_key != "-" {
            request = request.header("idempotency-key", idempotency_key);
        }
        let mut request = request.body(Full::from(body.to_owned())).unwrap();
        let observer = Observer::new();
        request.extensions_mut().insert(observer.clone());
        world.send(request).await;
        assert_eq!(told(&observer), cells[5..].join(" "), "{row}");
    }
}

/// What was decided, in the order of a row.
fn told(observer: &Observer) -> String {
    let seen = observer.decisions();
    let word = |word: Option<&'static str>| word.unwrap_or("-");
    let caller = seen.caller.as_ref();
    [
        word(seen.id.map(|id| id.as_str())),
        word(seen.key.map(|key| key.as_str())),
        word(seen.limit.map(|limit| limit.as_str())),
        word(seen.idempotency.map(|keyed| keyed.as_str())),
        seen.route.as_deref().unwrap_or("-"),
        word(seen.refusal.map(|code| code.name())),
        caller.map_or("-", |caller| caller.key_id()),
    ]
    .join(" ")
}

/// An API of one keyed route, and the keys to try it with.
struct World {
    api: ApiLayer<memory::Store, Keys>,
    clock: ManualClock,
    keys: Vec<(&'static str, String)>,
    executed: Arc<AtomicUsize>,
}

impl World {
    fn new(per_minute: u32) -> Self {
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_000_000));
        let mut keys = Vec::new();
        let mut records = Vec::new();
        for (name, scope, limit) in [
            ("narrow", "charges:read", per_minute),
            ("wide", "charges:write", per_minute),
            ("spent", "*", 0),
        ] {
            let key = ApiKey::mint("mk", "live", &SystemEntropy);
            let record = KeyRecord::of(&key, &Peppers::none(), name, "acc");
            records.push(
                record
                    .scopes([scope])
                    .agents(["a"])
                    .per_minute(limit)
                    .build(),
            );
            keys.push((name, key.expose().to_owned()));
        }
        let api = ApiLayer::builder(
            memory::Store::new(clock.shared()),
            Keys::new(records).unwrap(),
        )
        .route(
            "POST /v1/charges",
            Policy::scope("charges:write")
                .idempotent()
                .agent("/agent")
                .body_max(32),
        )
        .route("* /hook", Policy::public())
        .clock(clock.shared())
        .entropy(CountingEntropy::shared())
        .build()
        .unwrap();
        Self {
            api,
            clock,
            keys,
            executed: Arc::default(),
        }
    }

    fn key(&self, name: &str) -> &str {
        self.keys
            .iter()
            .find(|(held, _)| *held == name)
            .map_or("mk_live_x", |(_, key)| key)
    }

    /// A request that keeps every rule, keyed where a key is given.
    fn charge(&self, idempotency_key: &str, body: &str) -> Sent {
        let mut request = Request::post("/v1/charges")
            .header("authorization", format!("Bearer {}", self.key("wide")))
            .header("content-type", "application/json");
        if !idempotency_key.is_empty() {
            request = request.header("idempotency-key", idempotency_key);
        }
        request.body(Full::from(body.to_owned())).unwrap()
    }

    async fn send(&self, request: Sent) -> (StatusCode, HeaderMap, String) {
        let executed = Arc::clone(&self.executed);
        let handler = service_fn(move |request: Got| {
            executed.fetch_add(1, Ordering::AcqRel);
            handle(request)
        });
        let (parts, body) = self
            .api
            .layer(handler)
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        (parts.status, parts.headers, text)
    }

    fn executed(&self) -> usize {
        self.executed.load(Ordering::Acquire)
    }
}

/// A body that does not say how long it is.
#[derive(Clone)]
struct Undeclared(Full<Bytes>);

impl HttpBody for Undeclared {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// Tells the names and values of the headers it was sent, forges some, panics on request.
async fn handle(request: Got) -> Result<Response<Full<Bytes>>, Infallible> {
    let headers = format!("{:?}", request.headers());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    assert!(
        !body.windows(5).any(|five| five == b"panic"),
        "as the test wants it"
    );
    let mut response = Response::new(Full::from(headers));
    response
        .headers_mut()
        .insert("x-ratelimit-limit", "forged".parse().unwrap());
    response
        .headers_mut()
        .insert("vestibule-secret", "forged".parse().unwrap());
    Ok(response)
}

/// Reads the body and answers whether that worked.
async fn drain<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible>
where
    B: HttpBody<Data: Send>,
{
    let read = request.into_body().collect().await.is_ok();
    Ok(Response::new(Full::from(read.to_string())))
}
