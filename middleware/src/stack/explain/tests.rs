//! What is explained is held against what the stack then does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer as _;

use super::*;
use crate::api_key::{ApiKey, Digest, KeyRecord, Keys, Peppers};
use crate::body::RequestBody;
use crate::clock::Timestamp;
use crate::entropy::SystemEntropy;
use crate::error::StoreError;
use crate::identity::{Asserted, Secret, Signer};
use crate::memory;
use crate::principal::Principal;
use crate::rate_limit::WhenLost;
use crate::route::Policy;
use crate::stack::ApiLayerBuilder;
use crate::testing::{CountingEntropy, Fault, FaultyStore, ManualClock};

/// Key, method, path, media type, body, Idempotency-Key, and what comes of it. Rows follow one
/// another: what one leaves behind is what the next one meets.
const CASES: &str = r#"
    -       GET  /v1/charges/1 -                -           -     401 invalid_api_key
    typo    GET  /v1/charges/1 -                -           -     401 invalid_api_key
    strange GET  /v1/charges/1 -                -           -     401 invalid_api_key
    revoked GET  /v1/charges/1 -                -           -     401 invalid_api_key
    expired GET  /v1/nothing   -                -           -     401 invalid_api_key
    spent   POST /v1/nothing   text/plain       {}          -     429 rate_limit_exceeded
    spent   POST /v1/charges   application/json {}          k     429 rate_limit_exceeded
    narrow  POST /v1/charges   text/plain       {}          -     403 insufficient_scope
    wide    GET  /v1/nothing   -                -           -     404 endpoint_not_found
    wide    GET  /v1/charges//1 -               -           -     404 endpoint_not_found
    wide    PUT  /v1/charges   -                -           -     405 method_not_allowed
    wide    POST /v1/charges   text/plain       {}          -     415 unsupported_media_type
    wide    POST /v1/charges   application/json {"long":"0123456789012345"} k 413 payload_too_large
    wide    POST /v1/charges   application/json {}          ü     422 invalid_idempotency_key
    wide    POST /v1/strict    application/json {}          -     422 invalid_idempotency_key
    wide    POST /v1/charges   application/json {"agent":"b"} k   403 agent_not_authorized
    wide    GET  /v1/charges/1 -                -           -     200
    wide    POST /v1/charges   application/json {"agent":"b"} -   200
    wide    POST /v1/charges   application/json {"agent":"a"} k   200
    wide    POST /v1/charges   application/json {"agent":"a"} k   200 replayed
    wide    POST /v1/charges   application/json {"agent":"A"} k   422 idempotency_key_in_use_with_different_params
    wide    POST /v1/charges   application/json {"a":"hangs"} h   - hangs
    wide    POST /v1/charges   application/json {"a":"hangs"} h   409 idempotency_key_in_progress
    wide    POST /v1/notes     application/json {"a":"hangs"} n   - hangs
    wide    POST /v1/notes     application/json {"a":"hangs"} n   409 idempotency_key_in_progress
    wide    POST /v1/charges   application/json {"a":"large"} l   200
    wide    POST /v1/charges   application/json {"a":"large"} l   409 idempotency_response_not_stored
    -       -    -             -                -           -     - later
    wide    POST /v1/charges   application/json {"a":"hangs"} h   409 idempotency_outcome_unknown
    wide    POST /v1/notes     application/json {"a":"hangs"} n   - hangs
    -       POST /hook         text/plain       {}          k     200
    -       POST /hook         text/plain       {"long":"0123456789012345"} - 413 payload_too_large
"#;

