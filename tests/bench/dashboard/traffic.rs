//! Requests of every kind that the demo has an answer to, for as long as it is wanted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harness::{Draft, Wire};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::demo::Demo;

/// Clients that send until they are told to stop.
pub(crate) struct Traffic {
    clients: JoinSet<()>,
    tally: Tally,
}

/// Answers by what was asked for, and their status.
#[derive(Clone, Default)]
struct Tally(Arc<Mutex<BTreeMap<(&'static str, u16), usize>>>);

/// What a client knows of the demo.
#[derive(Clone)]
struct Client {
    edge: SocketAddr,
    simulator: SocketAddr,
    key: String,
    limited: String,
    reader: String,
    stranger: String,
    agent: String,
    from: String,
    open: String,
    closed: String,
    tally: Tally,
}

// === impl Traffic ===

impl Traffic {
    pub(crate) fn start(demo: &Demo) -> Self {
        let tally = Tally::default();
        let client = Client {
            edge: demo.address("base_url"),
            simulator: demo.address("simulator_url"),
            key: demo.text("api_key"),
            limited: demo.text("limited_api_key"),
            reader: demo.text("read_only_api_key"),
            stranger: demo.text("other_agent_api_key"),
            agent: demo.text("agent_id"),
            from: demo.text("from"),
            open: demo.text("open_to"),
            closed: demo.text("closed_to"),
            tally: tally.clone(),
        };
        let mut clients = JoinSet::new();
        clients.spawn(client.clone().looks());
        clients.spawn(client.clone().sends());
        clients.spawn(client.clone().asks_amiss());
        clients.spawn(client.clone().asks_too_often());
        clients.spawn(client.customer_writes());
        Self { clients, tally }
    }

    /// Stops all of it, and says what was answered.
    pub(crate) async fn end(mut self) -> String {
        self.clients.shutdown().await;
        let answers = self.tally.lock();
        let said = answers
            .iter()
            .map(|((kind, status), count)| format!("{count} {kind} ({status})"));
        said.collect::<Vec<String>>().join(", ")
    }
}

// === impl Client ===

impl Client {
    /// Now more, now less of what costs little.
    async fn looks(self) {
        let target = format!(
            "/v1/whatsapp/windows?agent_id={}&to=%2B{}",
            self.agent,
            self.open.trim_start_matches('+')
        );
        let mut wire = Wire::connect(self.edge).await;
        for round in 0_u32.. {
            let draft = bearing(Draft::get(&target), &self.key);
            let draft = match round % 3 {
                0 => draft.correlation_id(&format!("look-{round}")),
                1 => Draft::get("/healthz"),
                _ => draft,
            };
            let reply = wire.exchange(&draft).await;
            self.tally.count("looks", reply.status);
            let wave = (f64::from(round) / WAVE).sin();
            sleep(Duration::from_secs_f64(0.06 + 0.05 * wave)).await;
        }
    }

    /// A message, the same again, another one under its key, and two at once.
    async fn sends(self) {
        for round in 0_u32.. {
            let draft = || self.message(&self.open, &format!("Message {round}"));
            let keyed = |draft: Draft| {
                let key = format!("order-{round}");
                bearing(draft, &self.key).idempotency_key(&key)
            };
            let (first, twin) = (keyed(draft()), keyed(draft()));
            if round % 3 == 2 {
                tokio::join!(self.ask("messages", &first), self.ask("twins", &twin));
            } else {
                self.ask("messages", &first).await;
                self.ask("replays", &twin).await;
            }
            if round % 2 == 0 {
                let other = keyed(self.message(&self.open, "Another one"));
                self.ask("conflicts", &other).await;
            }
            let unkeyed = bearing(self.message(&self.open, "Without a key"), &self.key);
            if round % 4 == 0 {
                self.ask("messages", &unkeyed).await;
                let template = json!({
                    "agent_id": self.agent, "from": self.from, "to": self.closed,
                    "template": {"name": "hello_world", "language": "en_US"},
                });
                let template = Draft::post("/v1/whatsapp/templates").json(&template.to_string());
                self.ask("templates", &bearing(template, &self.key)).await;
            }
            sleep(Duration::from_millis(1500)).await;
        }
    }

    /// What is refused, each for another reason; not so often that the address has to wait.
    async fn asks_amiss(self) {
        let hello = || self.message(&self.open, "Hello");
        let late = self.message(&self.closed, "Are you there?");
        let unknown = format!("{}x", &self.key[..self.key.len() - 1]);
        let forged = Draft::post("/webhooks/whatsapp").field("x-hub-signature-256", "sha256=00");
        let drafts = [
            ("no key", hello()),
            ("no scope", bearing(hello(), &self.reader)),
            ("no such agent", bearing(hello(), &self.stranger)),
            ("no window", bearing(late, &self.key)),
            ("no key of ours", bearing(hello(), &unknown)),
            ("no such path", bearing(Draft::get("/nowhere"), &self.key)),
            (
                "no such method",
                bearing(Draft::new("BREW", "/healthz"), &self.key),
            ),
            ("no message", bearing(hello().json("{}"), &self.key)),
            ("no webhook", forged),
        ];
        for (kind, draft) in drafts.iter().cycle() {
            self.ask(kind, draft).await;
            sleep(Duration::from_millis(700)).await;
        }
    }

    /// More in a row than a key may.
    async fn asks_too_often(self) {
        loop {
            for _ in 0..8 {
                let draft = Draft::get("/v1/whatsapp/messages/none");
                self.ask("many in a row", &bearing(draft, &self.limited))
                    .await;
            }
            sleep(Duration::from_secs(5)).await;
        }
    }

    /// A customer writes, which is told to the service by a webhook.
    async fn customer_writes(self) {
        for round in 0_u32.. {
            let user = self.open.trim_start_matches('+');
            let text = format!("Question {round}");
            let message = json!({"user": user, "type": "text", "text": text});
            let draft = Draft::post("/__sim/inbound").json(&message.to_string());
            let reply = Wire::connect(self.simulator).await.exchange(&draft).await;
            self.tally.count("customers' messages", reply.status);
            sleep(Duration::from_millis(900)).await;
        }
    }

    fn message(&self, to: &str, text: &str) -> Draft {
        let message = json!({
            "agent_id": self.agent, "from": self.from, "to": to, "text": {"body": text},
        });
        Draft::post("/v1/whatsapp/messages").json(&message.to_string())
    }

    async fn ask(&self, kind: &'static str, draft: &Draft) {
        let mut wire = Wire::connect(self.edge).await;
        let reply = wire.exchange(draft).await;
        self.tally.count(kind, reply.status);
    }
}

// === impl Tally ===

impl Tally {
    fn count(&self, kind: &'static str, status: u16) {
        *self.lock().entry((kind, status)).or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(&'static str, u16), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearing(draft: Draft, key: &str) -> Draft {
    draft.field("Authorization", &format!("Bearer {key}"))
}

/// Looks from one wave to the next, by six.
const WAVE: f64 = 60.0;
