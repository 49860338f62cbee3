//! The endpoints without their layers: what a handler says to each request.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tower::ServiceExt;
use uuid::Uuid;
use vestibule::clock::{Clock, Timestamp};
use vestibule::testing::{CountingEntropy, ManualClock};
use vestibule::{Claim, CorrelationId, Fingerprint, Principal};

use super::*;
use crate::cloud_api::TokenKey;
use crate::delivery::Update;
use crate::delivery::{Inbound, Lines, Names};
use crate::directory::Connection;
use crate::message::{MessageId, Policy};
use crate::metrics::Metrics;
use crate::recipient::PhoneNumber;
use crate::store::{Address, Database, Filter, Intake, Operator as _, Queue, Settings, Told};
use crate::window::EventTime;

#[tokio::test]
async fn a_text_inside_the_window_is_accepted() {
    let fixture = Fixture::open().await;
    let (status, body) = fixture.post(MESSAGES, &text()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let id = body["id"].as_str().unwrap().to_owned();
    let want = json!({
        "id": id, "status": "queued", "agent_id": AGENT, "to": "+15551234567", "type": "text",
        "platform_message_id": null, "created_at": "2027-01-15T08:00:00Z",
        "sent_at": null, "failed_at": null,
    });
    assert_eq!(body.to_string(), want.to_string());
    let (status, read) = fixture.get(&format!("{MESSAGES}/{id}")).await;
    assert_eq!((status, &read["to"]), (StatusCode::OK, &json!("")));
}

#[tokio::test]
async fn every_fault_of_a_text_has_its_code_and_its_field() {
    let fixture = Fixture::open().await;
    let long = "ö".repeat(4097);
    for (change, code, param) in [
        (
            set("agent_id", Value::Null),
            "missing_required_field",
            "agent_id",
        ),
        (set("agent_id", json!(7)), "invalid_agent_id", "agent_id"),
        (set("agent_id", json!("x")), "invalid_agent_id", "agent_id"),
        (set("from", Value::Null), "missing_required_field", "from"),
        (
            set("from", json!("5550001111")),
            "invalid_from_phone",
            "from",
        ),
        (
            set("from", json!(["+15550001111"])),
            "invalid_from_phone",
            "from",
        ),
        (
            set("from", json!("+15550009999")),
            "from_phone_not_found_for_agent",
            "from",
        ),
        (set("to", Value::Null), "missing_required_field", "to"),
        (
            set("to", json!("15551234567")),
            "invalid_phone_number",
            "to",
        ),
        (set("to", json!({})), "invalid_phone_number", "to"),
        (
            set("text", Value::Null),
            "missing_required_field",
            "text.body",
        ),
        (
            set("text", json!({})),
            "missing_required_field",
            "text.body",
        ),
        (set("text", json!("hello")), "invalid_message_body", "text"),
        (
            set("text", json!({ "body": 7 })),
            "invalid_message_body",
            "text.body",
        ),
        (
            set("text", json!({ "body": "" })),
            "invalid_message_body",
            "text.body",
        ),
        (
            set("text", json!({ "body": long })),
            "invalid_message_body",
            "text.body",
        ),
    ] {
        let mut message = text();
        change(&mut message);
        let (status, body) = fixture.post(MESSAGES, &message).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{message}");
        assert_eq!(body["error"]["code"], code, "{message}");
        assert_eq!(body["error"]["param"], param, "{message}");
    }
}

#[tokio::test]
async fn faults_are_told_in_the_order_of_the_contract() {
    let fixture = Fixture::open().await;
    let mut message = json!({ "agent_id": "x", "from": "x", "to": "x", "text": "x" });
    for (field, repaired, code) in [
        ("agent_id", json!(AGENT), "invalid_agent_id"),
        ("from", json!(FROM), "invalid_from_phone"),
        ("to", json!("+15557654321"), "invalid_phone_number"),
        ("text", json!({ "body": "hello" }), "invalid_message_body"),
        ("to", json!("+15551234567"), "outside_24h_window"),
    ] {
        let (_, body) = fixture.post(MESSAGES, &message).await;
        assert_eq!(body["error"]["code"], code, "{message}");
        message[field] = repaired;
    }
    assert_eq!(
        fixture.post(MESSAGES, &message).await.0,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn the_numbers_of_an_agent_are_shown_to_its_account_alone() {
    let fixture = Fixture::open().await;
    for (account, agent, want) in [
        ("acme", AGENT, json!([FROM])),
        ("other", AGENT, json!([])),
        ("acme", "00000000-0000-4000-8000-000000000009", json!([])),
    ] {
        let mut message = text();
        message["agent_id"] = json!(agent);
        message["from"] = json!("+15550009999");
        let caller = Principal::builder(account, "k").build();
        let (_, body) = fixture
            .call(&caller, None, post_to(MESSAGES, &message.to_string()))
            .await;
        assert_eq!(body["error"]["available_phones"], want, "{account} {agent}");
    }
}

#[tokio::test]
async fn what_is_no_json_object_is_an_invalid_body() {
    let fixture = Fixture::open().await;
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "{",
        "[]",
        "7",
        "null",
        "\u{feff}{}",
        "{\"a\":\"\\ud800\"}",
        &deep,
    ] {
        for path in [MESSAGES, TEMPLATES] {
            let (status, answer) = fixture
                .call(&fixture.caller, None, post_to(path, body))
                .await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body:.20}");
            assert_eq!(
                answer["error"]["code"], "invalid_request_body",
                "{body:.20}"
            );
        }
    }
    let long = "x".repeat((1 << 20) + 1);
    let (status, answer) = fixture
        .call(&fixture.caller, None, post_to(MESSAGES, &long))
        .await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer["error"]["code"], "payload_too_large");
}

