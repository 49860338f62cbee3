//! The whole simulator over real sockets: a client on one side, an app on the other.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc;
use vestibule::clock::SystemClock;

use super::*;
use crate::clock::VirtualClock;
use crate::id::Seed;
use crate::state::State;
use crate::world::{self, Reach};

#[tokio::test]
async fn a_send_inside_the_window_is_told_to_be_read() {
    let mut run = Run::start().await;
    run.control(
        "inbound",
        json!({"user": USER, "text": "Grüße 🎉 an a@b/c"}),
    )
    .await;
    let inbound = run.webhook().await;
    assert!(inbound.is_signed);
    assert!(
        inbound
            .text()
            .contains(r"Gr\u00fc\u00dfe \ud83c\udf89 an a\u0040b\/c")
    );
    assert_eq!(
        inbound.value()["messages"][0]["text"]["body"],
        "Grüße 🎉 an a@b/c"
    );

    let answer = run.send(text("m1.a.1.tag")).await.unwrap();
    assert_eq!(answer.0, StatusCode::OK);
    let wamid = answer.1["messages"][0]["id"].as_str().unwrap().to_owned();
    assert!(wamid.starts_with("wamid."));
    assert_eq!(
        answer.1["contacts"][0],
        json!({"input": "+16505551234", "wa_id": "16505551234"})
    );

    let mut words = Vec::new();
    for _ in 0..3 {
        let webhook = run.webhook().await;
        assert!(webhook.is_signed);
        let status = webhook.value()["statuses"][0].clone();
        assert_eq!(status["id"], wamid);
        assert_eq!(status["biz_opaque_callback_data"], "m1.a.1.tag");
        words.push(status["status"].as_str().unwrap().to_owned());
    }
    words.sort();
    assert_eq!(words, ["delivered", "read", "sent"]);
    let ledger = run.look("ledger?token=m1.a.1.tag&to=16505551234").await;
    assert_eq!(ledger["count"], 1);
    assert_eq!(ledger["rows"][0]["wamid"], wamid);
    assert_eq!(ledger["rows"][0]["response_fate"], "answered");
}

#[tokio::test]
async fn a_text_outside_the_window_is_accepted_and_then_fails() {
    let mut run = Run::start().await;
    assert_eq!(
        run.send(text("m1.a.1.tag")).await.unwrap().0,
        StatusCode::OK
    );
    let status = run.webhook().await.value()["statuses"][0].clone();
    assert_eq!(status["status"], "failed");
    assert_eq!(status["errors"][0]["code"], 131047);
    assert_eq!(status["biz_opaque_callback_data"], "m1.a.1.tag");
    let template = json!({
        "messaging_product": "whatsapp", "to": "+16505551234", "type": "template",
        "template": {"name": "hello_world", "language": {"code": "en_US"}},
    });
    let (_, answer) = run.send(template).await.unwrap();
    assert_eq!(answer["messages"][0]["message_status"], "accepted");
    let status = run.webhook().await.value()["statuses"][0].clone();
    assert_ne!(status["status"], "failed");
    assert_eq!(status["pricing"]["category"], "utility");
}