/// What is sent, and what one of the layers says to it.
const REASONS: &[(&str, Layer, Finding, &str)] = &[
    (
        "revoked GET /v1/charges/1 - - -",
        Layer::ApiKey,
        Finding::Refuses,
        "This API key has been revoked. It is revoked of account acc, environment live",
    ),
    (
        "strange GET /v1/charges/1 - - -",
        Layer::ApiKey,
        Finding::Refuses,
        "it is well-formed, and no record is of it",
    ),
    (
        "typo GET /v1/charges/1 - - -",
        Layer::ApiKey,
        Finding::Refuses,
        "This API key is mistyped: its checksum does not match.",
    ),
    (
        "typo GET /v1/charges/1 - - -",
        Layer::Scope,
        Finding::NotReached,
        "",
    ),
    (
        "spent GET /v1/charges/1 - - -",
        Layer::RateLimit,
        Finding::Refuses,
        "the caller's budget is spent; its window ends in 60 s",
    ),
    (
        "narrow GET /v1/charges/1 - - -",
        Layer::ApiKey,
        Finding::Passes,
        "it is good: narrow of account acc, environment live",
    ),
    (
        "narrow POST /v1/charges application/json {} k",
        Layer::Scope,
        Finding::Refuses,
        "the route asks for one of: charges:write; the key has: charges:read",
    ),
    (
        KEYED,
        Layer::RateLimit,
        Finding::Passes,
        "there is room in the caller's budget: 59 left after this request",
    ),
    (
        KEYED,
        Layer::Agent,
        Finding::Passes,
        "the key may act for the agent at '/agent', or none is named there",
    ),
    (
        KEYED,
        Layer::Idempotency,
        Finding::Passes,
        "the Idempotency-Key is free: the request is executed under a claim",
    ),
    (
        KEYED,
        Layer::Upstream,
        Finding::Passes,
        "the request is sent on, and has 30s for its answer",
    ),
];

const KEYED: &str = "wide POST /v1/charges application/json {} k";

#[tokio::test]
async fn what_is_explained_is_what_the_stack_then_answers() {
    let world = World::new(|builder| builder);
    for row in CASES.trim().lines() {
        let cells: Vec<&str> = row.split_whitespace().collect();
        match cells[6..] {
            ["-", "later"] => world.clock.advance(Duration::from_secs(11)),
            ["-", "hangs"] => {
                let told = world.explain(&cells).await;
                assert_eq!(told.answer, Answer::Forwarded, "{row}: {told}");
                world.leave(&cells).await;
            }
            _ => world.holds(&cells, row).await,
        }
    }
}

#[tokio::test]
async fn nothing_is_charged_claimed_or_noted() {
    let world = World::new(|builder| builder);
    let cells = ["wide", "POST", "/v1/charges", "application/json", "{}", "k"];
    let told = world.explain(&cells).await;
    for _ in 0..20 {
        assert_eq!(world.explain(&cells).await, told);
    }
    assert_eq!(told.step(Layer::RateLimit).facts["left"], 59);
    assert_eq!(world.store.records_held(), 0);
    let (_, headers) = world.send(&cells).await;
    assert_eq!(headers["x-ratelimit-remaining"], "59");
    assert_eq!(
        world.handler.executed.load(Ordering::Acquire),
        1,
        "by the one that was sent"
    );
}

#[tokio::test]
async fn neither_a_key_nor_what_the_caller_sent_is_told() {
    let world = World::new(|builder| builder);
    for key in ["wide", "revoked", "strange", "typo", "spent"] {
        let path = "/v1/charges?canary-query=1";
        let cells = [
            key,
            "POST",
            path,
            "application/json",
            r#"{"canary":1}"#,
            "canary-key",
        ];
        for _ in 0..2 {
            let told = world.explain(&cells).await;
            let json = serde_json::to_string(&told).unwrap();
            let secret = &world.keys[key];
            for text in [told.to_string(), format!("{told:?}"), json] {
                let middle = &secret[10..30.min(secret.len())];
                assert!(
                    !text.contains(middle) && !text.contains("canary"),
                    "{key}: {text}"
                );
            }
            world.send(&cells).await;
        }
    }
}

