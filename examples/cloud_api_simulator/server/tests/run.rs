//! A running simulator with a subscribed app, for the cases beside this file.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use vestibule::clock::SystemClock;

use crate::clock::VirtualClock;
use crate::id::Seed;
use crate::server::Server;
use crate::simulator::Simulator;
use crate::state::State;
use crate::world::{self, Reach};

pub(super) const USER: &str = "+16505551234";

pub(super) const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Longer than any step takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running simulator with one subscribed app.
pub(super) struct Run {
    pub(super) url: String,
    control_url: String,
    pub(super) client: Client,
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

pub(super) struct Webhook {
    pub(super) body: Bytes,
    pub(super) is_signed: bool,
    signature: Option<String>,
}

/// A connection of its own, to see what its end looks like.
pub(super) struct Wire(TcpStream);

/// A connection over HTTP/2, to see how its streams end.
pub(super) struct Http2 {
    sender: h2::client::SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Run {
    /// Both planes on one socket.
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// A socket for each plane.
    pub(super) async fn start_apart() -> Self {
        Self::start_with(Some(LOOPBACK)).await
    }

    async fn start_with(control: Option<SocketAddr>) -> Self {
        let (sender, received) = mpsc::unbounded_channel();
        let app = Arc::new(App {
            answers: Mutex::default(),
            gate: Semaphore::new(OPEN),
            received: sender,
        });
        let routes = Router::new()
            .route("/hook", get(verify).post(take))
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&app));
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let hook = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = Server::bind(simulator(&hook), LOOPBACK, control).unwrap();
        let url = server.url().unwrap();
        let control_url = server.control_url().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run());
        tasks.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            url,
            control_url,
            client: client(),
            app,
            received,
            _tasks: tasks,
        }
    }

    pub(super) async fn send(&self, body: Value) -> reqwest::Result<(StatusCode, Value)> {
        send(self.client.clone(), self.url.clone(), body).await
    }

    pub(super) fn sending(&self, body: Value) -> JoinHandle<reqwest::Result<(StatusCode, Value)>> {
        tokio::spawn(send(self.client.clone(), self.url.clone(), body))
    }

    /// Sends over a connection of its own.
    pub(super) async fn send_alone(&self, body: Value) -> reqwest::Result<(StatusCode, Value)> {
        send(client(), self.url.clone(), body).await
    }

    pub(super) fn sending_alone(
        &self,
        body: Value,
    ) -> JoinHandle<reqwest::Result<(StatusCode, Value)>> {
        tokio::spawn(send(client(), self.url.clone(), body))
    }

    /// Sends, and leaves the body of the answer unread.
    pub(super) async fn post(&self, body: Value) -> reqwest::Result<reqwest::Response> {
        post(&self.client, &self.url, &body).await
    }

    /// Sends until somebody listens.
    pub(super) async fn eventually_sends(&self, body: Value) {
        let sending = async {
            while self.send_alone(body.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, sending)
            .await
            .expect("somebody listens")
    }

    /// The codes that so many sends are refused with, 0 where they are not.
    pub(super) async fn codes(&self, sends: usize) -> Vec<u64> {
        let mut codes = Vec::new();
        for _ in 0..sends {
            let (_, answer) = self.send(text("m1.a.1.tag")).await.unwrap();
            codes.push(answer["error"]["code"].as_u64().unwrap_or_default());
        }
        codes
    }

    pub(super) async fn wire(&self) -> Wire {
        let address = self.url.trim_start_matches("http://");
        Wire(TcpStream::connect(address).await.unwrap())
    }

    pub(super) async fn http2(&self) -> Http2 {
        let Wire(stream) = self.wire().await;
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Http2 {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    /// The user writes a text.
    pub(super) async fn write(&self, words: &str) -> Value {
        self.control("inbound", json!({"user": USER, "text": words}))
            .await
    }

    /// The status in the next webhook.
    pub(super) async fn status(&mut self) -> Value {
        let value = self.webhook().await.value();
        let status = value["statuses"][0].clone();
        assert!(status.is_object(), "a status: {value}");
        status
    }

    /// The text of the next webhook.
    pub(super) async fn words(&mut self) -> String {
        let value = self.webhook().await.value();
        let body = value["messages"][0]["text"]["body"].as_str();
        body.unwrap_or_else(|| panic!("a text: {value}")).to_owned()
    }

    pub(super) async fn forget_faults(&self) {
        let request = self
            .client
            .delete(format!("{}/__sim/faults", self.control_url));
        request.send().await.unwrap();
    }

    pub(super) async fn control(&self, path: &str, order: Value) -> Value {
        let request = self
            .client
            .post(format!("{}/__sim/{path}", self.control_url));
        request
            .json(&order)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// What stands at a path of the control plane, as text.
    pub(super) async fn page(&self, path: &str) -> String {
        let request = self
            .client
            .get(format!("{}/__sim/{path}", self.control_url));
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Asks the Graph plane.
    pub(super) async fn graph(&self, method: Method, path: &str) -> (u16, Value) {
        let url = format!("{}/v25.0/{path}", self.url);
        let request = self.client.request(method, url);
        answer_of(request.bearer_auth("demo-access-token")).await
    }

    pub(super) async fn graph_post(&self, path: &str, body: Value) -> (u16, Value) {
        let request = self.client.post(format!("{}/v25.0/{path}", self.url));
        answer_of(request.bearer_auth("demo-access-token").json(&body)).await
    }

    pub(super) async fn look(&self, path: &str) -> Value {
        let request = self
            .client
            .get(format!("{}/__sim/{path}", self.control_url));
        request.send().await.unwrap().json().await.unwrap()
    }

    /// Looks until it holds.
    pub(super) async fn eventually(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
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

    pub(super) async fn webhook(&mut self) -> Webhook {
        let next = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        next.expect("a webhook comes").expect("the app lives")
    }

    pub(super) fn answer_with<const N: usize>(&self, answers: [u16; N]) {
        self.app.answers.lock().unwrap().extend(answers);
    }

    /// Lets webhooks arrive, but not be answered.
    pub(super) async fn hold_back(&self) {
        let all = u32::try_from(OPEN).unwrap();
        self.app.gate.acquire_many(all).await.unwrap().forget();
    }

    pub(super) fn let_go(&self) {
        self.app.gate.add_permits(OPEN);
    }
}

impl Http2 {
    pub(super) async fn send(&mut self, body: &Value) -> Result<StatusCode, h2::Error> {
        let request = http::Request::post("http://sim/v25.0/106540352242922/messages")
            .header("authorization", "Bearer demo-access-token")
            .body(())
            .unwrap();
        let sender = self.sender.clone().ready().await?;
        self.sender = sender;
        let (answer, mut stream) = self.sender.send_request(request, false)?;
        stream.send_data(body.to_string().into(), true)?;
        Ok(answer.await?.status())
    }

    /// Waits until the server has ended the connection, in order.
    pub(super) async fn end(self) {
        let ended = tokio::time::timeout(PATIENCE, self.connection).await;
        ended.expect("it ends").unwrap().unwrap();
    }
}

impl Wire {
    pub(super) async fn send(&mut self, body: &Value) {
        let body = body.to_string();
        let head = format!(
            "POST /v25.0/106540352242922/messages HTTP/1.1\r\nhost: sim\r\n\
             authorization: Bearer demo-access-token\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request = head + &body;
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    /// The next bytes; nothing where the connection has ended in order.
    pub(super) async fn answer(&mut self) -> String {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(PATIENCE, self.0.read(&mut bytes)).await;
        let read = read.expect("an answer or the end comes").unwrap();
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    }
}

impl Webhook {
    /// Which of the secrets signed it.
    pub(super) fn signer<'a>(&self, secrets: &[&'a str]) -> &'a str {
        let Some(signature) = &self.signature else {
            return "nobody";
        };
        let signed = secrets
            .iter()
            .find(|secret| *signature == signature_of(secret, &self.body));
        signed.copied().unwrap_or("a stranger")
    }

    pub(super) fn changes(&self) -> usize {
        let payload: Value = serde_json::from_slice(&self.body).unwrap();
        let entries = payload["entry"].as_array().unwrap();
        let changes = entries.iter().map(|entry| entry["changes"].as_array());
        changes.map(|changes| changes.unwrap().len()).sum()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn value(&self) -> Value {
        self.change()["value"].clone()
    }

    pub(super) fn change(&self) -> Value {
        let payload: Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(payload["object"], "whatsapp_business_account");
        payload["entry"][0]["changes"][0].clone()
    }
}

async fn answer_of(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

async fn post(client: &Client, url: &str, body: &Value) -> reqwest::Result<reqwest::Response> {
    let request = client.post(format!("{url}/v25.0/106540352242922/messages"));
    let request = request.bearer_auth("demo-access-token").json(body);
    request.send().await
}

async fn send(client: Client, url: String, body: Value) -> reqwest::Result<(StatusCode, Value)> {
    let answer = post(&client, &url, &body).await?;
    let status = answer.status();
    Ok((status, answer.json().await.unwrap_or_default()))
}

async fn take(Shared(app): Shared<Arc<App>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let signature = headers.get("x-hub-signature-256");
    let signature = signature.map(|value| value.to_str().unwrap().to_owned());
    let is_signed = signature == Some(signature_of("demo-app-secret", &body));
    let webhook = Webhook {
        body,
        is_signed,
        signature,
    };
    app.received.send(webhook).unwrap();
    let _open = app.gate.acquire().await.unwrap();
    let answer = app.answers.lock().unwrap().pop_front();
    StatusCode::from_u16(answer.unwrap_or(200)).unwrap()
}

fn signature_of(secret: &str, body: &Bytes) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
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

/// Whether the peer sent a reset, and not an orderly end.
pub(super) fn is_reset(error: &reqwest::Error) -> bool {
    is_io(error, ErrorKind::ConnectionReset)
}

/// Whether an error comes from this failure of a socket.
pub(super) fn is_io(error: &reqwest::Error, kind: ErrorKind) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        let io = found.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == kind) {
            return true;
        }
        cause = found.source();
    }
    false
}

pub(super) fn simulator(callback_url: &str) -> Simulator {
    let mut world = world::parse(include_str!("../../world.toml")).unwrap();
    let fast = "[settings]\nsent_ms = [1, 2]\ndelivered_ms = [1, 2]\nread_ms = [1, 2]\n";
    world.settings = world::parse(fast).unwrap().settings;
    world.apps[0].callback_url = (!callback_url.is_empty()).then(|| callback_url.to_owned());
    let clock = VirtualClock::new(SystemClock::shared());
    Simulator::new(State::new(world, Seed::new(1)), clock, Reach::Loopback)
}

pub(super) fn text(token: &str) -> Value {
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