#[tokio::test]
async fn whatever_is_not_served_is_graph_error_100() {
    let run = Run::start().await;
    for (method, path) in [
        ("GET", "/v25.0/106540352242922/messages"),
        ("POST", "/v25.0/106540352242922/media"),
        ("POST", "/"),
        ("POST", "/v19.0/106540352242922/messages"),
    ] {
        let request = run
            .client
            .request(method.parse().unwrap(), format!("{}{path}", run.url));
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body: Value = answer.json().await.unwrap();
        assert_eq!(
            (status, &body["error"]["code"]),
            (400, &json!(100)),
            "{method} {path}"
        );
        assert_eq!(
            body["error"]["fbtrace_id"],
            headers["x-fb-trace-id"].to_str().unwrap()
        );
        assert_eq!(headers["facebook-api-version"], "v26.0");
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_its_row_in_the_ledger() {
    let mut run = Run::start().await;
    run.control("inbound", json!({"user": USER, "text": "hi"}))
        .await;
    run.webhook().await;
    for (fault, fate) in [
        (
            json!({"fault": "process_then_reset", "to": "+16505551234"}),
            "reset",
        ),
        (json!({"fault": "process_then_hang", "ms": 1}), "hung"),
    ] {
        run.control("faults", fault.clone()).await;
        let token = format!("m1.{fate}.1.tag");
        run.send(text(&token))
            .await
            .expect_err("no answer may arrive");
        let ledger = run.look(&format!("ledger?token={token}")).await;
        assert_eq!(ledger["count"], 1, "{fault}");
        assert_eq!(ledger["rows"][0]["response_fate"], fate, "{fault}");
        assert_eq!(
            run.webhook().await.value()["statuses"][0]["biz_opaque_callback_data"],
            token
        );
        for _ in 0..2 {
            run.webhook().await;
        }
    }
    run.send(text("m1.reset.2.tag")).await.unwrap();
    let report = run.look("ledger/duplicates").await;
    assert_eq!(report["duplicates"][0]["message_id"], "reset");
    assert_eq!(report["duplicates"][0]["count"], 2);
}

#[tokio::test]
async fn a_send_is_processed_after_its_client_has_left() {
    let run = Run::start().await;
    run.control(
        "faults",
        json!({"fault": "hang_then_process", "ms": 3_600_000}),
    )
    .await;
    let left = tokio::time::timeout(Duration::from_millis(200), run.send(text("m1.a.1.tag"))).await;
    assert!(left.is_err(), "the answer is held back");
    assert_eq!(run.look("ledger").await["count"], 0);
    run.control("clock", json!({"advance_ms": 3_600_000})).await;
    let ledger = run
        .eventually("ledger", |ledger| ledger["count"] == 1)
        .await;
    assert_eq!(ledger["rows"][0]["response_fate"], "unanswered");
}

#[tokio::test]
async fn faults_answer_in_the_place_of_meta() {
    let run = Run::start().await;
    run.control(
        "faults",
        json!({"fault": "graph", "code": 130429, "times": 2}),
    )
    .await;
    run.control(
        "faults",
        json!({"fault": "http", "status": 502, "body": "<html>Bad Gateway</html>"}),
    )
    .await;
    for (status, code) in [
        (400, json!(130429)),
        (400, json!(130429)),
        (502, json!(null)),
        (200, json!(null)),
    ] {
        let answer = run.send(text("m1.a.1.tag")).await.unwrap();
        assert_eq!(
            (answer.0.as_u16(), &answer.1["error"]["code"]),
            (status, &code)
        );
    }
    assert_eq!(run.look("ledger").await["count"], 1);
}

#[tokio::test]
async fn a_status_can_come_before_the_answer() {
    let mut run = Run::start().await;
    run.control("faults", json!({"fault": "before_response"}))
        .await;
    run.hold_back().await;
    let sending = run.sending(text("m1.a.1.tag"));
    let status = run.webhook().await.value()["statuses"][0].clone();
    assert!(!sending.is_finished(), "the answer waits for the webhook");
    run.let_go();
    let (_, answer) = sending.await.unwrap().unwrap();
    assert_eq!(answer["messages"][0]["id"], status["id"]);
}

#[tokio::test]
async fn a_webhook_is_sent_again_until_it_is_taken_with_200() {
    let mut run = Run::start().await;
    run.answer_with([503, 204]);
    run.control("inbound", json!({"user": USER, "text": "hi"}))
        .await;
    let first = run.webhook().await;
    let second = run.webhook().await;
    assert_eq!(first.body, second.body);
    run.eventually("webhooks", |log| log["total"] == 2).await;
    run.control("clock", json!({"advance_ms": 5000})).await;
    assert_eq!(run.webhook().await.body, first.body);
    let log = run.eventually("webhooks", |log| log["total"] == 3).await;
    let statuses: Vec<&Value> = log["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| &attempt["status"])
        .collect();
    assert_eq!(statuses, [503, 204, 200]);
    assert_eq!(run.look("healthz").await["waiting"], 0);
}

#[tokio::test]
async fn webhooks_can_be_repeated_and_badly_signed() {
    let mut run = Run::start().await;
    run.control("faults", json!({"fault": "duplicate", "copies": 2}))
        .await;
    run.control("faults", json!({"fault": "bad_signature"}))
        .await;
    run.control("inbound", json!({"user": USER, "text": "hi"}))
        .await;
    let received = [
        run.webhook().await,
        run.webhook().await,
        run.webhook().await,
    ];
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received[0].body, received[2].body);
    assert_eq!(
        received.iter().filter(|webhook| webhook.is_signed).count(),
        2
    );
}

#[tokio::test]
async fn verification_reports_what_the_app_answered() {
    let run = Run::start().await;
    let report = run.control("verify", json!({})).await;
    assert_eq!(
        report,
        json!({"app": "1001", "status": 200, "verified": true})
    );
    run.control("apps", json!({"verify_token": "another"}))
        .await;
    let report = run.control("verify", json!({})).await;
    assert_eq!(
        report,
        json!({"app": "1001", "status": 403, "verified": false})
    );
    let refused = run
        .control("apps", json!({"callback_url": "http://example.com/"}))
        .await;
    assert!(
        refused["error"].as_str().unwrap().contains("callback_url"),
        "{refused}"
    );
}

#[tokio::test]
async fn the_world_can_be_changed_and_what_happened_forgotten() {
    let run = Run::start().await;
    run.control(
        "world",
        json!({"token": [{"value": "other", "wabas": ["102290129340398"], "revoked": true}]}),
    )
    .await;
    let refused = run
        .control(
            "world",
            json!({"token": [{"value": "x", "wabas": ["gone"]}]}),
        )
        .await;
    assert!(
        refused["error"].as_str().unwrap().contains("no [[waba]]"),
        "{refused}"
    );
    run.send(text("m1.a.1.tag")).await.unwrap();
    assert_eq!(run.look("ledger").await["count"], 1);
    run.control("reset", json!({})).await;
    assert_eq!(run.look("ledger").await["count"], 0);
    assert_eq!(
        run.send(text("m1.a.1.tag")).await.unwrap().0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_control_plane_can_have_a_socket_of_its_own() {
    let simulator = simulator("");
    let server = Server::bind(simulator, LOOPBACK, Some(LOOPBACK))
        .await
        .unwrap();
    let (url, control_url) = (server.url().unwrap(), server.control_url().unwrap());
    let running = tokio::spawn(server.run());
    let client = Client::builder().no_proxy().build().unwrap();
    for (base, want) in [(control_url, 200), (url, 400)] {
        let answer = client
            .get(format!("{base}/__sim/healthz"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), want, "{base}");
    }
    running.abort();
}

const USER: &str = "+16505551234";

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Longer than any step takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running simulator with one subscribed app.
struct Run {
    url: String,
    client: Client,
    app: Arc<App>,
    received: mpsc::UnboundedReceiver<Webhook>,
    /// Its tasks end with the test.
    _tasks: JoinSet<()>,
}

/// The app that webhooks are posted to.
struct App {
    answers: Mutex<VecDeque<u16>>,
    gate: Semaphore,
    received: mpsc::UnboundedSender<Webhook>,
}

struct Webhook {
    body: Bytes,
    is_signed: bool,
}

impl Run {
    async fn start() -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let app = Arc::new(App {
            answers: Mutex::default(),
            gate: Semaphore::new(OPEN),
            received: sender,
        });
        let routes = Router::new()
            .route("/hook", get(verify).post(take))
            .with_state(Arc::clone(&app));
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let hook = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = Server::bind(simulator(&hook), LOOPBACK, None)
            .await
            .unwrap();
        let url = server.url().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run());
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            client: Client::builder().no_proxy().build().unwrap(),
            app,
            received,
            _tasks: tasks,
        }
    }

    async fn send(&self, body: Value) -> reqwest::Result<(StatusCode, Value)> {
        send(self.client.clone(), self.url.clone(), body).await
    }

    fn sending(
        &self,
        body: Value,
    ) -> tokio::task::JoinHandle<reqwest::Result<(StatusCode, Value)>> {
        tokio::spawn(send(self.client.clone(), self.url.clone(), body))
    }

    async fn control(&self, path: &str, order: Value) -> Value {
        let request = self.client.post(format!("{}/__sim/{path}", self.url));
        request
            .json(&order)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    async fn look(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}/__sim/{path}", self.url));
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Looks until it holds.
    async fn eventually(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                let seen = self.look(path).await;
                if holds(&seen) {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .expect("it comes to hold")
    }

    async fn webhook(&mut self) -> Webhook {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        next.expect("a webhook comes").expect("the app lives")
    }

    fn answer_with<const N: usize>(&self, answers: [u16; N]) {
        self.app.answers.lock().unwrap().extend(answers);
    }

    /// Lets webhooks arrive, but not be answered.
    async fn hold_back(&self) {
        let all = u32::try_from(OPEN).unwrap();
        self.app.gate.acquire_many(all).await.unwrap().forget();
    }

    fn let_go(&self) {
        self.app.gate.add_permits(OPEN);
    }
}

impl Webhook {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn value(&self) -> Value {
        let payload: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(payload["object"], "whatsapp_business_account");
        payload["entry"][0]["changes"][0]["value"].clone()
    }
}

async fn send(client: Client, url: String, body: Value) -> reqwest::Result<(StatusCode, Value)> {
    let request = client.post(format!("{url}/v25.0/106540352242922/messages"));
    let answer = request
        .bearer_auth("demo-access-token")
        .json(&body)
        .send()
        .await?;
    let status = answer.status();
    Ok((status, answer.json().await.unwrap_or_default()))
}

async fn take(Shared(app): Shared<Arc<App>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"demo-app-secret").unwrap();
    mac.update(&body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let is_signed = headers["x-hub-signature-256"] == *signature;
    app.received.send(Webhook { body, is_signed }).unwrap();
    let _open = app.gate.acquire().await.unwrap();
    let answer = app.answers.lock().unwrap().pop_front();
    StatusCode::from_u16(answer.unwrap_or(200)).unwrap()
}

async fn verify(Query(query): Query<Vec<(String, String)>>) -> (StatusCode, String) {
    let value = |name| query.iter().find(|(key, _)| key == name).unwrap().1.clone();
    assert_eq!(value("hub.mode"), "subscribe");
    if value("hub.verify_token") == "demo-verify-token" {
        (StatusCode::OK, value("hub.challenge"))
    } else {
        (StatusCode::FORBIDDEN, String::new())
    }
}

fn simulator(callback_url: &str) -> Simulator {
    let mut world = world::parse(include_str!("../world.toml")).unwrap();
    let fast = "[settings]\nsent_ms = [1, 2]\ndelivered_ms = [1, 2]\nread_ms = [1, 2]\n";
    world.settings = world::parse(fast).unwrap().settings;
    world.apps[0].callback_url = (!callback_url.is_empty()).then(|| callback_url.to_owned());
    let clock = VirtualClock::new(SystemClock::shared());
    Simulator::new(State::new(world, Seed::new(1)), clock, Reach::Loopback)
}

fn text(token: &str) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "to": USER,
        "type": "text",
        "text": {"body": "hello"},
        "biz_opaque_callback_data": token,
    })
}

/// Places at the app's gate: more than webhooks come at once.
const OPEN: usize = 100;