#[tokio::test]
async fn a_template_is_accepted_outside_the_window() {
    let fixture = Fixture::open().await;
    for (path, value) in [
        ("unknown", json!(1)),
        ("template/parameters", json!({ "first_name": "Ada" })),
        ("template/buttons", json!([{ "type": "url", "value": "x" }])),
        (
            "template/header_media_url",
            json!("https://x.example/a.png"),
        ),
    ] {
        let mut message = template();
        set(path, value)(&mut message);
        let (status, body) = fixture.post(TEMPLATES, &message).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{message}");
        assert_eq!(body["type"], "template", "{message}");
    }
}

#[tokio::test]
async fn every_fault_of_a_template_has_its_code_and_its_field() {
    const ABSENT: &str = "missing_required_field";
    const NAME: &str = "invalid_template_name";
    const LANGUAGE: &str = "invalid_template_language";
    const PARAMETERS: &str = "invalid_template_parameters";
    let fixture = Fixture::open().await;
    let twice = json!([
        { "type": "url", "value": "x", "index": 1 },
        { "type": "url", "value": "y" },
    ]);
    for (path, value, code, param) in [
        ("template", json!(null), ABSENT, "template.name"),
        ("template", json!("x"), NAME, "template"),
        ("template/name", json!(null), ABSENT, "template.name"),
        ("template/name", json!("Order"), NAME, "template.name"),
        (
            "template/language",
            json!(null),
            ABSENT,
            "template.language",
        ),
        (
            "template/language",
            json!("english"),
            LANGUAGE,
            "template.language",
        ),
        (
            "template/parameters",
            json!(["Ada"]),
            PARAMETERS,
            "template.parameters",
        ),
        (
            "template/parameters",
            json!({ "n": 1 }),
            PARAMETERS,
            "template.parameters",
        ),
        (
            "template/header_media_url",
            json!("http://x"),
            PARAMETERS,
            "template.header_media_url",
        ),
        (
            "template/buttons",
            json!([{ "type": "flow", "value": "x" }]),
            PARAMETERS,
            "template.buttons",
        ),
        ("template/buttons", twice, PARAMETERS, "template.buttons"),
    ] {
        let mut message = template();
        set(path, value)(&mut message);
        let (status, body) = fixture.post(TEMPLATES, &message).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{message}");
        assert_eq!(body["error"]["code"], code, "{message}");
        assert_eq!(body["error"]["param"], param, "{message}");
    }
}

