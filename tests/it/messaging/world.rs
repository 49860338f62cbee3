//! A service, a simulator, and a sidecar between the service and its clients where that is
//! the mounting.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use harness::process::{Process, binary};
use harness::{AGENT, Draft, Mounting, OTHER_AGENT, PATIENCE, Reply, Setup, Wire};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use vestibule_messaging::{Config, Listener, Messaging};
use vestibule_sidecar::{Running, Sidecar, config};

/// What a test of the service stands in.
#[derive(Debug)]
pub(super) struct World {
    address: SocketAddr,
    simulator: SocketAddr,
    service: JoinHandle<()>,
    _sidecar: Option<Running>,
    _simulator: Process,
    _folder: TempDir,
}

// === impl World ===

impl World {
    pub(super) async fn new(mounting: Mounting) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        let setup = Setup::new().stranger("stranger");
        setup.write_keys(&folder.path().join("keys.json"));
        let (process, simulator) = simulator();
        let (service, behind) = service(mounting, &folder, simulator).await;
        let sidecar = (mounting == Mounting::Sidecar).then(|| sidecar(&folder, behind));
        let address = sidecar.as_ref().map_or(behind, |sidecar| {
            let address = sidecar.address().to_string();
            address.parse().expect("it listens on the loopback")
        });
        let world = Self {
            address,
            simulator,
            service,
            _sidecar: sidecar,
            _simulator: process,
            _folder: folder,
        };
        let callback = format!("http://{address}/webhooks/whatsapp");
        world
            .tell("apps", &json!({ "callback_url": callback }))
            .await;
        world
    }

    pub(super) async fn send(&self, draft: &Draft) -> Reply {
        self.wire().await.exchange(draft).await
    }

    pub(super) async fn wire(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// A customer writes, and the service has heard of it.
    pub(super) async fn open_window(&self) {
        let inbound =
            json!({"user": USER.trim_start_matches('+'), "type": "text", "text": "Hello"});
        self.tell("inbound", &inbound).await;
        let user = USER.trim_start_matches('+');
        let target = format!("/v1/whatsapp/windows?agent_id={AGENT}&to=%2B{user}");
        let draft = Draft::get(&target).key("full");
        self.until("the window is open", || async {
            self.send(&draft).await.json()["windows"][0]["is_open"] == true
        })
        .await;
    }

    /// What Meta was sent and accepted.
    pub(super) async fn ledger(&self) -> Vec<Value> {
        let ledger = self.ask("ledger").await;
        let rows = ledger["rows"].as_array();
        rows.unwrap_or_else(|| panic!("a ledger: {ledger}")).clone()
    }

    /// Reads a message until it has this status.
    pub(super) async fn reaches(&self, id: &str, status: &str) -> Value {
        let draft = Draft::get(&format!("/v1/whatsapp/messages/{id}")).key("full");
        self.until(status, || async {
            self.send(&draft).await.json()["status"] == status
        })
        .await;
        self.send(&draft).await.json()
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        let holding = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, holding).await;
        assert!(waited.is_ok(), "it never came to pass: {what}");
    }

    async fn tell(&self, what: &str, body: &Value) {
        let draft = Draft::post(&format!("/__sim/{what}")).json(&body.to_string());
        let reply = Wire::connect(self.simulator).await.exchange(&draft).await;
        assert!(reply.status < 300, "{what}: {}", reply.text());
    }

    async fn ask(&self, what: &str) -> Value {
        let draft = Draft::get(&format!("/__sim/{what}"));
        Wire::connect(self.simulator)
            .await
            .exchange(&draft)
            .await
            .json()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.service.abort();
    }
}

/// A text message, with these fields in the place of the good ones; null takes one away.
pub(super) fn text(key: &str, changed: &Value) -> Draft {
    let good = json!({"agent_id": AGENT, "from": FROM, "to": USER, "text": {"body": "Hi"}});
    Draft::post("/v1/whatsapp/messages")
        .key(key)
        .json(&merged(good, changed))
}

/// The same for a template.
pub(super) fn template(key: &str, changed: &Value) -> Draft {
    let named = json!({"name": "hello_world", "language": "en_US"});
    let good = json!({"agent_id": AGENT, "from": FROM, "to": USER, "template": named});
    Draft::post("/v1/whatsapp/templates")
        .key(key)
        .json(&merged(good, changed))
}

