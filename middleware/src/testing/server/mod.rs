//! Real servers for tests: started on a free port, broken as a machine would break them,
//! and ended with the test.
//!
//! # Example
//!
//! ```no_run
//! use vestibule::testing::server::RedisServer;
//!
//! let server = RedisServer::start(&["--maxmemory", "8mb"]);
//! server.freeze();
//! server.thaw();
//! assert_eq!(server.cli(&["PING"]), "PONG");
//! ```
//!
//! Every server is a direct child of the test: its end is seen at once, wherever the
//! test runs. What goes wrong here panics: a test has nobody to report it to.

mod postgres;
mod proxy;
mod redis;

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

pub use self::postgres::PostgresServer;
pub use self::proxy::{FaultProxy, Sickness};
pub use self::redis::{RedisCluster, RedisServer};

/// A process that ends with this.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

// === impl Process ===

impl Process {
    /// Starts it, with what it prints going to this file.
    ///
    /// # Panics
    ///
    /// Where it cannot be started, or the file not be written.
    pub fn spawn(command: &mut Command, log: &Path) -> Self {
        let out = File::create(log).expect("a log can be written");
        let err = out.try_clone().expect("a log can be written");
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().unwrap_or_else(|fault| {
            let program = command.get_program().display();
            panic!("\"{program}\" does not start: {fault}; see examples/prerequisites")
        });
        Self { child }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Stops it where it stands: its connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Ends it at once, so that it can save and say nothing, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }

    /// Sends it a signal, by its name without `SIG`.
    ///
    /// # Panics
    ///
    /// Where it is not there any more.
    pub fn signal(&self, name: &str) {
        // What the shell has built in needs no package.
        run("sh", ["-c", "kill -s $0 $1", name, &self.pid().to_string()]);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port of 127.0.0.1 that nobody has. It is given back before somebody listens there:
/// whoever starts a server on it tries again where another one was faster.
///
/// # Panics
///
/// Where there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// Asks every five milliseconds, and gives up after twenty seconds.
///
/// # Panics
///
/// Where it is not so by then.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..4000 {
        if is_so() {
            return;
        }
        sleep(Duration::from_millis(5));
    }
    panic!("after twenty seconds it is not so that {what}");
}

/// Runs a program to its end, and gives what it printed.
///
/// # Panics
///
/// Where it cannot be run, fails, or has not ended after thirty seconds.
pub fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let mut command = Command::new("timeout");
    command
        .args(["30", program])
        .args(arguments)
        .stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|fault| {
        panic!("\"{program}\" does not start: {fault}; see examples/prerequisites")
    });
    let said = String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned();
    let status = output.status;
    let fault = String::from_utf8_lossy(&output.stderr);
    assert!(status.success(), "{command:?}: {status}: {said} {fault}");
    said
}

// Only who builds a store in Redis needs a redis-server to test.
#[cfg(all(test, feature = "redis"))]
mod tests;