#[tokio::test]
async fn a_restricted_key_is_refused_before_anything_is_said_of_the_body() {
    let fixture = Fixture::open().await;
    let (_, accepted) = fixture.post(MESSAGES, &text()).await;
    let message = format!("{MESSAGES}/{}", accepted["id"].as_str().unwrap());
    let bound = Principal::builder("acme", "k").agents(["another"]).build();
    for request in [
        post_to(MESSAGES, &json!({ "agent_id": AGENT }).to_string()),
        post_to(MESSAGES, &json!({ "agent_id": "no uuid" }).to_string()),
        get_of(&message),
    ] {
        let uri = request.uri().clone();
        let (status, body) = fixture.call(&bound, None, request).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{uri}");
        assert_eq!(body["error"]["code"], "agent_not_authorized", "{uri}");
    }
    let free = Principal::builder("acme", "k")
        .agents([AGENT.to_uppercase()])
        .build();
    assert_eq!(
        fixture.call(&free, None, get_of(&message)).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn only_the_account_that_sent_it_finds_a_message() {
    let fixture = Fixture::open().await;
    let (_, accepted) = fixture.post(MESSAGES, &text()).await;
    let id = accepted["id"].as_str().unwrap();
    let other = Principal::builder("other", "k").build();
    for (caller, id, found) in [
        (&fixture.caller, id, true),
        (&fixture.caller, &*id.to_uppercase(), true),
        (&other, id, false),
        (
            &fixture.caller,
            "018bcfe5-6800-7000-8000-000000000000",
            false,
        ),
        (&fixture.caller, "no-uuid", false),
        (&fixture.caller, "%ff", false),
    ] {
        let (status, body) = fixture
            .call(caller, None, get_of(&format!("{MESSAGES}/{id}")))
            .await;
        let told = body["error"]["code"].as_str();
        let want = (!found).then_some("message_not_found");
        assert_eq!((status == StatusCode::OK, told), (found, want), "{id}");
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_whatever_has_changed() {
    let fixture = Fixture::open().await;
    let claim = fixture.claim(7);
    let request = || post_to(MESSAGES, &text().to_string());
    let (_, first) = fixture
        .call(&fixture.caller, Some(claim.clone()), request())
        .await;
    fixture.clock.advance(Duration::from_secs(86_400));
    let (parts, again) = fixture.send(&fixture.caller, Some(claim), request()).await;
    assert_eq!(parts.status, StatusCode::ACCEPTED, "its window has closed");
    assert_eq!(again, first.to_string());
    assert_eq!(parts.headers[VESTIBULE_REPLAYED], "req_test");
    let (status, body) = fixture
        .call(&fixture.caller, Some(fixture.claim(8)), request())
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        body["error"]["code"],
        "idempotency_key_in_use_with_different_params"
    );
    assert_eq!(body["error"]["original_correlation_id"], "req_test");
}

#[tokio::test]
async fn a_claim_whose_lease_has_ended_executes_nothing() {
    let fixture = Fixture::open().await;
    let mut claim = fixture.claim(7);
    claim.lease_ends = NOW;
    let request = post_to(MESSAGES, &text().to_string());
    let (status, _) = fixture.call(&fixture.caller, Some(claim), request).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(fixture.app.store.next_due().await.unwrap(), None);
}

#[tokio::test]
async fn a_request_that_came_past_the_layers_is_a_fault_of_ours() {
    let fixture = Fixture::open().await;
    let response = router(fixture.app.clone())
        .oneshot(get_of("/v1/whatsapp/messages/x"))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn metas_challenge_is_echoed_to_who_has_the_token() {
    let fixture = Fixture::open().await;
    for (query, want) in [
        (
            "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=canary-verify",
            Some("1158201444"),
        ),
        (
            "hub.mode=subscribe&hub.challenge=%3Cb%3E&hub.verify_token=canary%2Dverify",
            Some("<b>"),
        ),
        (
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=canary-verif",
            None,
        ),
        ("hub.mode=subscribe&hub.challenge=1&hub.verify_token=", None),
        (
            "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=canary-verify",
            None,
        ),
        ("hub.mode=subscribe&hub.verify_token=canary-verify", None),
        ("", None),
    ] {
        let request = get_of(&format!("{WEBHOOKS}?{query}"));
        let (parts, body) = fixture.send(&fixture.caller, None, request).await;
        match want {
            Some(challenge) => {
                assert_eq!(
                    (parts.status, &*body),
                    (StatusCode::OK, challenge),
                    "{query}"
                );
                assert_eq!(parts.headers[CONTENT_TYPE], "text/plain", "{query}");
            }
            None => assert_eq!(parts.status, StatusCode::FORBIDDEN, "{query}"),
        }
    }
}

#[tokio::test]
async fn a_webhook_is_kept_before_it_is_acknowledged_and_a_forgery_never() {
    let fixture = Fixture::open().await;
    let body = "{\"entry\":[\"\\u00e4\"]}";
    let genuine = signed("canary-app", body);
    for (signature, status, kept) in [
        (Some(genuine), StatusCode::OK, 1),
        (Some(signed("another", body)), StatusCode::UNAUTHORIZED, 1),
        (Some("sha256=".into()), StatusCode::UNAUTHORIZED, 1),
        (None, StatusCode::UNAUTHORIZED, 1),
    ] {
        let mut request = post_to(WEBHOOKS, body);
        if let Some(signature) = &signature {
            let value = HeaderValue::from_str(signature).unwrap();
            request.headers_mut().insert("x-hub-signature-256", value);
        }
        let (parts, text) = fixture.send(&fixture.caller, None, request).await;
        assert_eq!(parts.status, status, "{signature:?}");
        assert_eq!(text.is_empty(), status == StatusCode::OK, "{text}");
        let backlog = fixture.app.store.backlog(10).await.unwrap();
        assert_eq!(backlog.len(), kept, "{signature:?}");
        assert_eq!(&*backlog[0].body, body.as_bytes());
    }
}

#[tokio::test]
async fn other_methods_are_refused_in_the_envelope() {
    let fixture = Fixture::open().await;
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
        let mut request = get_of(WEBHOOKS);
        *request.method_mut() = method.clone();
        let (parts, body) = fixture.send(&fixture.caller, None, request).await;
        assert_eq!(parts.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(parts.headers["allow"], "GET, HEAD, POST", "{method}");
        assert!(body.contains("method_not_allowed"), "{method}: {body}");
    }
}

#[tokio::test]
async fn health_is_told_to_anybody() {
    let fixture = Fixture::open().await;
    for (path, want) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let (parts, body) = fixture.send(&fixture.caller, None, get_of(path)).await;
        assert_eq!((parts.status, &*body), (StatusCode::OK, want), "{path}");
    }
}

#[tokio::test]
async fn the_reference_is_served_with_its_version() {
    let fixture = Fixture::open().await;
    for (path, kind) in [
        ("/openapi.json", "application/json"),
        ("/docs", "text/html; charset=utf-8"),
    ] {
        let (parts, body) = fixture.send(&fixture.caller, None, get_of(path)).await;
        assert_eq!(
            (parts.status, parts.headers["content-type"].as_bytes()),
            (StatusCode::OK, kind.as_bytes())
        );
        assert!(!body.is_empty(), "{path}");
        let version = parts.headers["etag"].clone();
        for (known, want) in [
            (version, StatusCode::NOT_MODIFIED),
            (HeaderValue::from_static("\"other\""), StatusCode::OK),
        ] {
            let mut request = get_of(path);
            request.headers_mut().insert("if-none-match", known);
            let (parts, _) = fixture.send(&fixture.caller, None, request).await;
            assert_eq!(parts.status, want, "{path}");
        }
    }
}

#[tokio::test]
async fn a_message_is_delivered_as_its_sender_wishes() {
    let fixture = Fixture::open().await;
    let mut message = text();
    message["delivery"] = json!({
        "policy": "at_least_once", "in_order": true, "expires_after_seconds": 60.0,
    });
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request = post_to(MESSAGES, &message.to_string());
    let header = HeaderValue::from_static(trace);
    request.headers_mut().insert("traceparent", header);
    let (status, sent) = fixture.call(&fixture.caller, None, request).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{sent}");
    let all = Filter {
        max: 10,
        ..Filter::default()
    };
    let entry = fixture.app.store.list(all).await.unwrap().remove(0);
    assert_eq!(entry.policy, Policy::AtLeastOnce);
    assert_eq!(entry.traceparent.as_deref(), Some(trace));
    assert_eq!(&*entry.correlation_id, "req_test");
    assert_eq!(entry.expires_at, NOW + Duration::from_secs(60));
}

#[tokio::test]
async fn a_wish_that_cannot_be_granted_names_its_field() {
    let fixture = Fixture::open().await;
    for (field, value) in [
        ("policy", json!("exactly_once")),
        ("policy", json!(1)),
        ("in_order", json!("yes")),
        ("expires_after_seconds", json!(0)),
        ("expires_after_seconds", json!(86_401)),
        ("expires_after_seconds", json!(1.5)),
        ("expires_after_seconds", json!(-1)),
        ("expires_after_seconds", json!("60")),
    ] {
        let mut message = text();
        message["delivery"] = json!({ field: value });
        let (status, refused) = fixture.post(MESSAGES, &message).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{field} {value}");
        assert_eq!(refused["error"]["code"], "invalid_request_body");
        assert_eq!(refused["error"]["param"], format!("delivery.{field}"));
    }
    for delivery in [json!(null), json!({}), json!({"policy": null, "new": 1})] {
        let mut message = text();
        message["delivery"] = delivery.clone();
        let (status, _) = fixture.post(MESSAGES, &message).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{delivery}");
    }
}

#[tokio::test]
async fn a_trace_that_is_none_is_not_kept() {
    let fixture = Fixture::open().await;
    for trace in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
    ] {
        let mut request = post_to(MESSAGES, &text().to_string());
        let header = HeaderValue::from_static(trace);
        request.headers_mut().insert("traceparent", header);
        let (status, sent) = fixture.call(&fixture.caller, None, request).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{trace}");
        let id = sent["id"].as_str().and_then(MessageId::parse);
        let one = Filter {
            id,
            max: 1,
            ..Filter::default()
        };
        let entry = fixture.app.store.list(one).await.unwrap().remove(0);
        assert_eq!(entry.traceparent, None, "{trace}");
    }
}

struct Fixture {
    app: App<Database>,
    caller: Principal,
    clock: ManualClock,
    _folder: TempDir,
}

impl Fixture {
    /// One agent with one number, and one customer whose window is open.
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(NOW);
        let entropy = CountingEntropy::shared();
        let path = folder.path().join("m.db");
        let store = Database::open(
            &Address::File(path),
            settings(),
            clock.shared(),
            entropy.clone(),
        )
        .await
        .unwrap();
        let mut directory = Directory::default();
        let connection = Connection {
            number: PhoneNumber::parse(FROM).unwrap(),
            phone_number_id: "10".into(),
            waba_id: "".into(),
            per_second: 80,
        };
        directory.add("acme", Uuid::parse_str(AGENT).unwrap(), vec![connection]);
        let opened = Update::Inbound(Inbound {
            phone_number_id: "10".into(),
            id: "wamid.I".into(),
            user: Names {
                phone: Some("15551234567".into()),
                id: None,
            },
            opened: Some(EventTime {
                at: NOW,
                is_skewed: false,
            }),
        });
        store.append(Bytes::new()).await.unwrap();
        let seq = store.backlog(1).await.unwrap()[0].seq;
        let updates = vec![opened];
        store.apply(vec![Told { seq, updates }]).await.unwrap();
        let queued = Arc::new(Notify::new());
        let app = App {
            directory: Arc::new(directory),
            acceptance: Acceptance::new(
                store.clone(),
                crate::accept::Rules::default(),
                clock.shared(),
                entropy,
                queued,
                Metrics::new(),
            ),
            store,
            clock: clock.shared(),
            shows_recipient: false,
            webhook: Arc::new(WebhookSecrets {
                app_secrets: vec![Secret::new("canary-app")],
                verify_token: Secret::new("canary-verify"),
            }),
            taken_in: Arc::new(Notify::new()),
            metrics: Metrics::new(),
        };
        Self {
            app,
            caller: Principal::builder("acme", "k").build(),
            clock,
            _folder: folder,
        }
    }

    fn claim(&self, fingerprint: u8) -> Claim {
        let lease_ends = self.clock.now() + Duration::from_secs(10);
        let fingerprint = Fingerprint::from_bytes([fingerprint; 32]);
        Claim::new(Bytes::from_static(b"key"), fingerprint, lease_ends, 1)
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.call(&self.caller, None, post_to(path, &body.to_string()))
            .await
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(&self.caller, None, get_of(path)).await
    }

    async fn call(
        &self,
        caller: &Principal,
        claim: Option<Claim>,
        request: Request,
    ) -> (StatusCode, Value) {
        let (parts, body) = self.send(caller, claim, request).await;
        (parts.status, serde_json::from_str(&body).unwrap())
    }

    async fn send(
        &self,
        caller: &Principal,
        claim: Option<Claim>,
        mut request: Request,
    ) -> (http::response::Parts, String) {
        let id = CorrelationId::parse(&HeaderValue::from_static("req_test")).unwrap();
        if let Some(claim) = claim {
            request.extensions_mut().insert(claim);
        }
        let app = router(self.app.clone())
            .layer(Extension(caller.clone()))
            .layer(Extension(id));
        let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts, String::from_utf8(body.into()).unwrap())
    }
}

