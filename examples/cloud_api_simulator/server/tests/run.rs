//! A running simulator with a subscribed app, for the cases beside this file.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
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
}

impl Run {
    pub(super) async fn start() -> Self {
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

    pub(super) async fn send(&self, body: Value) -> reqwest::Result<(StatusCode, Value)> {
        send(self.client.clone(), self.url.clone(), body).await
    }

    pub(super) fn sending(&self, body: Value) -> JoinHandle<reqwest::Result<(StatusCode, Value)>> {
        tokio::spawn(send(self.client.clone(), self.url.clone(), body))
    }

    pub(super) async fn control(&self, path: &str, order: Value) -> Value {
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

    pub(super) async fn look(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}/__sim/{path}", self.url));
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

impl Webhook {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn value(&self) -> Value {
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

/// Whether the peer sent a reset, and not an orderly end.
pub(super) fn is_reset(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        let io = found.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset) {
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
