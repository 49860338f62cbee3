//! The service as a whole, over real connections, against a stand-in for Meta.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use vestibule::api_key::{ApiKey, KeyRecord, Peppers};

use super::*;
use crate::config::Listen;

#[tokio::test]
async fn a_message_goes_to_meta_and_comes_back_as_delivered() {
    let meta = Meta::start([Behaviour::Accept]).await;
    let service = Service::start(&meta).await;
    assert_eq!(
        service.send(None).await.0,
        StatusCode::UNPROCESSABLE_ENTITY,
        "the window is closed"
    );
    service.inbound().await;
    let (status, sent) = service.send_when_open().await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let id = sent["id"].as_str().unwrap();
    let submitted = service.reaches(id, "sent").await;
    assert_eq!(submitted["platform_message_id"], "wamid.1");
    let request = meta.sent(0);
    assert_eq!(request["to"], "+15551234567");
    let token = request["biz_opaque_callback_data"].as_str().unwrap();
    assert!(
        token.starts_with(&format!("m1.{id}.1.")) && token.len() < 80,
        "{token}"
    );
    service.status("wamid.1", None, "delivered").await;
    service.reaches(id, "delivered").await;
    service.stop().await;
}

#[tokio::test]
async fn an_attempt_whose_answer_is_cut_is_confirmed_and_never_repeated() {
    let meta = Meta::start([Behaviour::Accept, Behaviour::Cut]).await;
    let service = Service::start(&meta).await;
    service.inbound().await;
    let first = service.send_when_open().await.1["id"]
        .as_str()
        .unwrap()
        .to_owned();
    service.reaches(&first, "sent").await;
    let cut = service.send(None).await.1["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let confirming = service
        .until(&cut, |message| message.get("detail").is_some())
        .await;
    assert_eq!(
        (&confirming["status"], &confirming["detail"]),
        (&json!("queued"), &json!("confirming"))
    );
    let token = meta.sent(1)["biz_opaque_callback_data"]
        .as_str()
        .unwrap()
        .to_owned();
    // The process ends and starts again, and even then nothing is repeated.
    let service = service.restart(&meta).await;
    service.status("wamid.X", Some(&token), "sent").await;
    let adopted = service.reaches(&cut, "sent").await;
    assert_eq!(adopted["platform_message_id"], "wamid.X");
    assert_eq!(meta.count(), 2);
    service.stop().await;
}

#[tokio::test]
async fn a_refusal_is_told_in_our_words_and_an_outage_is_waited_out() {
    let meta = Meta::start([
        Behaviour::Accept,
        Behaviour::Graph(400, 131_026),
        Behaviour::Graph(400, 130_429),
        Behaviour::Accept,
    ])
    .await;
    let service = Service::start(&meta).await;
    service.inbound().await;
    let first = service.send_when_open().await.1["id"]
        .as_str()
        .unwrap()
        .to_owned();
    service.reaches(&first, "sent").await;
    let refused = service.send(None).await.1["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let failed = service.reaches(&refused, "failed").await;
    assert_eq!(failed["error"]["code"], "undeliverable");
    assert!(!failed["failed_at"].is_null());
    let throttled = service.send(None).await.1["id"]
        .as_str()
        .unwrap()
        .to_owned();
    service.reaches(&throttled, "sent").await;
    let tokens = [2, 3].map(|n| meta.sent(n)["biz_opaque_callback_data"].clone());
    assert_ne!(tokens[0], tokens[1], "each attempt has a token of its own");
    service.stop().await;
}

#[tokio::test]
async fn a_keyed_request_is_executed_once_and_replayed() {
    let meta = Meta::start([Behaviour::Accept]).await;
    let service = Service::start(&meta).await;
    service.inbound().await;
    let opening = service.send_when_open().await.1["id"]
        .as_str()
        .unwrap()
        .to_owned();
    service.reaches(&opening, "sent").await;
    let first = service.response(Some("key")).await;
    let again = service.response(Some("key")).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(
        again.headers()["x-original-correlation-id"],
        first.headers()["x-correlation-id"]
    );
    assert_eq!(first.text().await.unwrap(), again.text().await.unwrap());
    // The layers' record lies beside the message, and answers after a restart as well.
    let service = service.restart(&meta).await;
    let third = service.response(Some("key")).await;
    assert_eq!(third.headers()["idempotent-replayed"], "true");
    service.stop().await;
}

#[tokio::test]
async fn fifty_at_once_with_one_key_make_one_message() {
    let meta = Meta::start([]).await;
    let service = Service::start(&meta).await;
    service.inbound().await;
    let opening = service.send_when_open().await.1["id"].clone();
    let mut ids = Vec::new();
    let requests = (0..50).map(|_| service.response(Some("key")));
    for response in futures_util::future::join_all(requests).await {
        let status = response.status();
        let body: Value = response.json().await.unwrap();
        match status {
            StatusCode::ACCEPTED => ids.push(body["id"].as_str().unwrap().to_owned()),
            _ => assert_eq!(body["error"]["code"], "idempotency_key_in_progress"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    service.reaches(&ids[0], "sent").await;
    service.reaches(opening.as_str().unwrap(), "sent").await;
    assert_eq!(meta.count(), 2);
    service.stop().await;
}

#[tokio::test]
async fn without_a_key_nothing_is_told() {
    let meta = Meta::start([]).await;
    let service = Service::start(&meta).await;
    for (path, want) in [
        ("/v1/whatsapp/messages/x", StatusCode::UNAUTHORIZED),
        ("/v1/anything", StatusCode::UNAUTHORIZED),
        ("/healthz", StatusCode::OK),
        ("/readyz", StatusCode::OK),
    ] {
        let response = service.http.get(service.url(path)).send().await.unwrap();
        assert_eq!(response.status(), want, "{path}");
    }
    service.stop().await;
}

#[tokio::test]
async fn assertions_alone_take_no_keys() {
    let meta = Meta::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    let key = write_keys(folder.path());
    let api = "[api]\nkeys_file = \"keys.json\"\nbrand = \"mk\"\n";
    let identity = "[identity]\nsecret = \"canary-identity-of-at-least-32-bytes\"\n";
    let text = configuration(meta.address).replace(api, identity);
    let config = Config::parse(&folder.path().join("m.toml"), &text).unwrap();
    let app = Messaging::open(config).await.unwrap().app();
    let request = axum::extract::Request::builder()
        .uri("/v1/whatsapp/messages/x")
        .header("authorization", format!("Bearer {key}"))
        .body(axum::body::Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_unix_socket_is_served_and_a_dead_one_replaced() {
    let meta = Meta::start([]).await;
    let folder = tempfile::tempdir().unwrap();
    write_keys(folder.path());
    let path = folder.path().join("m.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&Listen::Unix(path.clone())).await.unwrap();
    assert_eq!(
        listener.address().unwrap(),
        format!("unix:{}", path.display())
    );
    let text = configuration(meta.address);
    let config = Config::parse(&folder.path().join("m.toml"), &text).unwrap();
    let messaging = Messaging::open(config).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(messaging.run(listener, None, async { drop(stopped.await) }));
    let http = reqwest::Client::builder()
        .unix_socket(&*path)
        .build()
        .unwrap();
    let response = http.get("http://messaging/healthz").send().await.unwrap();
    assert_eq!(response.text().await.unwrap(), "ok");
    let taken = Listener::bind(&Listen::Unix(path)).await;
    assert!(taken.is_err(), "somebody listens there");
    drop(http);
    stop.send(()).unwrap();
    running.await.unwrap();
}

/// What the stand-in does with a request; after the last it accepts.
#[derive(Clone, Copy)]
enum Behaviour {
    Accept,
    /// Processes the request and never answers.
    Cut,
    Graph(u16, u32),
}

/// A stand-in for Meta that remembers what it was sent.
#[derive(Clone)]
struct Meta {
    address: SocketAddr,
    state: Arc<Mutex<(VecDeque<Behaviour>, Vec<Value>)>>,
}

impl Meta {
    async fn start(behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let meta = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new((behaviours.into_iter().collect(), vec![]))),
        };
        let app = Router::new()
            .route("/v25.0/10/messages", post(Self::answer))
            .with_state(meta.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        meta
    }

    async fn answer(State(meta): State<Self>, body: String) -> Response {
        let (behaviour, count) = {
            let mut state = meta.state.lock().unwrap();
            state.1.push(serde_json::from_str(&body).unwrap());
            (state.0.pop_front(), state.1.len())
        };
        match behaviour.unwrap_or(Behaviour::Accept) {
            Behaviour::Accept => {
                axum::Json(json!({ "messages": [{ "id": format!("wamid.{count}") }] }))
                    .into_response()
            }
            Behaviour::Cut => {
                let broken = futures_util::stream::once(async { Err::<Bytes, _>("cut") });
                axum::body::Body::from_stream(broken).into_response()
            }
            Behaviour::Graph(status, code) => {
                let status = StatusCode::from_u16(status).unwrap();
                (status, axum::Json(json!({ "error": { "code": code } }))).into_response()
            }
        }
    }

    fn sent(&self, n: usize) -> Value {
        self.state.lock().unwrap().1[n].clone()
    }

    fn count(&self) -> usize {
        self.state.lock().unwrap().1.len()
    }
}

/// The service, running.
struct Service {
    folder: TempDir,
    key: String,
    http: reqwest::Client,
    address: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<()>,
}

impl Service {
    async fn start(meta: &Meta) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = write_keys(folder.path());
        Self::start_in(folder, key, meta).await
    }

    async fn start_in(folder: TempDir, key: String, meta: &Meta) -> Self {
        let text = configuration(meta.address);
        let config = Config::parse(&folder.path().join("m.toml"), &text).unwrap();
        let listener = Listener::bind(&config.listen).await.unwrap();
        let address = listener.address().unwrap();
        let messaging = Messaging::open(config).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(messaging.run(listener, None, async { drop(stopped.await) }));
        Self {
            folder,
            key,
            http: reqwest::Client::new(),
            address,
            stop,
            running,
        }
    }

    async fn restart(self, meta: &Meta) -> Self {
        let Self {
            folder,
            key,
            http,
            stop,
            running,
            ..
        } = self;
        drop(http);
        stop.send(()).unwrap();
        running.await.unwrap();
        Self::start_in(folder, key, meta).await
    }

    async fn stop(self) {
        drop(self.http);
        self.stop.send(()).unwrap();
        let within = tokio::time::timeout(Duration::from_secs(20), self.running);
        within.await.expect("it stops").unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn response(&self, key: Option<&str>) -> reqwest::Response {
        let body = json!({
            "agent_id": AGENT, "from": "+15550001111", "to": "+15551234567",
            "text": { "body": "hello" },
        });
        let mut request = self
            .http
            .post(self.url("/v1/whatsapp/messages"))
            .bearer_auth(&self.key)
            .json(&body);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        request.send().await.unwrap()
    }

    async fn send(&self, key: Option<&str>) -> (StatusCode, Value) {
        let response = self.response(key).await;
        (response.status(), response.json().await.unwrap())
    }

    /// The inbound message is worked off soon, and then the window is open.
    async fn send_when_open(&self) -> (StatusCode, Value) {
        for _ in 0..TRIES {
            let (status, body) = self.send(None).await;
            if status == StatusCode::ACCEPTED {
                return (status, body);
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the window does not open");
    }

    async fn reaches(&self, id: &str, status: &str) -> Value {
        self.until(id, |message| message["status"] == status).await
    }

    async fn until(&self, id: &str, is_met: impl Fn(&Value) -> bool) -> Value {
        let mut message = Value::Null;
        for _ in 0..TRIES {
            let request = self
                .http
                .get(self.url(&format!("/v1/whatsapp/messages/{id}")));
            message = request
                .bearer_auth(&self.key)
                .send()
                .await
                .unwrap()
                .json()
                .await
                .unwrap();
            if is_met(&message) {
                return message;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("not reached: {message}");
    }

    async fn inbound(&self) {
        let message =
            json!({ "id": "wamid.I", "from": "15551234567", "type": "text", "timestamp": now() });
        self.webhook(json!({ "messages": [message] })).await;
    }

    async fn status(&self, wamid: &str, token: Option<&str>, status: &str) {
        let mut update = json!({ "id": wamid, "status": status, "timestamp": now() });
        if let Some(token) = token {
            update["biz_opaque_callback_data"] = json!(token);
        }
        self.webhook(json!({ "statuses": [update] })).await;
    }

    async fn webhook(&self, mut value: Value) {
        value["metadata"] = json!({ "phone_number_id": "10" });
        let change = json!({ "field": "messages", "value": value });
        let body = json!({ "entry": [{ "changes": [change] }] }).to_string();
        let mac = Hmac::<Sha256>::new_from_slice(b"canary-app").unwrap();
        let digest = mac.chain_update(&body).finalize().into_bytes();
        let response = self
            .http
            .post(self.url("/webhooks/whatsapp"))
            .header(
                "x-hub-signature-256",
                format!("sha256={}", hex::encode(digest)),
            )
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

fn write_keys(folder: &Path) -> String {
    let key = ApiKey::mint("mk", "live", &SystemEntropy);
    let record = KeyRecord::of(&key, &Peppers::none(), "key_1", "acme")
        .scopes(["whatsapp:send"])
        .per_minute(60_000)
        .build();
    let keys = Keys::new([record]).unwrap().to_json();
    std::fs::write(folder.join("keys.json"), keys.to_string()).unwrap();
    key.expose().to_owned()
}

fn configuration(meta: SocketAddr) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\ndatabase = \"m.db\"\n\
         [api]\nkeys_file = \"keys.json\"\nbrand = \"mk\"\n\
         [cloud_api]\nbase_url = \"http://{meta}\"\nversion = \"v25.0\"\ntoken = \"canary-token\"\n\
         app_secrets = [\"canary-app\"]\nverify_token = \"canary-verify\"\n\
         [[account]]\nid = \"acme\"\n[[account.agent]]\nid = \"{AGENT}\"\n\
         phones = [{{ number = \"+15550001111\", phone_number_id = \"10\" }}]\n"
    )
}

fn now() -> String {
    SystemClock::shared().now().as_unix_seconds().to_string()
}

const AGENT: &str = "6f1de8f2-6a3c-4a51-8c0f-0d6f4a1f9a10";
const PAUSE: Duration = Duration::from_millis(20);

/// With the pause between them, ten seconds: at least five times what it takes.
const TRIES: usize = 500;
