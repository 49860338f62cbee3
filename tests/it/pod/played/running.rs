//! The dev pod, while it runs: messages out, webhooks in, kills, the end and what outlives it.

use std::sync::atomic::{AtomicU32, Ordering};

use harness::{Draft, PATIENCE, Reply, Wire};
use serde_json::{Value, json};

use super::play::{PAUSE, Played, SIDECAR, SIDECAR_ADMIN, SIMULATOR};
use super::podman::{podman, told};

#[tokio::test]
async fn a_message_goes_out_and_a_webhook_comes_in() {
    let pod = Played::start().await;
    let caller = Caller::new(&pod);
    locked_down(&pod);
    // Nobody has written yet: free text is refused, until one does.
    let early = pod.send(SIDECAR, &caller.text("early")).await;
    assert_eq!(early.status, 422, "{}", early.text());
    let inbound = json!({"user": OPEN_TO, "type": "text", "text": "Hello!"});
    tell(&pod, "inbound", &inbound).await;
    caller.window_is_open(&pod).await;
    told("a customer has written, and the webhook has opened the window");
    let sent = pod.send(SIDECAR, &caller.text("Welcome")).await;
    assert_eq!(sent.status, 202, "{}", sent.text());
    let id = id_of(&sent);
    caller.reaches(&pod, &id, "delivered").await;
    let webhooks = ask(&pod, "webhooks").await;
    let told_by = webhooks["attempts"].as_array().map_or(0, Vec::len);
    told(&format!(
        "a message was sent through sidecar and service, and is delivered; {told_by} webhooks"
    ));
    assert_eq!(accepted(&pod).await, 1);
    // The service is behind its socket: no port but those that are meant is open.
    for port in [8081, 80, 443] {
        assert!(pod.try_send(port, &Draft::get("/")).await.is_none());
    }
}

#[tokio::test]
async fn whoever_is_killed_comes_back_and_nothing_is_lost() {
    let pod = Played::start().await;
    let caller = Caller::new(&pod);
    let mut sent = 0;
    for victim in ["vestibule", "messaging", "simulator"] {
        let draft = caller.template(victim);
        let first = pod.send(SIDECAR, &draft).await;
        assert_eq!(first.status, 202, "{}", first.text());
        sent += 1;
        caller.reaches(&pod, &id_of(&first), "delivered").await;
        pod.kill(victim).await;
        pod.ready().await;
        let again = caller.served(&pod, &draft).await;
        assert_eq!((again.status, &again.body), (202, &first.body), "{victim}");
        assert_eq!(again.one("idempotent-replayed"), "true", "{victim}");
        told(&format!(
            "after the death of {victim} the repetition replays what was first answered"
        ));
        if victim == "simulator" {
            // Its ledger has died with it; what is sent now is all that it knows.
            sent = 0;
        }
        assert_eq!(accepted(&pod).await, sent, "{victim}");
        let next = caller
            .served(&pod, &caller.template(&format!("after {victim}")))
            .await;
        assert_eq!(next.status, 202, "{}", next.text());
        sent += 1;
        caller.reaches(&pod, &id_of(&next), "delivered").await;
        assert_eq!(accepted(&pod).await, sent, "{victim}");
    }
}

#[tokio::test]
async fn what_is_under_way_at_the_end_is_answered_and_outlives_the_pod() {
    let mut pod = Played::start().await;
    let caller = Caller::new(&pod);
    let draft = caller.template("at the end");
    let bytes = draft.to_bytes();
    let half = bytes.len() - 20;
    let mut wire = Wire::connect(pod.at(SIDECAR)).await;
    wire.send(&bytes[..half]).await;
    // One answer shows that the sidecar has taken the connection before it.
    assert_eq!(
        pod.send(SIDECAR, &Draft::get("/openapi.json")).await.status,
        200
    );
    let old = pod.pid("vestibule");
    pod.exec("vestibule", &HOOK);
    told("the sidecar's hook has run: it drains, while the service behind it serves");
    pod.until_answered(SIDECAR_ADMIN, "/readyz", 503).await;
    assert_eq!(pod.pid("vestibule"), old, "it waits for what is under way");
    wire.send(&bytes[half..]).await;
    let harness::Answer::Reply(first) = wire.answer(false).await else {
        panic!("what was under way is not answered");
    };
    assert_eq!(first.status, 202, "{}", first.text());
    told("the request that was half sent is answered");
    // A cluster starts no container of a pod that ends; podman does.
    pod.restarted("vestibule", old).await;
    for name in ["messaging", "vestibule"] {
        let began = tokio::time::Instant::now();
        podman(&["stop", "--time", "150", &pod.container(name)]);
        assert_eq!(pod.inspect(name, "{{.State.ExitCode}}"), "0", "{name}");
        told(&format!(
            "{name} has ended with 0 after {:.1?}",
            began.elapsed()
        ));
    }
    pod.down();
    pod.up().await;
    let again = caller.served(&pod, &draft).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(again.one("idempotent-replayed"), "true");
    told("in the next pod over the same volumes, the same key replays the answer");
    // Its simulator is a new one, and tells of nothing that was sent before it.
    caller.reaches(&pod, &id_of(&first), "sent").await;
}

/// What the kernel says of the processes, whatever podman was asked for.
fn locked_down(pod: &Played) {
    for name in ["vestibule", "messaging", "simulator"] {
        let status = format!("/proc/{}/status", pod.pid(name));
        let status = std::fs::read_to_string(status).expect("it runs");
        for line in [
            "Uid:\t65532\t65532\t65532\t65532",
            "CapEff:\t0000000000000000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(
                status.lines().any(|one| one == line),
                "{name}: {line}: {status}"
            );
        }
        assert_eq!(
            pod.inspect(name, "{{.HostConfig.ReadonlyRootfs}}"),
            "true",
            "{name}"
        );
        let mut shell = super::podman::command();
        let shell = shell.args(["exec", &pod.container(name), "/bin/sh", "-c", "true"]);
        assert!(
            !shell.output().expect("there is podman").status.success(),
            "{name} has a shell"
        );
    }
    told("each runs as 65532 on a read-only root, without capabilities and without a shell");
}

