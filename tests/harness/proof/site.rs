//! The processes of a run: a simulator, and the service, which may be killed and comes back.

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tempfile::TempDir;
use vestibule::testing::server::PostgresServer;

use super::{Engine, REST};
use crate::process::{Process, binary};
use crate::{AGENT, Setup};

/// The simulator, and the replicas of the service.
#[derive(Debug)]
pub struct Site {
    pub(super) http: reqwest::Client,
    pub(super) control: String,
    replicas: Vec<Replica>,
    postgres: Option<Arc<PostgresServer>>,
    _simulator: Process,
    _folder: TempDir,
}

#[derive(Debug)]
struct Replica {
    address: SocketAddr,
    config: std::path::PathBuf,
    process: Process,
}

// === impl Site ===

impl Site {
    /// Starts everything, with a number of a thousand messages a second; webhooks go to the
    /// first replica.
    ///
    /// # Panics
    ///
    /// Where a process does not start.
    pub async fn start(engine: Engine, random: &mut StdRng) -> Self {
        Self::paced(engine, 1000, random).await
    }

    /// The same with a number of so many messages a second.
    ///
    /// # Panics
    ///
    /// Where a process does not start.
    pub async fn paced(engine: Engine, per_second: u32, random: &mut StdRng) -> Self {
        let postgres = (engine == Engine::Postgres).then(|| Arc::new(PostgresServer::start()));
        let count = if postgres.is_some() { 2 } else { 1 };
        Self::open(postgres, count, per_second, random).await
    }

    /// One process and nobody who stands in for it; PostgreSQL is the one that all share.
    ///
    /// # Panics
    ///
    /// Where a process does not start.
    pub async fn alone(engine: Engine, random: &mut StdRng) -> Self {
        let postgres = (engine == Engine::Postgres).then(PostgresServer::shared);
        Self::open(postgres, 1, 1000, random).await
    }