fn merged(mut good: Value, changed: &Value) -> String {
    let fields = good.as_object_mut().expect("it is an object");
    for (name, value) in changed.as_object().expect("changes are an object") {
        fields.insert(name.clone(), value.clone());
        if value.is_null() {
            fields.remove(name);
        }
    }
    good.to_string()
}

pub(super) fn simulator() -> (Process, SocketAddr) {
    let mut command = Command::new(binary("examples/cloud_api_simulator"));
    let (process, line) = Process::announced(command.args(["--listen", "127.0.0.1:0"]));
    let said: Value = serde_json::from_str(&line).expect("it says where it is");
    let url = said["url"].as_str().unwrap_or_default();
    let address = url.trim_start_matches("http://").parse();
    (process, address.expect("it is on the loopback"))
}

/// The configuration of the service, in a folder that has its keys.
pub(super) fn configuration(mounting: Mounting, meta: SocketAddr) -> String {
    let door = match mounting {
        Mounting::InProcess => "[api]\nkeys_file = \"keys.json\"\nbrand = \"mk\"".to_owned(),
        Mounting::Sidecar => format!("[identity]\nsecret = \"{SECRET}\""),
    };
    let phone = format!("[{{ number = \"{FROM}\", phone_number_id = \"106540352242922\" }}]");
    format!(
        "listen = \"127.0.0.1:0\"\ndatabase = \"m.db\"\n{door}\n[cloud_api]\n\
         base_url = \"http://{meta}\"\nversion = \"v25.0\"\ntoken = \"demo-access-token\"\n\
         app_secrets = [\"demo-app-secret\"]\nverify_token = \"demo-verify-token\"\n\
         [[account]]\nid = \"acc_1\"\n[[account.agent]]\nid = \"{AGENT}\"\nphones = {phone}\n\
         [[account]]\nid = \"acc_2\"\n[[account.agent]]\nid = \"{OTHER_AGENT}\"\nphones = []\n"
    )
}

async fn service(
    mounting: Mounting,
    folder: &TempDir,
    meta: SocketAddr,
) -> (JoinHandle<()>, SocketAddr) {
    let text = configuration(mounting, meta);
    let config = Config::parse(&folder.path().join("messaging.toml"), &text);
    let config = config.expect("the configuration of the tests is good");
    let listener = Listener::bind(&config.listen)
        .await
        .expect("the loopback has a free port");
    let address = listener.address().expect("a listener has an address");
    let messaging = Messaging::open(config).await.expect("the service starts");
    let running = tokio::spawn(messaging.run(listener, None, std::future::pending()));
    (running, address.parse().expect("it is on the loopback"))
}

fn sidecar(folder: &TempDir, upstream: SocketAddr) -> Running {
    let text = format!(
        "listen = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\nstore = \"memory:\"\nthreads = 1\n\
         [keys]\nsource = \"keys.json\"\nbrand = \"mk\"\n[identity]\nsecret = \"{SECRET}\"\n{ROUTES}"
    );
    let config = config::Config::parse(folder.path().join("vestibule.toml"), &text);
    let config = config.expect("the configuration of the tests is good");
    Sidecar::new(config).spawn().expect("the sidecar starts")
}

/// A customer whom the simulator knows.
pub(super) const USER: &str = "+16505551234";

/// The number of the agent, which the simulator knows too.
pub(super) const FROM: &str = "+15550783881";

const SECRET: &str = "a secret of the tests, 32 bytes or more";

const ROUTES: &str = r#"
[[route]]
match = "POST /v1/whatsapp/{messages,templates}"
scope = "whatsapp:send"
agent = "/agent_id"
idempotency = "deduplicates"
[[route]]
match = "GET /v1/whatsapp/messages/{id}"
scope = ["whatsapp:send", "whatsapp:read"]
[[route]]
match = "GET /v1/whatsapp/windows"
scope = "whatsapp:read"
[[route]]
match = "* /webhooks/whatsapp"
auth = "none"
body_max = "4MB"
"#;
