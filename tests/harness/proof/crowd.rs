//! The clients: each sends one message under a key of its own, until it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Site;
use crate::{AGENT, token};

/// All of them.
#[derive(Clone, Debug)]
pub struct Crowd {
    http: reqwest::Client,
    addresses: Arc<[SocketAddr]>,
    messages: usize,
    turn: Arc<AtomicUsize>,
}

/// What a client was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// The message's id.
    pub id: String,
}

/// What a customer wrote.
#[derive(Clone, Debug)]
pub struct Written {
    /// Who.
    pub user: String,
    /// The message's id.
    pub id: String,
    /// Until when the window is open for it.
    pub until: String,
}

// === impl Crowd ===

impl Crowd {
    /// So many messages, at this site.
    pub fn new(site: &Site, messages: usize) -> Self {
        Self {
            http: site.http.clone(),
            addresses: site.addresses().into(),
            messages,
            turn: Arc::default(),
        }
    }

    /// Every customer writes once, and the service has heard of all of them.
    pub async fn open_windows(&self, site: &Site) -> Vec<Written> {
        let mut written = Vec::with_capacity(self.customers());
        for customer in 0..self.customers() {
            let user = customer_of(customer);
            let hello = json!({"user": user, "text": "Hello"});
            let told = site.tell("inbound", &hello).await;
            let id = told["wamid"].as_str().map(Into::into);
            written.push(Written {
                user,
                id: id.expect("a message has an id"),
                until: String::new(),
            });
        }
        for one in &mut written {
            one.until = loop {
                match self.open_until(&one.user).await {
                    Some(until) => break until,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
        }
        written
    }

    /// Sends everything, so many at a time; returns what each client was told.
    ///
    /// # Panics
    ///
    /// Where a client is never answered.
    pub async fn send_all(self) -> Vec<Told> {
        let mut clients = JoinSet::new();
        for _ in 0..AT_ONCE {
            let crowd = self.clone();
            clients.spawn(async move {
                let mut told = Vec::new();
                loop {
                    let turn = crowd.turn.fetch_add(1, Ordering::Relaxed);
                    if turn >= crowd.messages {
                        return told;
                    }
                    if turn.is_multiple_of(STRANGERS) {
                        crowd.is_refused(turn).await;
                    }
                    told.push(crowd.send(turn).await);
                }
            });
        }
        clients.join_all().await.into_iter().flatten().collect()
    }

    /// Reads a message.
    pub async fn read(&self, id: &str) -> Option<Value> {
        let target = format!("/v1/whatsapp/messages/{id}");
        let answer = self.get(&target).await?;
        (answer.status() == 200).then_some(())?;
        answer.json().await.ok()
    }

    /// Sends one message until it is answered. A repetition with the same key is the same
    /// request: that is what a key is for.
    ///
    /// # Panics
    ///
    /// Where it is never answered.
    pub async fn send(&self, turn: usize) -> Told {
        self.send_as(turn, &Value::Null).await
    }

    /// The same, delivered as it says.
    ///
    /// # Panics
    ///
    /// Where it is never answered, or refused.
    pub async fn send_as(&self, turn: usize, delivery: &Value) -> Told {
        let told = self.offer(turn, delivery).await;
        told.unwrap_or_else(|refusal| panic!("message {turn}: {refusal}"))
    }

    /// The same, which may be refused for good.
    ///
    /// # Errors
    ///
    /// The code of the refusal.
    ///
    /// # Panics
    ///
    /// Where it is never answered.
    pub async fn offer(&self, turn: usize, delivery: &Value) -> Result<Told, String> {
        let (path, mut body) = self.order(turn);
        body["delivery"] = delivery.clone();
        let mut tries = 0;
        loop {
            let address = self.addresses[(turn + tries) % self.addresses.len()];
            let request = self
                .http
                .post(format!("http://{address}{path}"))
                .bearer_auth(token("full"))
                .header("idempotency-key", format!("proof-{turn}"))
                .json(&body);
            if let Ok(answer) = request.send().await {
                let status = answer.status().as_u16();
                let answer = answer.json::<Value>().await;
                match (status, answer) {
                    (202, Ok(accepted)) => {
                        let id = accepted["id"].as_str().expect("it has an id");
                        return Ok(Told { id: id.to_owned() });
                    }
                    // Nothing was executed, or somebody is at it: again.
                    (409 | 500 | 503, _) | (_, Err(_)) => {}
                    (_, Ok(refusal)) => {
                        let code = refusal["error"]["code"].as_str().map(Into::into);
                        return Err(code.unwrap_or_else(|| refusal.to_string()));
                    }
                }
            }
            tries += 1;
            assert!(tries < TRIES_MAX, "message {turn} is never answered");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// P4: whoever never wrote is sent no text.
    async fn is_refused(&self, turn: usize) {
        let to = format!("+1651555{turn:04}");
        let text = json!({"body": "Are you there?"});
        let order = json!({"agent_id": AGENT, "from": "+15550783881", "to": to, "text": text});
        for tries in 0..TRIES_MAX {
            let address = self.addresses[(turn + tries) % self.addresses.len()];
            let request = self
                .http
                .post(format!("http://{address}/v1/whatsapp/messages"))
                .bearer_auth(token("full"))
                .json(&order);
            match request.send().await.map(|answer| answer.status().as_u16()) {
                Ok(422) => return,
                Ok(500 | 503) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(status) => panic!("a text outside the window: {status}"),
            }
        }
        panic!("a text outside the window is never answered");
    }

    fn order(&self, turn: usize) -> (&'static str, Value) {
        let to = format!("+{}", customer_of(turn % self.customers()));
        let mut order = json!({"agent_id": AGENT, "from": "+15550783881", "to": to});
        if turn.is_multiple_of(2) {
            order["text"] = json!({"body": format!("message {turn}")});
            return ("/v1/whatsapp/messages", order);
        }
        order["template"] = json!({"name": "hello_world", "language": "en_US"});
        ("/v1/whatsapp/templates", order)
    }

    /// Whether a customer's window is open, as the service knows it.
    pub async fn is_open(&self, user: &str) -> bool {
        self.open_until(user).await.is_some()
    }

    /// Until when it is, where it is open.
    pub async fn open_until(&self, user: &str) -> Option<String> {
        let target = format!("/v1/whatsapp/windows?agent_id={AGENT}&to=%2B{user}");
        let answer = self.get(&target).await?;
        let windows = answer.json::<Value>().await.ok()?;
        let window = &windows["windows"][0];
        (window["is_open"] == true).then_some(())?;
        window["open_until"].as_str().map(Into::into)
    }

    async fn get(&self, target: &str) -> Option<reqwest::Response> {
        let url = format!("http://{}{target}", self.addresses[0]);
        let request = self.http.get(url).bearer_auth(token("full"));
        request.send().await.ok()
    }

    /// How many customers there are: few enough messages each that no pair has to wait.
    pub const fn customers(&self) -> usize {
        self.messages.div_ceil(2)
    }
}

/// The digits of a customer.
pub fn customer_of(number: usize) -> String {
    format!("1650555{number:04}")
}

/// More than one process answers at once.
const AT_ONCE: usize = 16;

/// A minute.
const TRIES_MAX: usize = 600;

/// How often somebody tries to write to a customer who never has.
const STRANGERS: usize = 20;
