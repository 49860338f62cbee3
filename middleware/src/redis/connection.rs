//! The way to a server or a Cluster: opened once, checked, and kept.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind};

use super::address::{Address, Confirmed};
use super::cluster::Cluster;
use super::fault::store_error;
use super::node::{Message, Node, Reply};
use super::script::Step;
use crate::error::StoreError;

/// A server that cannot be a store.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ConnectError {
    fault: String,
    source: Option<RedisError>,
}

/// The way to servers that know the scripts.
#[derive(Clone)]
pub(super) struct Connection {
    servers: Servers,
    /// The digests by which they know them, in the order of [`Step::ALL`].
    digests: Arc<[String]>,
}

#[derive(Clone)]
enum Servers {
    One(Arc<Node>),
    Cluster(Cluster),
}

// === impl ConnectError ===

impl ConnectError {
    pub(super) fn new(fault: impl Into<String>) -> Self {
        Self {
            fault: fault.into(),
            source: None,
        }
    }

    pub(super) fn because(fault: &str, source: RedisError) -> Self {
        Self {
            fault: format!("{fault}: {source}"),
            source: Some(source),
        }
    }
}

// === impl Connection ===

impl Connection {
    pub(super) async fn open(address: &Address, may_evict: bool) -> Result<Self, ConnectError> {
        let unreached = |cause| ConnectError::because("it cannot be reached", cause);
        let servers = if address.is_cluster {
            let cluster = Cluster::open(&address.servers).await;
            Servers::Cluster(cluster.map_err(unreached)?)
        } else {
            let node = Node::new(address.servers[0].clone()).map_err(unreached)?;
            let mut ping = Cmd::new();
            ping.arg("PING");
            node.ask(ping).await.map_err(unreached)?;
            Servers::One(Arc::new(node))
        };
        let mut digests = Arc::default();
        for node in servers.masters() {
            check(&node, address.is_cluster, may_evict).await?;
            let loaded = load(&node).await;
            digests =
                loaded.map_err(|cause| ConnectError::because("it takes no scripts", cause))?;
        }
        Ok(Self { servers, digests })
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.servers, Servers::Cluster(_))
    }

    /// Takes one step.
    pub(super) async fn run(
        &self,
        step: Step,
        keys: &[Bytes],
        args: &[Bytes],
        confirmed: Option<Confirmed>,
    ) -> Result<Reply, StoreError> {
        let message = |name: &str, script: &[u8]| {
            let mut command = Cmd::new();
            command.arg(name).arg(script).arg(keys.len());
            for part in keys.iter().chain(args) {
                command.arg(&part[..]);
            }
            Message {
                confirmed,
                ..Message::from(command)
            }
        };
        let digest = self.digests[step as usize].as_bytes();
        let reply = match self
            .servers
            .send(&keys[0], message("EVALSHA", digest))
            .await
        {
            // It was started anew or another one has taken over; it has done nothing yet.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let text = step.text().as_bytes();
                self.servers.send(&keys[0], message("EVAL", text)).await
            }
            reply => reply,
        };
        reply.map_err(store_error)
    }

    /// Sends one command to the server that has this key.
    pub(super) async fn ask(&self, key: &[u8], command: &Cmd) -> RedisResult<redis::Value> {
        let message = Message::from(command.clone());
        Ok(self.servers.send(key, message).await?.value)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is in it would show the address, and with it a password.
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

// === impl Servers ===

impl Servers {
    fn masters(&self) -> Vec<Arc<Node>> {
        match self {
            Self::One(node) => vec![Arc::clone(node)],
            Self::Cluster(cluster) => cluster.masters(),
        }
    }

    async fn send(&self, key: &[u8], message: Message) -> RedisResult<Reply> {
        match self {
            Self::One(node) => node.send(&message).await,
            Self::Cluster(cluster) => cluster.send(key, message).await,
        }
    }
}

async fn check(node: &Node, is_cluster: bool, may_evict: bool) -> Result<(), ConnectError> {
    let unknown = |cause| ConnectError::because("it does not tell what it is (INFO)", cause);
    let version = info(node, "server", "redis_version")
        .await
        .map_err(unknown)?;
    let major = version.split('.').next();
    let major = major.and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < 7) {
        let fault = format!("it is Redis \"{version}\", and must be 7.0 or newer");
        return Err(ConnectError::new(fault));
    }
    let mode = info(node, "server", "redis_mode").await.map_err(unknown)?;
    if mode == "cluster" && !is_cluster {
        let fault = "it is a node of a Cluster, whose address begins with \"redis+cluster://\"";
        return Err(ConnectError::new(fault));
    }
    let role = info(node, "replication", "role").await.map_err(unknown)?;
    if role == "slave" {
        return Err(ConnectError::new("it is a replica, and must be a master"));
    }
    let policy = info(node, "memory", "maxmemory_policy")
        .await
        .map_err(unknown)?;
    if policy != "noeviction" && !may_evict {
        let fault = format!(
            "its maxmemory-policy is \"{policy}\", which may drop the record of a request and have it \
             executed a second time; it must be \"noeviction\""
        );
        return Err(ConnectError::new(fault));
    }
    Ok(())
}

/// A line of INFO; empty where there is none. Unlike CONFIG, services that run Redis for
/// others leave it open.
async fn info(node: &Node, section: &str, name: &str) -> RedisResult<String> {
    let mut command = Cmd::new();
    command.arg("INFO").arg(section);
    let text: String = redis::from_redis_value(node.ask(command).await?)?;
    let mut values = text.lines().filter_map(|line| line.split_once(':'));
    let found = values.find(|(key, _)| *key == name);
    Ok(found.map_or_else(String::new, |(_, value)| value.trim().to_owned()))
}

/// Has the server read all scripts, so that the first request need not wait for it, and
/// a server that is full later has them already.
async fn load(node: &Node) -> RedisResult<Arc<[String]>> {
    let mut digests = Vec::with_capacity(Step::ALL.len());
    for step in Step::ALL {
        let mut command = Cmd::new();
        command.arg("SCRIPT").arg("LOAD").arg(step.text());
        digests.push(redis::from_redis_value(node.ask(command).await?)?);
    }
    Ok(digests.into())
}
