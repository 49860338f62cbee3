//! A redis-server of a test's own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;

/// A redis-server on a free port of 127.0.0.1, which ends with this.
#[derive(Debug)]
pub struct RedisServer {
    // Ended before the folder that it works in is gone.
    process: Process,
    port: u16,
    folder: TempDir,
}

// === impl RedisServer ===

impl RedisServer {
    /// Starts one with these arguments beside the usual ones, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// Where there is no redis-server, or it does not start.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        // Another process may take a free port before the server does: it tries again.
        (0..5)
            .find_map(|_| Self::try_start(arguments))
            .expect("a redis-server starts on one of five free ports")
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn try_start(arguments: &[&str]) -> Option<Self> {
        let folder = TempDir::new().expect("the system has a temporary folder");
        let log = File::create(folder.path().join("log")).expect("the folder is ours");
        let port = free_port();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(arguments)
            .current_dir(folder.path())
            .stdout(log)
            .stderr(Stdio::null());
        let mut server = Self {
            process: Process::start(&mut command),
            port,
            folder,
        };
        server.is_ready().then_some(server)
    }

    /// Not by connecting: another process may listen there by now.
    fn is_ready(&mut self) -> bool {
        for _ in 0..2000 {
            let log = fs::read_to_string(self.folder.path().join("log"));
            if log.is_ok_and(|log| log.contains("Ready to accept connections")) {
                return true;
            }
            if self.process.has_ended() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = listener.expect("the loopback has a free port");
    let address = listener.local_addr();
    address.expect("a listener has an address").port()
}