#[tokio::test]
async fn each_layer_says_why() {
    let world = World::new(|builder| builder);
    for (row, layer, finding, want) in REASONS {
        let cells: Vec<&str> = row.split_whitespace().collect();
        let told = world.explain(&cells).await;
        let step = told.step(*layer);
        assert_eq!((step.finding, &*step.reason), (*finding, *want), "{told}");
    }
    let keyed = ["wide", "POST", "/v1/charges", "application/json", "{}", "k"];
    world.send(&keyed).await;
    let told = world.explain(&keyed).await;
    let step = told.step(Layer::Idempotency);
    assert_eq!(step.finding, Finding::Answers);
    assert_eq!(step.facts["record_kept_seconds"], 24 * 3600);
    let first = "the Idempotency-Key was used first by req_";
    assert!(step.reason.starts_with(first), "{told}");
}

#[tokio::test]
async fn what_is_told_is_read_from_json_as_it_was() {
    let world = World::new(|builder| builder);
    for key in ["wide", "typo"] {
        let cells = [key, "GET", "/v1/charges/1", "-", "-", "-"];
        let told = world.explain(&cells).await;
        let json = serde_json::to_string(&told).unwrap();
        let read: Explanation = serde_json::from_str(&json).unwrap();
        assert_eq!(read, told);
        assert_eq!(read.passes(), key == "wide");
    }
}

#[tokio::test]
async fn a_lost_store_is_explained_as_the_stack_bears_it() {
    for (when_lost, fault) in [
        (WhenLost::Count, None),
        (WhenLost::Count, Some(Fault::Refuses)),
        (WhenLost::Refuse, Some(Fault::Refuses)),
    ] {
        let world = World::new(|builder| builder.when_limits_lost(when_lost));
        if let Some(fault) = fault {
            world.faulty.breaks(fault);
        }
        for (row, counted, refused) in [
            ("wide GET  /v1/charges/1 - - -", "200", "503 overloaded"),
            (
                "spent GET /v1/charges/1 - - -",
                "429 rate_limit_exceeded",
                "503 overloaded",
            ),
            (
                "wide POST /v1/charges application/json {} k",
                "503 idempotency_store_unavailable",
                "503 overloaded",
            ),
        ] {
            let want = match (fault, when_lost) {
                (None, _) if counted.starts_with("503") => "200",
                (None, _) | (_, WhenLost::Count) => counted,
                (_, _) => refused,
            };
            let row = format!("{row} {want}");
            let cells: Vec<&str> = row.split_whitespace().collect();
            world.holds(&cells, &row).await;
        }
    }
}

#[tokio::test]
async fn looking_at_a_lost_store_does_not_cut_it_off() {
    let world = World::new(|builder| builder);
    world.faulty.breaks(Fault::Refuses);
    for _ in 0..50 {
        world
            .explain(&["wide", "GET", "/v1/charges/1", "-", "-", "-"])
            .await;
    }
    assert!(!world.api.store_is_cut_off());
}

#[tokio::test]
async fn an_assertion_is_judged_and_one_that_is_not_believed_is_said_to_be_so() {
    let secret = || Secret::new("a secret of at least 32 bytes, for tests").unwrap();
    let world = World::new(|builder| builder.trust_assertion(secret()).assertions_only());
    let request = |token: Option<&str>| {
        let mut request = Request::get("/v1/charges/1");
        if let Some(token) = token {
            request = request.header("vestibule-identity", token);
        }
        request.body(Bytes::new()).unwrap()
    };
    let asserted = Asserted {
        correlation_id: crate::context::CorrelationId::mint(Timestamp::EPOCH, 1),
        claim: None,
        principal: Principal::builder("acc", "k").build(),
    };
    let plain = request(None);
    let signed = Signer::new(secret()).sign(&asserted, plain.method(), plain.uri(), START);
    let signed = signed.unwrap();
    for (token, finding, want) in [
        (
            None,
            Finding::Refuses,
            "only requests with one signed assertion are taken here",
        ),
        (
            Some("a.b.c"),
            Finding::Refuses,
            "the assertion is not believed: its header is not that of a known key",
        ),
        (
            signed.to_str().ok(),
            Finding::Passes,
            "a signed assertion vouches for the request",
        ),
    ] {
        let told = world.api.explain(request(token)).await;
        let step = told.step(Layer::Assertion);
        assert_eq!(
            (step.finding, step.reason.as_str()),
            (finding, want),
            "{told}"
        );
        assert_eq!(told.passes(), finding == Finding::Passes);
        assert_ne!(
            told.step(Layer::RateLimit).finding,
            Finding::Passes,
            "{told}"
        );
    }
}

