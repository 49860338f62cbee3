//! What every figure needs: a service of its own, clients, and a stopwatch.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use harness::process::{Process, binary};
use harness::proof::Engine;
use harness::{AGENT, Setup, Wire, token};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::Instant;
use vestibule::testing::server::PostgresServer;

/// A service, the simulator that it sends to, and its database.
pub(crate) struct Rig {
    pub(crate) service: SocketAddr,
    pub(crate) simulator: SocketAddr,
    process: Process,
    config: std::path::PathBuf,
    _meta: Process,
    _postgres: Option<PostgresServer>,
    _folder: TempDir,
}

/// A simulator alone.
pub(crate) fn simulator(folder: &TempDir) -> (Process, SocketAddr) {
    let world = folder.path().join("world.toml");
    std::fs::write(&world, WORLD).expect("the folder is ours");
    let mut command = Command::new(binary("examples/cloud_api_simulator"));
    command
        .args(["--listen", "127.0.0.1:0", "--world"])
        .arg(world);
    let (process, line) = Process::announced(&mut command);
    let said: Value = serde_json::from_str(&line).expect("it says where it is");
    let url = said["url"].as_str().expect("it has an address");
    let address = url.trim_start_matches("http://").parse();
    (process, address.expect("it is on the loopback"))
}

// === impl Rig ===

impl Rig {
    /// Starts everything; `delivery` are lines of that section of the configuration.
    pub(crate) fn start(engine: Engine, delivery: &str, per_second: u32) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        Setup::new().write_keys(&folder.path().join("keys.json"));
        let (meta, simulator) = simulator(&folder);
        let postgres = (engine == Engine::Postgres).then(PostgresServer::start);
        let database = match &postgres {
            Some(server) => server.database(),
            None => "m.db".to_owned(),
        };
        let phone = format!(
            "{{ number = \"+15550783881\", phone_number_id = \"106540352242922\", per_second = {per_second} }}"
        );
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndatabase = \"{database}\"\n\
             [api]\nkeys_file = \"keys.json\"\nbrand = \"mk\"\n[cloud_api]\n\
             base_url = \"http://{simulator}\"\nversion = \"v25.0\"\ntoken = \"demo-access-token\"\n\
             app_secrets = [\"demo-app-secret\"]\nverify_token = \"demo-verify-token\"\n\
             [delivery]\n{delivery}\n[[account]]\nid = \"acc_1\"\n[[account.agent]]\n\
             id = \"{AGENT}\"\nphones = [{phone}]\n"
        );
        let config = folder.path().join("messaging.toml");
        std::fs::write(&config, text).expect("the folder is ours");
        let (process, service) = served(&config);
        Self {
            service,
            simulator,
            process,
            config,
            _meta: meta,
            _postgres: postgres,
            _folder: folder,
        }
    }

    /// Starts the service anew with another line in the place of one of its configuration.
    pub(crate) fn reconfigure(&mut self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.config).expect("it was written");
        assert!(text.contains(from), "{from} is in the configuration");
        std::fs::write(&self.config, text.replace(from, to)).expect("the folder is ours");
        self.process.signal("TERM");
        self.process.ended(harness::PATIENCE);
        (self.process, self.service) = served(&self.config);
    }

    /// How many sends the simulator has accepted.
    pub(crate) async fn accepted(&self) -> u64 {
        accepted(self.simulator).await
    }

    /// Waits until it has accepted so many, and tells how many they are by then.
    pub(crate) async fn accepted_after(&self, least: u64) -> u64 {
        loop {
            let accepted = self.accepted().await;
            if accepted >= least {
                return accepted;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn served(config: &std::path::Path) -> (Process, SocketAddr) {
    let mut command = Command::new(binary("messaging"));
    command
        .args(["serve", "--config"])
        .arg(config)
        .env("RUST_LOG", "off");
    let (process, line) = Process::announced(&mut command);
    let said: Value = serde_json::from_str(&line).expect("it says where it is");
    let address = said["listening"]
        .as_str()
        .expect("it has an address")
        .parse();
    (process, address.expect("it is on the loopback"))
}

/// How many sends a simulator has accepted.
pub(crate) async fn accepted(simulator: SocketAddr) -> u64 {
    let ask = harness::Draft::get("/__sim/metrics");
    let reply = Wire::connect(simulator).await.exchange(&ask).await;
    let text = reply.text();
    let line = text
        .lines()
        .find(|line| line.starts_with("cloud_api_simulator_accepted_total"));
    let count = line.and_then(|line| line.rsplit(' ').next());
    count
        .and_then(|count| count.parse().ok())
        .unwrap_or_default()
}

/// A request for the n-th message: a template, since a text needs a window.
pub(crate) fn order(n: usize, keyed: bool) -> Vec<u8> {
    let body = json!({
        "agent_id": AGENT, "from": "+15550783881", "to": format!("+1650{:07}", n % 10_000_000),
        "template": {"name": "hello_world", "language": "en_US"},
    })
    .to_string();
    let key = match keyed {
        true => format!("idempotency-key: figure-{n}\r\n"),
        false => String::new(),
    };
    format!(
        "POST /v1/whatsapp/templates HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n{key}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        token("full"),
        body.len()
    )
    .into_bytes()
}

/// How often a second so many clients are answered as they expect; each makes its requests
/// from a number of its own.
pub(crate) async fn drive<F>(address: SocketAddr, clients: usize, status: u16, make: F) -> f64
where
    F: Fn(usize) -> Vec<u8> + Clone + Send + 'static,
{
    let began = Instant::now();
    let mut driven = JoinSet::new();
    for client in 0..clients {
        let make = make.clone();
        driven.spawn(async move {
            let mut wire = Wire::connect(address).await;
            let mut answered = 0;
            while began.elapsed() < WINDOW {
                wire.send(&make(client + clients * answered)).await;
                let harness::Answer::Reply(reply) = wire.answer(false).await else {
                    panic!("the connection broke off");
                };
                assert_eq!(reply.status, status, "{}", reply.text());
                answered += 1;
            }
            answered
        });
    }
    let answered: usize = driven.join_all().await.into_iter().sum();
    answered as f64 / began.elapsed().as_secs_f64()
}

pub(crate) fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

pub(crate) fn ratio(ours: f64, floor: f64) -> f64 {
    ours / floor
}

/// As many as the figures are about.
pub(crate) const CLIENTS: usize = 64;

/// How long one measurement takes.
pub(crate) const WINDOW: Duration = Duration::from_secs(3);

/// No limits, and statuses that come late: they are not what is measured.
const WORLD: &str = r#"
[settings]
limits = false
sent_ms = 60000
delivered_ms = 60000
read_ms = 60000

[[app]]
id = "1001"
secrets = ["demo-app-secret"]
verify_token = "demo-verify-token"

[[waba]]
id = "102290129340398"
apps = ["1001"]

[[number]]
id = "106540352242922"
waba = "102290129340398"
display = "15550783881"
country_code = "1"

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
