//! redis-server processes, alone and as a Cluster.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{Process, free_port, run, wait_until};

/// A redis-server that ends with this, and keeps nothing on disk unless it is told to.
///
/// It is the one on the path, or what the variable `REDIS_SERVER` names: so the same tests
/// run at another release.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    port: u16,
    folder: TempDir,
    binary: String,
    arguments: Vec<String>,
}

/// A Redis Cluster of such servers.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

// === impl RedisServer ===

impl RedisServer {
    /// Stands for a port that nobody has, such as that of TLS.
    pub const FREE_PORT: &str = "FREE-PORT";

    /// Starts one with these arguments, and waits until it answers. An argument that is
    /// [`FREE_PORT`](Self::FREE_PORT) becomes one.
    ///
    /// # Panics
    ///
    /// Where there is no redis-server, or it does not start.
    pub fn start(arguments: &[&str]) -> Self {
        let binary = env::var("REDIS_SERVER");
        Self::start_binary(binary.as_deref().unwrap_or("redis-server"), arguments)
    }

    /// The same with another program, such as another release.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn start_binary(path: &str, arguments: &[&str]) -> Self {
        // Another process may take a free port before the server does: it tries again.
        (0..5)
            .find_map(|_| Self::try_start(path, arguments))
            .unwrap_or_else(|| panic!("\"{path}\" starts on none of five free ports"))
    }

    fn try_start(path: &str, arguments: &[&str]) -> Option<Self> {
        let arguments: Vec<_> = { arguments.iter() }
            .map(|argument| match *argument {
                Self::FREE_PORT => free_port().to_string(),
                argument => argument.to_owned(),
            })
            .collect();
        let folder = tempfile::tempdir().expect("a folder can be made");
        let port = free_port();
        let mut server = Self {
            process: spawn(path, port, folder.path(), &arguments),
            port,
            folder,
            binary: path.to_owned(),
            arguments,
        };
        server.is_up().then_some(server)
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn socket(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What follows this one among the arguments it was started with.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let place = self
            .arguments
            .iter()
            .position(|argument| argument == name)?;
        self.arguments.get(place + 1).map(String::as_str)
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The folder it works in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it where it stands: its connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// Ends it at once, without a chance to save anything.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, on the same port and in the same folder, and waits until it answers.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.binary, self.port, self.folder.path(), &self.arguments);
        assert!(self.is_up(), "{} does not start again", self.address());
    }

    /// What redis-cli prints where it is given these words.
    ///
    /// # Panics
    ///
    /// Where it fails, which an error reply does not make it do.
    pub fn cli(&self, words: &[&str]) -> String {
        let port = self.port.to_string();
        run("redis-cli", ["-p", &port].iter().chain(words))
    }

    /// Whether it has got up; not by connecting, as another process may listen there by now.
    fn is_up(&mut self) -> bool {
        let log = self.folder.path().join("log");
        let mut is_up = false;
        wait_until("redis-server starts or ends", || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            is_up = said.contains("Ready to accept connections");
            is_up || !self.process.is_running()
        });
        is_up
    }
}

// === impl RedisCluster ===

impl RedisCluster {
    /// Starts one of so many masters, each with so many replicas, and waits until every
    /// node says that all is well. A node that is silent for a second is failed over.
    ///
    /// # Panics
    ///
    /// Where there is no redis-server or redis-cli, or they make no Cluster.
    pub fn start(masters: usize, replicas_per_master: usize) -> Self {
        Self::start_with(masters, replicas_per_master, &[])
    }