    async fn open(
        postgres: Option<Arc<PostgresServer>>,
        count: usize,
        per_second: u32,
        random: &mut StdRng,
    ) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        Setup::new().write_keys(&folder.path().join("keys.json"));
        let world = folder.path().join("world.toml");
        let text = WORLD.replace("{per_second}", &per_second.to_string());
        std::fs::write(&world, text).expect("the folder is ours");
        let mut command = Command::new(binary("examples/cloud_api_simulator"));
        let seed = random.random::<u32>().to_string();
        command
            .args(["--listen", "127.0.0.1:0", "--control-listen", "127.0.0.1:0"])
            .args(["--seed", &seed, "--world"])
            .arg(&world);
        let (simulator, line) = Process::announced(&mut command);
        let said: Value = serde_json::from_str(&line).expect("it says where it is");
        let meta = said["url"].as_str().expect("it has an address").to_owned();
        let control = said["control_url"].as_str().expect("and another");
        let database = match &postgres {
            Some(server) => server.database(),
            None => "m.db".to_owned(),
        };
        let replicas = (0..count)
            .map(|n| Replica::start(&folder, n, &database, &meta, per_second))
            .collect::<Vec<_>>();
        let site = Self {
            http: client(),
            control: format!("{control}/__sim"),
            replicas,
            postgres,
            _simulator: simulator,
            _folder: folder,
        };
        let callback = format!("http://{}/webhooks/whatsapp", site.replicas[0].address);
        site.tell("apps", &json!({ "callback_url": callback }))
            .await;
        site
    }

    /// Where the replicas listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas
            .iter()
            .map(|replica| replica.address)
            .collect()
    }

    /// Kills a replica, and starts it again.
    ///
    /// # Panics
    ///
    /// Where it does not come back.
    pub fn kill(&mut self, which: usize) {
        let count = self.replicas.len();
        self.replicas[which % count].restart();
    }

    /// Kills the first replica, and starts it as one that ends itself after so many statements
    /// from its first claim on.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn doom(&mut self, statements: u64) {
        let replica = &mut self.replicas[0];
        replica.process.signal("KILL");
        replica.process.ended(crate::PATIENCE);
        let mut command = Command::new(binary("killed"));
        command
            .arg("messaging")
            .arg(&replica.config)
            .arg(statements.to_string());
        replica.process = Process::announced(&mut command).0;
    }

    /// Starts the first replica again if it has ended; whether it had.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn revive(&mut self) -> bool {
        let replica = &mut self.replicas[0];
        let has_ended = replica.process.has_ended();
        if has_ended {
            replica.process = started(&replica.config);
        }
        has_ended
    }

    /// Ends every connection to the database, where it is a server of the run's own.
    pub fn disconnect(&self) {
        if let Some(postgres) = &self.postgres {
            postgres.sql(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
            );
        }
    }

    /// Asks the control plane.
    pub async fn ask(&self, what: &str) -> Value {
        let answer = self.http.get(format!("{}/{what}", self.control)).send();
        let answer = answer.await.expect("the simulator answers");
        answer.json().await.expect("it answers in JSON")
    }

    /// Tells the control plane; returns what it says to that.
    ///
    /// # Panics
    ///
    /// Where it does not do it.
    pub async fn tell(&self, what: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}/{what}", self.control));
        let answer = request.json(body).send().await;
        let answer = answer.expect("the simulator answers");
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        assert!(status.is_success(), "{what} {body}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Takes all faults back.
    ///
    /// # Panics
    ///
    /// Where the simulator does not answer.
    pub async fn forgive(&self) {
        let url = format!("{}/faults", self.control);
        let cleared = self.http.delete(url).send().await;
        cleared.expect("the simulator answers");
    }

    /// How often Meta has refused a send with this code.
    ///
    /// # Panics
    ///
    /// Where the simulator does not answer.
    pub async fn refusals(&self, code: u32) -> u64 {
        let answer = self.http.get(format!("{}/metrics", self.control)).send();
        let text = answer.await.expect("the simulator answers").text().await;
        let text = text.expect("its counts are text");
        let name = format!("cloud_api_simulator_refused_total{{code=\"{code}\"}} ");
        let count = text.lines().find_map(|line| line.strip_prefix(&name));
        count.map_or(0, |count| count.parse().expect("a count is a number"))
    }

    /// Runs a command of an operator's beside the first replica; returns the lines of JSON
    /// that it prints.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn operate(&self, command: &[&str]) -> Vec<Value> {
        let output = Command::new(binary("messaging"))
            .args(command)
            .arg("--config")
            .arg(&self.replicas[0].config)
            .output()
            .expect("the binary was found just now");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {told}");
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.collect()
    }

    /// Tells the service whatever waits to be told again.
    pub(super) async fn flush(&self) {
        self.tell("webhooks/flush", &json!({})).await;
    }

    /// Takes all faults back, and waits until nothing is on its way any more.
    pub(super) async fn calm_down(&self) {
        self.forgive().await;
        let quiet = async {
            // What is on its way is told soon; what was not taken is told again at once.
            while self.ask("healthz").await["waiting"] != 0 {
                self.flush().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(REST, quiet).await;
        assert!(waited.is_ok(), "webhooks never came to rest");
    }
}

// === impl Replica ===

impl Replica {
    fn start(folder: &TempDir, number: usize, database: &str, meta: &str, per_second: u32) -> Self {
        // The port stays the same when the process comes back.
        let port = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = port.local_addr().expect("a listener has an address");
        drop(port);
        let config = folder.path().join(format!("messaging-{number}.toml"));
        let text = CONFIG
            .replace("{listen}", &address.to_string())
            .replace("{database}", database)
            .replace("{meta}", meta)
            .replace("{per_second}", &per_second.to_string())
            .replace("{agent}", AGENT);
        std::fs::write(&config, text).expect("the folder is ours");
        let process = started(&config);
        Self {
            address,
            config,
            process,
        }
    }

    fn restart(&mut self) {
        self.process.signal("KILL");
        self.process.ended(crate::PATIENCE);
        self.process = started(&self.config);
    }
}

fn started(config: &std::path::Path) -> Process {
    let mut command = Command::new(binary("messaging"));
    command
        .args(["serve", "--config"])
        .arg(config)
        .env(
            "RUST_LOG",
            std::env::var("PROOF_LOG").unwrap_or_else(|_| "off".into()),
        )
        .stderr(Stdio::inherit());
    Process::announced(&mut command).0
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(10))
        .no_proxy()
        .build();
    client.expect("a client of plain HTTP needs nothing")
}

/// A number that may send fast, and customers who read at once.
const WORLD: &str = r#"
[settings]
sent_ms = [5, 60]
delivered_ms = [10, 150]
read_ms = [20, 250]
ack_timeout_ms = 1500
batch = 20
batch_ms = 10

[[app]]
id = "1001"
secrets = ["demo-app-secret", "demo-app-secret-of-before"]
verify_token = "demo-verify-token"

[[waba]]
id = "102290129340398"
apps = ["1001"]

[[number]]
id = "106540352242922"
waba = "102290129340398"
display = "15550783881"
country_code = "1"
mps = {per_second}

[[token]]
value = "demo-access-token"
wabas = ["102290129340398"]

[[template]]
waba = "102290129340398"
name = "hello_world"
language = "en_US"
category = "utility"
body = "Welcome and congratulations!"
"#;

/// Short times, so that a run does not wait for what a day would bring.
const CONFIG: &str = r#"
listen   = "{listen}"
database = "{database}"

[api]
keys_file = "keys.json"
brand     = "mk"

[cloud_api]
base_url     = "{meta}"
version      = "v25.0"
token        = "demo-access-token"
app_secrets  = ["demo-app-secret", "demo-app-secret-of-before"]
verify_token = "demo-verify-token"

[delivery]
timeout_ms             = 1500
connect_timeout_ms     = 500
confirm_within_seconds = 6

[[account]]
id = "acc_1"
[[account.agent]]
id = "{agent}"
phones = [{ number = "+15550783881", phone_number_id = "106540352242922", per_second = {per_second} }]
"#;