#[tokio::test]
async fn the_newest_record_of_a_tracked_key_is_judged() {
    let world = World::new(|builder| builder);
    let key = ApiKey::mint("mk", "live", &SystemEntropy);
    let old = KeyRecord::of(&key, &Peppers::none(), "k", "acc").tracked();
    let newest = KeyRecord::of(&key, &Peppers::none(), "k", "acc")
        .tracked()
        .revoked(START);
    let stale = Stale(old.build(), newest.build());
    let api = ApiLayer::builder(world.store.clone(), stale)
        .route("GET /v1/charges/{id}", Policy::authenticated())
        .clock(world.clock.shared())
        .build()
        .unwrap();
    let request =
        Request::get("/v1/charges/1").header("authorization", format!("Bearer {}", key.expose()));
    let told = api.explain(request.body(Bytes::new()).unwrap()).await;
    assert_eq!(told.step(Layer::ApiKey).finding, Finding::Refuses, "{told}");
}

/// An API, its keys, and a handler that waits or answers at length where it is asked to.
struct World {
    api: ApiLayer<FaultyStore<memory::Store>, Keys>,
    faulty: FaultyStore<memory::Store>,
    store: memory::Store,
    clock: ManualClock,
    keys: HashMap<&'static str, String>,
    handler: Arc<Handler>,
}

#[derive(Debug, Default)]
struct Handler {
    executed: AtomicUsize,
    hangs: Notify,
}

/// A keyring that remembers an old record.
#[derive(Clone)]
struct Stale(Arc<KeyRecord>, Arc<KeyRecord>);

impl Keyring for Stale {
    async fn find(&self, _: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        Ok(Some(Arc::clone(&self.0)))
    }

    async fn reread(&self, _: &Principal) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        Ok(Some(Arc::clone(&self.1)))
    }
}

type Got = Request<RequestBody<Full<Bytes>>>;
type Builder = ApiLayerBuilder<FaultyStore<memory::Store>, Keys>;

impl World {
    fn new(options: impl FnOnce(Builder) -> Builder) -> Self {
        let clock = ManualClock::at(START);
        let store = memory::Store::new(clock.shared());
        let faulty = FaultyStore::new(store.clone());
        let mut keys = HashMap::from([("typo", String::new())]);
        let mut records = Vec::new();
        for name in ["wide", "narrow", "spent", "revoked", "expired", "strange"] {
            let key = ApiKey::mint("mk", "live", &SystemEntropy);
            let record = KeyRecord::of(&key, &Peppers::none(), name, "acc").agents(["a"]);
            let record = match name {
                "narrow" => record.scopes(["charges:read"]),
                "spent" => record.scopes(["*"]).per_minute(0),
                "revoked" => record.revoked(START),
                "expired" => record.expires(START),
                _ => record.scopes(["charges:write", "charges:read"]),
            };
            keys.insert(name, key.expose().to_owned());
            if name != "strange" {
                records.push(record.build());
            }
        }
        let last = &keys["wide"][keys["wide"].len() - 1..];
        let other = if last == "0" { "1" } else { "0" };
        let typo = format!("{}{other}", keys["wide"].strip_suffix(last).unwrap());
        keys.insert("typo", typo);
        let charge = Policy::scope("charges:write").body_max(24).agent("/agent");
        let api = ApiLayer::builder(faulty.clone(), Keys::new(records).unwrap())
            .route("POST /v1/charges", charge.clone().idempotent())
            .route("POST /v1/notes", charge.clone().deduplicated())
            .route(
                "POST /v1/strict",
                charge.idempotent().require_idempotency_key(),
            )
            .route("GET /v1/charges/{id}", Policy::scope("charges:read"))
            .route("* /hook", Policy::public().body_max(24))
            .kept(64, Duration::from_secs(1))
            .clock(clock.shared())
            .entropy(CountingEntropy::shared());
        Self {
            api: options(api).build().unwrap(),
            faulty,
            store,
            clock,
            keys,
            handler: Arc::default(),
        }
    }