fn settings() -> Settings {
    Settings {
        lines: Arc::new(Lines::default()),
        token_key: TokenKey::derived_from(&Secret::new("canary-app")),
        lease: Duration::from_secs(45),
        confirm_within: Duration::from_secs(600),
        keep_content: Duration::from_secs(86_400),
        allows_unknown_window: false,
        metrics: Metrics::new(),
    }
}

fn text() -> Value {
    json!({ "agent_id": AGENT, "from": FROM, "to": "+15551234567", "text": { "body": "hello" } })
}

fn template() -> Value {
    let template = json!({ "name": "order_confirmation", "language": "en_US" });
    json!({ "agent_id": AGENT, "from": FROM, "to": "+15557654321", "template": template })
}

/// Sets the field at this path; null takes it away.
fn set(path: &'static str, value: Value) -> impl Fn(&mut Value) {
    move |message| {
        let mut place = message;
        for name in path.split('/') {
            place = &mut place[name];
        }
        *place = value.clone();
    }
}

fn post_to(path: &str, body: &str) -> Request {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

fn get_of(path: &str) -> Request {
    Request::builder().uri(path).body(Body::empty()).unwrap()
}

fn signed(secret: &str, body: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let digest = mac.chain_update(body).finalize().into_bytes();
    format!("sha256={}", hex::encode(digest))
}

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const AGENT: &str = "6f1de8f2-6a3c-4a51-8c0f-0d6f4a1f9a10";
const FROM: &str = "+15550001111";
const MESSAGES: &str = "/v1/whatsapp/messages";
const TEMPLATES: &str = "/v1/whatsapp/templates";
const WEBHOOKS: &str = "/webhooks/whatsapp";