    /// The same with more arguments for each server.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    pub fn start_with(masters: usize, replicas_per_master: usize, more: &[&str]) -> Self {
        let binary = env::var("REDIS_SERVER");
        let binary = binary.as_deref().unwrap_or("redis-server");
        let arguments = [&CLUSTER[..], more].concat();
        let count = masters * (1 + replicas_per_master);
        let nodes: Vec<_> = (0..count)
            .map(|_| RedisServer::start_binary(binary, &arguments))
            .collect();
        // Nodes that speak TLS with each other meet at the ports where they do.
        let is_encrypted = more.contains(&"--tls-cluster");
        let places = nodes.iter().map(|node| {
            let plain = node.port.to_string();
            let encrypted = node.argument("--tls-port").filter(|_| is_encrypted);
            let port = encrypted.unwrap_or(&plain);
            let bus = node.argument("--cluster-port").unwrap_or_default();
            format!("127.0.0.1:{port}@{bus}")
        });
        let tls = ["--tls", "--insecure"].map(String::from);
        let tls = tls.into_iter().filter(|_| is_encrypted);
        let replicas = replicas_per_master.to_string();
        let create = ["--cluster", "create"].map(String::from).into_iter();
        let how = ["--cluster-replicas", &replicas, "--cluster-yes"].map(String::from);
        run("redis-cli", tls.chain(create).chain(places).chain(how));
        let cluster = Self { nodes };
        cluster.wait_until_ok();
        cluster
    }

    /// `redis+cluster://` and where all nodes listen.
    pub fn address(&self) -> String {
        let places: Vec<_> = self
            .nodes
            .iter()
            .map(|node| node.socket().to_string())
            .collect();
        format!("redis+cluster://{}", places.join(","))
    }

    /// All nodes, in the order in which they were started.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// All nodes, to be broken.
    pub fn nodes_mut(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Which node is the master of this key, as the node at this place knows it; none
    /// while the one that was has failed.
    ///
    /// # Panics
    ///
    /// Where the node that is asked does not answer.
    pub fn master_of(&self, key: &str, asked: usize) -> Option<usize> {
        let asked = &self.nodes[asked];
        let slot = asked.cli(&["CLUSTER", "KEYSLOT", key]).parse();
        let slot: u16 = slot.expect("a slot is a number");
        let known = asked.cli(&["CLUSTER", "NODES"]);
        let owner = known.lines().find(|line| {
            let is_well = line.contains("master") && !line.contains("fail");
            is_well && line.split(' ').skip(8).any(|range| holds(range, slot))
        })?;
        let is_owner = |node: &RedisServer| owner.contains(&format!("{}@", node.socket()));
        self.nodes.iter().position(is_owner)
    }

    /// Waits until every node knows all others, all slots are served, and every replica
    /// follows its master. redis-cli calls a cluster created about a second before.
    ///
    /// # Panics
    ///
    /// Where that is not so after twenty seconds.
    pub fn wait_until_ok(&self) {
        for node in &self.nodes {
            let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
            wait_until("a node of the cluster says that it is well", || {
                let info = node.cli(&["CLUSTER", "INFO"]);
                let is_ok = info.contains("cluster_state:ok") && info.contains(&known);
                let others = node.cli(&["CLUSTER", "NODES"]);
                let replication = node.cli(&["INFO", "replication"]);
                is_ok && !others.contains("fail") && !replication.contains("link_status:down")
            });
        }
    }
}

/// Whether slots, `FROM-TO` or a single one, hold this one.
fn holds(slots: &str, slot: u16) -> bool {
    let (from, to) = slots.split_once('-').unwrap_or((slots, slots));
    matches!((from.parse(), to.parse()), (Ok(from), Ok(to)) if (from..=to).contains(&slot))
}

/// A direct child, so that its end is seen.
fn spawn(binary: &str, port: u16, folder: &Path, arguments: &[String]) -> Process {
    let mut command = Command::new(binary);
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no"])
        .args(["--maxmemory-policy", "noeviction"])
        .args(["--repl-diskless-sync-delay", "0"])
        .args(arguments)
        .current_dir(folder);
    Process::spawn(&mut command, &folder.join("log"))
}

const CLUSTER: [&str; 6] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1000",
    // By default it is the other one plus 10,000, which may be no port at all.
    "--cluster-port",
    RedisServer::FREE_PORT,
];