    /// Explains a row, sends it, and holds the two against each other and the row's end.
    async fn holds(&self, cells: &[&str], row: &str) {
        let told = self.explain(cells).await;
        let (status, headers) = self.send(cells).await;
        let is_replayed = headers.contains_key("idempotent-replayed");
        let (predicted, code) = match &told.answer {
            Answer::Forwarded => (200, String::new()),
            Answer::Replayed { status } => (*status, "replayed".to_owned()),
            Answer::Refused { status, code, .. } => (*status, code.clone()),
        };
        assert_eq!(predicted, status, "{row}: {told}");
        assert_eq!(code == "replayed", is_replayed, "{row}: {told}");
        assert_eq!(
            format!("{predicted} {code}").trim(),
            cells[6..].join(" "),
            "{told}"
        );
        if let Some(left) = told.step(Layer::RateLimit).facts.get("left") {
            assert_eq!(headers["x-ratelimit-remaining"], left.to_string(), "{row}");
        }
    }

    async fn explain(&self, cells: &[&str]) -> Explanation {
        self.api.explain(self.request(cells)).await
    }

    async fn send(&self, cells: &[&str]) -> (u16, HeaderMap) {
        let handler = Arc::clone(&self.handler);
        let service = service_fn(move |request: Got| handle(request, Arc::clone(&handler)));
        let request = self.request(cells).map(Full::from);
        let response = self.api.layer(service).oneshot(request).await.unwrap();
        (response.status().as_u16(), response.headers().clone())
    }

    /// Sends a request whose handler hangs, and leaves while it does.
    async fn leave(&self, cells: &[&str]) {
        tokio::select! {
            answer = self.send(cells) => unreachable!("it hangs: {answer:?}"),
            () = self.handler.hangs.notified() => {}
        }
    }

    fn request(&self, cells: &[&str]) -> Request<Bytes> {
        let [key, method, path, media_type, body, name, ..] = *cells else {
            unreachable!("a row has six cells");
        };
        let mut request = Request::builder().method(method).uri(path);
        for (header, value) in [
            (
                "authorization",
                self.keys.get(key).map(|key| format!("Bearer {key}")),
            ),
            (
                "content-type",
                Some(media_type.to_owned()).filter(|sent| sent != "-"),
            ),
            (
                "idempotency-key",
                Some(name.to_owned()).filter(|sent| sent != "-"),
            ),
        ] {
            if let Some(value) = value {
                request = request.header(header, value);
            }
        }
        let body = body.trim_matches('-').to_owned();
        request.body(Bytes::from(body)).unwrap()
    }
}

async fn handle(request: Got, handler: Arc<Handler>) -> Result<Response<Full<Bytes>>, Infallible> {
    handler.executed.fetch_add(1, Ordering::AcqRel);
    let Ok(body) = request.into_body().collect().await else {
        return Ok(Response::new(Full::default()));
    };
    let body = body.to_bytes();
    if body.ends_with(b"hangs\"}") {
        handler.hangs.notify_one();
        return std::future::pending().await;
    }
    let length = if body.ends_with(b"large\"}") { 100 } else { 10 };
    Ok(Response::new(Full::from(vec![b'x'; length])))
}

const START: Timestamp = Timestamp::from_unix_seconds(1_000_000);
