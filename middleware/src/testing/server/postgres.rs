//! A private PostgreSQL cluster: made, started, broken and removed by a test.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use super::{Process, free_port, run, wait_until};

/// A PostgreSQL of its own that ends with this: on a free port of 127.0.0.1, with nobody
/// asked for a password, and with `fsync` on.
///
/// The postmaster is a direct child of the test. A test that runs as root runs it as the
/// user `postgres`, because it refuses to be root.
#[derive(Debug)]
pub struct PostgresServer {
    process: Process,
    port: u16,
    folder: TempDir,
    binaries: PathBuf,
    databases: AtomicU32,
}

// === impl PostgresServer ===

impl PostgresServer {
    /// Makes a cluster, starts it, and waits until it answers.
    ///
    /// # Panics
    ///
    /// Where there is no PostgreSQL, or it does not start.
    pub fn start() -> Self {
        let binaries = binaries();
        let folder = tempfile::tempdir().expect("a folder can be made");
        if let Some((user, group)) = other_user() {
            chown(folder.path(), Some(user), Some(group)).expect("root gives folders away");
        }
        let mut initdb = command(&binaries.join("initdb"), folder.path());
        initdb.args(["-D", "data", "-U", "postgres", "-A", "trust"]);
        initdb.args(["--no-sync", "--no-locale", "-E", "UTF8"]);
        let made = initdb.output().expect("initdb is beside postgres");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {said}");
        (0..5)
            .find_map(|_| Self::try_start(&binaries, &folder))
            .map(|(process, port)| Self {
                process,
                port,
                folder,
                binaries,
                databases: AtomicU32::new(0),
            })
            .expect("postgres starts on one of five free ports")
    }

    /// One that all who hold it share: the first one starts it, and it ends with the last.
    ///
    /// # Panics
    ///
    /// Where [`start`](Self::start) does.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<PostgresServer>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn address(&self) -> String {
        self.address_of("postgres")
    }

    /// Makes a database that nobody else has, and gives its address.
    ///
    /// # Panics
    ///
    /// Where it cannot be made.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("case{number}");
        self.sql(&format!("CREATE DATABASE {name}"));
        self.address_of(&name)
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The number of the postmaster's process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What psql prints for a statement: one row a line, its columns parted by `|`.
    ///
    /// # Panics
    ///
    /// Where the statement fails.
    pub fn sql(&self, statement: &str) -> String {
        let psql = self.binaries.join("psql");
        let address = self.address();
        let psql = if psql.exists() { psql } else { "psql".into() };
        let psql = psql.display().to_string();
        run(&psql, ["-X", "-A", "-t", "-q", "-c", statement, &address])
    }

    /// Stops it where it stands, with all its sessions: connections stay open, and
    /// nothing is answered.
    pub fn freeze(&self) {
        self.process.freeze();
        self.signal_sessions("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal_sessions("CONT");
        self.process.thaw();
    }

    /// Ends it and its sessions at once, as a machine would that loses its power but not
    /// its disk.
    pub fn kill(&mut self) {
        if !self.process.is_running() {
            return;
        }
        // Nobody starts another session any more.
        self.process.freeze();
        let sessions = self.sessions();
        self.process.kill();
        signal(&sessions, "KILL");
    }

    /// Starts it again, on the same port and with what it had written, and waits until it
    /// answers.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.kill();
        // What is left of its sessions may hold its memory for a moment.
        let started = (0..20).any(|_| {
            self.process = spawn(&self.binaries, self.port, self.folder.path());
            is_up(&mut self.process, self.folder.path())
        });
        assert!(started, "{} does not start again", self.address());
    }

    fn try_start(binaries: &Path, folder: &TempDir) -> Option<(Process, u16)> {
        let port = free_port();
        let mut process = spawn(binaries, port, folder.path());
        is_up(&mut process, folder.path()).then_some((process, port))
    }

    fn address_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    fn signal_sessions(&self, name: &str) {
        signal(&self.sessions(), name);
    }

    /// The processes that the postmaster has started: each is a group of its own.
    fn sessions(&self) -> Vec<String> {
        let pid = self.pid();
        let list = format!("/proc/{pid}/task/{pid}/children");
        let list = fs::read_to_string(list).unwrap_or_default();
        list.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One that is gone by now is passed over.
fn signal(processes: &[String], name: &str) {
    let script = "signal=$0; for pid; do kill -s $signal $pid 2>/dev/null || :; done";
    let arguments = ["-c", script, name].into_iter();
    run("sh", arguments.chain(processes.iter().map(String::as_str)));
}

fn spawn(binaries: &Path, port: u16, folder: &Path) -> Process {
    let mut postgres = command(&binaries.join("postgres"), folder);
    postgres.args(["-D", "data", "-p", &port.to_string()]);
    postgres.arg("-k").arg(folder);
    for setting in ["listen_addresses=127.0.0.1", "max_connections=200"] {
        postgres.args(["-c", setting]);
    }
    Process::spawn(&mut postgres, &folder.join("log"))
}

/// Whether it has got up; not by connecting, as another process may listen there by now.
fn is_up(process: &mut Process, folder: &Path) -> bool {
    let log = folder.join("log");
    let mut is_up = false;
    wait_until("postgres starts or ends", || {
        let said = fs::read_to_string(&log).unwrap_or_default();
        is_up = said.contains("database system is ready to accept connections");
        is_up || !process.is_running()
    });
    is_up
}

/// In a folder that the other user may be in, too.
fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Whom PostgreSQL runs as where this is root; nobody else otherwise.
fn other_user() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let said = run("id", arguments);
        said.parse().expect("id prints a number")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// The folder of the newest release: on the path, or where Debian's packages put it.
fn binaries() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut on_path = env::split_paths(&path);
    if let Some(folder) = on_path.find(|folder| folder.join("initdb").exists()) {
        return folder;
    }
    let releases = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut releases: Vec<(u32, PathBuf)> = releases
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let release = path.file_name()?.to_str()?.parse().ok()?;
            let binaries = path.join("bin");
            binaries
                .join("initdb")
                .exists()
                .then_some((release, binaries))
        })
        .collect();
    releases.sort();
    let (_, newest) = releases
        .pop()
        .expect("there is a PostgreSQL; see examples/prerequisites");
    newest
}
