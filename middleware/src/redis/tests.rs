//! The Redis store, held to the cases that every store must pass, at servers of its own.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Instant;

use http::{HeaderValue, StatusCode};
use tempfile::TempDir;

use super::*;
use crate::clock::Timestamp;
use crate::context::{CorrelationId, Fingerprint};
use crate::idempotency::{IdempotencyKey, KeptResponse};
use crate::testing::Subject;

crate::store_conformance!(conformance, || Redis::new().await);

/// A store under a prefix of its own, at the server that all cases share.
struct Redis {
    store: Store,
    _server: Arc<Server>,
}

/// A redis-server that ends with this.
struct Server {
    process: Child,
    port: u16,
    folder: TempDir,
}

// === impl Redis ===

impl Redis {
    async fn new() -> Self {
        static CASES: AtomicU64 = AtomicU64::new(0);
        let server = Server::shared();
        let case = CASES.fetch_add(1, Ordering::Relaxed);
        let store = server.open().await.prefix(&format!("case{case}"));
        Self {
            store,
            _server: server,
        }
    }

    fn moved(&self, by: i64) {
        self.store.offset.fetch_add(by, Ordering::AcqRel);
    }
}

impl Subject for Redis {
    type Store = Store;

    const DRIFT: Duration = Duration::from_millis(450);

    fn store(&self) -> Store {
        self.store.clone()
    }

    async fn small(&self) -> Store {
        let prefix = format!("{}small", self.store.prefix);
        let store = self.store.clone().prefix(&prefix);
        store.records(12).records_per_caller(3)
    }

    async fn now(&self) -> Timestamp {
        let mut command = redis::Cmd::new();
        let time = self.store.connection.ask(command.arg("TIME")).await;
        let (seconds, micros): (i64, i64) = redis::from_redis_value(time.unwrap()).unwrap();
        let micros = seconds * 1_000_000 + micros + self.store.offset();
        Timestamp::from_unix_millis(u64::try_from(micros / 1000).unwrap())
    }

    async fn advance(&self, by: Duration) {
        self.moved(micros(by));
    }

    async fn jump_ahead(&self, by: Duration) {
        self.moved(micros(by));
    }

    async fn jump_back(&self, by: Duration) {
        self.moved(-micros(by));
    }
}

// === impl Server ===

impl Server {
    /// The one that all cases share, for as long as one of them runs.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start(&[]));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// One of its own, with these arguments.
    fn start(arguments: &[&str]) -> Self {
        // Another process may take a free port before the server does: it tries again.
        (0..5)
            .find_map(|_| Self::try_start(arguments))
            .expect("a redis-server starts on one of five free ports within ten seconds")
    }

    fn try_start(arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--maxmemory-policy", "noeviction"])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need redis-server 7 or newer: install it (apt-get install redis-server)");
        let mut server = Self {
            process,
            port,
            folder: folder,
        };
        server.is_up().then_some(server)
    }

    fn is_up(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            // Not by connecting: another process may listen there by now.
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
            if log.contains("Ready to accept connections") {
                return true;
            }
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn open(&self) -> Store {
        Store::open(&self.address()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// A port that nobody has; it is given back before somebody listens there.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap()
}