/// A client with a key that was made in the sidecar's own container.
pub(super) struct Caller {
    authorization: String,
    /// One customer is sent a message every few seconds at most, so that each gets another.
    customers: AtomicU32,
}

// === impl Caller ===

impl Caller {
    pub(super) fn new(pod: &Played) -> Self {
        let made = pod.exec("vestibule", &CREATE);
        let made: Value = serde_json::from_str(&made).expect("it is JSON");
        Self {
            authorization: format!(
                "Bearer {}",
                made["secret"].as_str().expect("a key is shown")
            ),
            customers: AtomicU32::new(0),
        }
    }

    fn text(&self, text: &str) -> Draft {
        let body = json!({"agent_id": AGENT, "from": FROM, "to": OPEN_TO, "text": {"body": text}});
        self.post("messages", text, &body)
    }

    pub(super) fn template(&self, key: &str) -> Draft {
        let template = json!({"name": "hello_world", "language": "en_US"});
        let to = 16_505_560_000_u64 + u64::from(self.customers.fetch_add(1, Ordering::Relaxed));
        let to = format!("+{to}");
        let body = json!({"agent_id": AGENT, "from": FROM, "to": to, "template": template});
        self.post("templates", key, &body)
    }

    /// A message whose text is so long that it is refused, once it has been read.
    pub(super) fn large(&self, bytes: usize) -> Draft {
        let text = "x".repeat(bytes);
        let body = json!({"agent_id": AGENT, "from": FROM, "to": OPEN_TO, "text": {"body": text}});
        self.post("messages", "large", &body)
    }

    fn post(&self, what: &str, key: &str, body: &Value) -> Draft {
        Draft::post(&format!("/v1/whatsapp/{what}"))
            .field("Authorization", &self.authorization)
            .idempotency_key(&key.replace(' ', "-"))
            .json(&body.to_string())
    }

    fn get(&self, path: &str) -> Draft {
        Draft::get(path).field("Authorization", &self.authorization)
    }

    /// The answer to a request that is repeated as long as it is told to come again.
    pub(super) async fn served(&self, pod: &Played, draft: &Draft) -> Reply {
        let served = async {
            loop {
                match pod.try_send(SIDECAR, draft).await {
                    Some(reply) if reply.status != 503 => return reply,
                    _ => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, served).await;
        waited.expect("the pod serves again")
    }

    async fn window_is_open(&self, pod: &Played) {
        let path = format!(
            "/v1/whatsapp/windows?agent_id={AGENT}&to=%2B{}",
            &OPEN_TO[1..]
        );
        self.until(pod, &path, |answer| answer.contains("\"is_open\":true"))
            .await;
    }

    async fn reaches(&self, pod: &Played, id: &str, status: &str) {
        let path = format!("/v1/whatsapp/messages/{id}");
        // What has been read has been delivered.
        let order = ["sent", "delivered", "read"];
        let from = order
            .iter()
            .position(|word| *word == status)
            .expect("it is one");
        let wanted: Vec<String> = order[from..]
            .iter()
            .map(|word| format!("\"status\":\"{word}\""))
            .collect();
        self.until(pod, &path, |answer| {
            wanted.iter().any(|word| answer.contains(word.as_str()))
        })
        .await;
    }

    async fn until(&self, pod: &Played, path: &str, holds: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let held = async {
            loop {
                if let Some(reply) = pod.try_send(SIDECAR, &self.get(path)).await {
                    last = reply.text();
                    if holds(&last) {
                        return;
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, held).await;
        assert!(waited.is_ok(), "{path}: {last}");
    }
}

async fn tell(pod: &Played, what: &str, body: &Value) {
    let draft = Draft::post(&format!("/__sim/{what}")).json(&body.to_string());
    let reply = pod.send(SIMULATOR, &draft).await;
    assert!(reply.status < 300, "{what}: {}", reply.text());
}

async fn ask(pod: &Played, what: &str) -> Value {
    let draft = Draft::get(&format!("/__sim/{what}"));
    pod.send(SIMULATOR, &draft).await.json()
}

/// How much Meta has accepted; nothing twice.
async fn accepted(pod: &Played) -> usize {
    let twice = ask(pod, "ledger/duplicates").await;
    assert_eq!(twice["duplicates"], json!([]), "{twice}");
    let ledger = ask(pod, "ledger").await;
    ledger["rows"].as_array().expect("it has rows").len()
}

fn id_of(reply: &Reply) -> String {
    let id = reply.json()["id"].as_str().map(str::to_owned);
    id.expect("a message has an id")
}

/// That of the Deployment.
const HOOK: [&str; 4] = [
    "/vestibule",
    "drain",
    "--config",
    "/etc/vestibule/vestibule.toml",
];

/// As the README says.
const CREATE: [&str; 12] = [
    "/vestibule",
    "keys",
    "create",
    "--config",
    "/etc/vestibule/vestibule.toml",
    "--account",
    "demo",
    "--scope",
    "whatsapp:send,whatsapp:read",
    "--per-minute",
    "60000",
    "--json",
];

const AGENT: &str = "0b9f4a52-6c1e-4c52-9b34-6a1c7f0c2d11";
const FROM: &str = "+15550783881";
const OPEN_TO: &str = "+16505551234";
