//! Sidecars as they run in production: processes of the binary, over a file each, before one
//! origin.

use std::fs;
use std::io::BufReader;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::draft::Draft;
use crate::mounting::{ROUTES, SECRET};
use crate::origin::Origin;
use crate::process::{Process, binary};
use crate::reply::Reply;
use crate::serving::Serving;
use crate::setup::Setup;
use crate::wire::Wire;

/// An origin, and a folder with a configuration of the sidecars before it: the keys and the
/// routes of [`Setup`].
#[derive(Debug)]
pub struct Pod {
    /// What is behind the sidecars.
    pub origin: Origin,
    serving: Serving,
    folder: TempDir,
}

/// A process of the binary, which is killed when the test is over.
#[derive(Debug)]
pub struct Edge {
    /// Where it listens.
    pub address: SocketAddr,
    admin: SocketAddr,
    process: Process,
}

// === impl Pod ===

impl Pod {
    /// A pod whose configuration has these lines at its top.
    ///
    /// # Panics
    ///
    /// Where its files cannot be written.
    pub async fn new(top: &str) -> Self {
        let pod = Self::with(top, "keys.json").await;
        Setup::new().write_keys(&pod.path("keys.json"));
        pod
    }

    /// A pod that keeps everything in the store at this address, key records too; there are
    /// none yet.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new).
    pub async fn stored(address: &str) -> Self {
        Self::with(&format!("store = \"{address}\""), "store").await
    }

    async fn with(top: &str, keys: &str) -> Self {
        let origin = Origin::default();
        let pod = Self {
            serving: Serving::start(origin.clone()).await,
            origin,
            folder: TempDir::new().expect("the system has a temporary folder"),
        };
        let upstream = pod.serving.address;
        let secret = std::str::from_utf8(SECRET).expect("it is ASCII");
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\n{top}\n\
             threads = 1\n[drain]\nlag = \"0s\"\n[identity]\nsecret = \"{secret}\"\n\
             [keys]\nsource = \"{keys}\"\nbrand = \"mk\"\n{ROUTES}"
        );
        fs::write(pod.config(), text).expect("the folder is ours");
        pod
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path of the configuration.
    pub fn config(&self) -> PathBuf {
        self.path("vestibule.toml")
    }

    /// The command that starts a sidecar.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("vestibule"));
        command.arg("serve").arg("--config").arg(self.config());
        // What is named relative to the working folder would be seen not to be there.
        command.current_dir(Path::new("/")).env("RUST_LOG", "off");
        command
    }

    /// Starts a sidecar, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub async fn start(&self) -> Edge {
        self.started(self.command()).await
    }

    /// Starts a sidecar that takes the sockets over from the one that runs, and waits until
    /// either of them is ready.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn upgrade(&self) -> Edge {
        let mut command = self.command();
        command.arg("--upgrade");
        self.started(command).await
    }

    /// From now on a sidecar lags for so long before it drains, instead of not at all.
    ///
    /// # Panics
    ///
    /// Where the configuration cannot be written.
    pub fn lags(&self, lag: &str) {
        let text = fs::read_to_string(self.config()).expect("it was written");
        let text = text.replace("lag = \"0s\"", &format!("lag = \"{lag}\""));
        fs::write(self.config(), text).expect("the folder is ours");
    }

    /// Starts a sidecar with this command, and gives what it writes to its standard output.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub async fn start_talking(&self, mut command: Command) -> (Edge, BufReader<ChildStdout>) {
        let (process, line, output) = Process::talking(&mut command);
        (ready(process, &line).await, output)
    }

    async fn started(&self, mut command: Command) -> Edge {
        let (process, line) = Process::announced(command.stderr(Stdio::inherit()));
        ready(process, &line).await
    }
}

// === impl Edge ===

impl Edge {
    /// Sends a request on a connection of its own and reads the response.
    pub async fn send(&self, draft: &Draft) -> Reply {
        self.wire().await.exchange(draft).await
    }

    /// A connection.
    pub async fn wire(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// A figure that it shows.
    ///
    /// # Panics
    ///
    /// Where it does not show it.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{name} is not shown: {text}"))
    }

    /// Everything that it shows, as text.
    pub async fn metrics(&self) -> String {
        let mut wire = Wire::connect(self.admin).await;
        wire.exchange(&Draft::get("/metrics")).await.text()
    }

    /// Where it tells of its health.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// How long it has run on processors.
    pub fn busy(&self) -> Duration {
        self.process.busy()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Ends it by a signal, `TERM` or `KILL`, and waits until it has ended.
    ///
    /// # Panics
    ///
    /// Where it does not end.
    pub async fn end(self, signal: &str) -> ExitStatus {
        self.signal(signal);
        self.ended().await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    ///
    /// Where it does not.
    pub async fn ended(self) -> ExitStatus {
        let mut process = self.process;
        // The origin, which it may wait for, runs on this very thread.
        let ended = tokio::task::spawn_blocking(move || process.ended(PATIENCE));
        ended.await.expect("the process ends")
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let mut wire = Wire::connect(admin).await;
    wire.exchange(&Draft::get("/readyz")).await.status == 200
}

/// Waits until a process is ready that has said where it listens.
async fn ready(process: Process, line: &str) -> Edge {
    let said: Value = serde_json::from_str(line).expect("it says where it listens");
    let address = |name: &str| -> SocketAddr {
        let address = said[name].as_str().and_then(|text| text.parse().ok());
        address.expect("it listens on the loopback")
    };
    let edge = Edge {
        address: address("listening"),
        admin: address("admin"),
        process,
    };
    let ready = async {
        while !is_ready(edge.admin).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, ready).await;
    waited.expect("a sidecar is ready soon");
    edge
}
