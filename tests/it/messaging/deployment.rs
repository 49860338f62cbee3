//! The service as it is deployed: the real binary on either engine, with the simulator as Meta.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use harness::process::{Process, binary};
use harness::{Draft, Mounting, PATIENCE, Reply, Setup, Wire};
use serde_json::{Value, json};
use tempfile::TempDir;
use vestibule::testing::server::PostgresServer;

use super::world::{configuration, simulator, template};

/// Where the service keeps things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Postgres,
    Sqlite,
}

/// A folder with a configuration, a database and Meta; no service runs until it is started.
#[derive(Debug)]
pub(super) struct Deployment {
    folder: TempDir,
    simulator: SocketAddr,
    _simulator: Process,
    _server: Option<Arc<PostgresServer>>,
}

/// A service that runs, and ends with its test.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: Process,
    address: SocketAddr,
    admin: SocketAddr,
}

/// What a command came to.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

/// Runs each case on both engines, with the engine in the name of the test.
macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case($crate::messaging::deployment::Engine::Sqlite).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case($crate::messaging::deployment::Engine::Postgres).await;
                }
            )*
        }
    };
}

pub(super) use on_both_engines;

// === impl Deployment ===

impl Deployment {
    /// With these lines in `[delivery]`.
    pub(super) async fn new(engine: Engine, delivery: &str) -> Self {
        let server = (engine == Engine::Postgres).then(PostgresServer::shared);
        Self::on(server, delivery).await
    }

    /// The same with a database of this server, or a file.
    pub(super) async fn on(server: Option<Arc<PostgresServer>>, delivery: &str) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        let setup = Setup::new().stranger("stranger");
        setup.write_keys(&folder.path().join("keys.json"));
        let (process, simulator) = simulator();
        let database = server.as_ref().map(|server| server.database());
        let text = configuration(Mounting::InProcess, simulator)
            .replace("m.db", database.as_deref().unwrap_or("m.db"));
        let text = format!("{text}[admin]\nlisten = \"127.0.0.1:0\"\n[delivery]\n{delivery}\n");
        let deployment = Self {
            folder,
            simulator,
            _simulator: process,
            _server: server,
        };
        let written = std::fs::write(deployment.config(), text);
        written.expect("the folder is ours");
        // What is delivered stays so, and windows are the service's business.
        let settings = json!({"settings": {"reads": false, "window_mode": "off"}});
        deployment.tell("world", &settings).await;
        deployment
    }

    /// Starts a service, to which Meta sends its webhooks from now on.
    pub(super) async fn start(&self) -> Running {
        let mut command = Command::new(binary("messaging"));
        command.arg("serve").arg("--config").arg(self.config());
        let (process, line) = Process::announced(&mut command);
        let said: Value = serde_json::from_str(&line).expect("it says where it is");
        let at = |name: &str| {
            let address = said[name].as_str().and_then(|text| text.parse().ok());
            address.unwrap_or_else(|| panic!("{name}: {said}"))
        };
        let running = Running {
            process,
            address: at("listening"),
            admin: at("admin"),
        };
        let callback = format!("http://{}/webhooks/whatsapp", running.address);
        let app = json!({ "callback_url": callback });
        self.tell("apps", &app).await;
        running
    }

    /// The next send meets this fault.
    pub(super) async fn fault(&self, fault: &Value) {
        self.tell("faults", fault).await;
    }

    /// Waits until every fault has met its send.
    pub(super) async fn faults_have_struck(&self) {
        let struck = async {
            while self.count("faults", "faults").await > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, struck).await;
        assert!(waited.is_ok(), "nothing was sent that meets the fault");
    }

    /// How much Meta has accepted.
    pub(super) async fn ledger(&self) -> usize {
        self.count("ledger", "rows").await
    }

    /// Runs a command; words are parted by spaces.
    pub(super) fn run(&self, words: &str) -> Done {
        self.run_with(words, "")
    }

    /// The same, with this on standard input.
    pub(super) fn run_with(&self, words: &str, input: &str) -> Done {
        let child = Command::new(binary("messaging"))
            .args(words.split(' '))
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("the binary was found just now");
        let mut stdin = child.stdin.take().expect("it is piped");
        // One that does not read its input may have ended by now.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        Done::of(&child.wait_with_output().expect("it ends"))
    }

    /// What `messages show` tells of a message.
    pub(super) fn shown(&self, id: &str) -> Value {
        let done = self.run(&format!("messages show {id} --json"));
        assert_eq!(done.code, 0, "{done:?}");
        serde_json::from_str(&done.out).expect("it is one object")
    }

    /// Waits until a message is in this state.
    pub(super) async fn reaches(&self, id: &str, state: &str) -> Value {
        let reached = async {
            loop {
                let shown = self.shown(id);
                if shown["state"] == state {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, reached).await;
        waited.unwrap_or_else(|_| panic!("it is not {state}: {}", self.shown(id)))
    }

    /// The path of a file beside the configuration.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> PathBuf {
        self.file("messaging.toml")
    }

    async fn count(&self, what: &str, name: &str) -> usize {
        let draft = Draft::get(&format!("/__sim/{what}"));
        let reply = Wire::connect(self.simulator).await.exchange(&draft).await;
        let told = reply.json();
        let rows = told[name].as_array();
        rows.unwrap_or_else(|| panic!("{name}: {told}")).len()
    }

    async fn tell(&self, what: &str, body: &Value) {
        let draft = Draft::post(&format!("/__sim/{what}")).json(&body.to_string());
        let reply = Wire::connect(self.simulator).await.exchange(&draft).await;
        assert!(reply.status < 300, "{what}: {}", reply.text());
    }
}

// === impl Running ===

impl Running {
    /// Sends a request, which must be accepted; returns the id of its message.
    pub(super) async fn accepted(&self, draft: &Draft) -> String {
        let reply = Wire::connect(self.address).await.exchange(draft).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        let id = reply.json()["id"].as_str().map(str::to_owned);
        id.expect("a message has an id")
    }

    /// Sends a template message.
    pub(super) async fn send(&self) -> String {
        self.accepted(&template("full", &json!({}))).await
    }

    /// Asks the operators' listener.
    pub(super) async fn admin(&self, path: &str) -> Reply {
        let wire = Wire::connect(self.admin);
        wire.await.exchange(&Draft::get(path)).await
    }
}

// === impl Done ===

impl Done {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Holds it against its exit code and words of the one sentence that it says.
    pub(super) fn must(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let said = if code == 0 { &self.out } else { &self.err };
        for word in words {
            assert!(said.contains(word), "{word:?} is not in {self:?}");
        }
    }
}
