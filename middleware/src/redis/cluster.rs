//! The nodes of a Cluster, and which of them has a key.
//!
//! The library's own client for a Cluster is not used. While it learns who has what it
//! answers nothing at all and waits for nodes that are gone, so that one of them takes all
//! the others along; and where it repeats a step, it does so after a broken connection too.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{
    Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult, ServerErrorKind,
};
use tokio::runtime::Handle;

use super::node::{Message, Node, Reply};
use super::slots::{Place, Range, shards, slot};

/// The nodes of a Cluster. Clones share them.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Inner>);

struct Inner {
    /// How each of them is spoken to, but for its place.
    template: ConnectionInfo,
    named: Vec<Place>,
    /// Those that were named, and those that they told of.
    nodes: Mutex<HashMap<Place, Arc<Node>>>,
    owners: ArcSwap<Vec<(Range, Arc<Node>)>>,
    is_learning: AtomicBool,
    /// Whom to ask next: one that tells nothing, or what is long over, is not asked twice.
    next: AtomicUsize,
}

// === impl Cluster ===

impl Cluster {
    /// Of the nodes that are named, at least one has to tell of the others.
    pub(super) async fn open(named: &[ConnectionInfo]) -> RedisResult<Self> {
        let no_name = || RedisError::from((ErrorKind::InvalidClientConfig, "no node is named"));
        let inner = Inner {
            template: named.first().ok_or_else(no_name)?.clone(),
            named: named.iter().map(|info| place(info.addr())).collect(),
            nodes: Mutex::default(),
            owners: ArcSwap::default(),
            is_learning: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        };
        for named in &inner.named {
            inner.node(named)?;
        }
        inner.learn().await?;
        Ok(Self(Arc::new(inner)))
    }

    /// The nodes that have keys.
    pub(super) fn masters(&self) -> Vec<Arc<Node>> {
        let owners = self.0.owners.load();
        let mut masters: Vec<Arc<Node>> = Vec::new();
        for (_, node) in owners.iter() {
            if !masters.iter().any(|known| Arc::ptr_eq(known, node)) {
                masters.push(Arc::clone(node));
            }
        }
        masters
    }

    /// Sends this to the node that has the key. One that only tells which other has it has
    /// done nothing, and that one is sent it then.
    pub(super) async fn send(&self, key: &[u8], mut message: Message) -> RedisResult<Reply> {
        // Where its user gives up, the node may be gone for good.
        let mut doubt = Doubt(self, true);
        let mut node = self.0.owner(key)?;
        for _ in 0..REDIRECTS {
            let reply = node.send(&message).await;
            let Err(fault) = &reply else {
                doubt.1 = false;
                return reply;
            };
            let Some(place) = redirect(fault, &node) else {
                return reply;
            };
            message.is_asking = fault.kind() == ErrorKind::Server(ServerErrorKind::Ask);
            if !message.is_asking {
                self.learn();
            }
            node = self.0.node(&place)?;
        }
        node.send(&message).await
    }

    /// Finds out in the background who has what, unless that is being done.
    fn learn(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if self.0.is_learning.swap(true, Ordering::AcqRel) {
            return;
        }
        let inner = Arc::clone(&self.0);
        runtime.spawn(async move {
            // Who has failed is asked for again by the next step that needs it.
            let _learnt = inner.learn().await;
            tokio::time::sleep(LEARNT_FOR).await;
            inner.is_learning.store(false, Ordering::Release);
        });
    }
}

// === impl Inner ===

impl Inner {
    fn owner(&self, key: &[u8]) -> RedisResult<Arc<Node>> {
        let owners = self.owners.load();
        let slot = slot(key);
        let owner = owners.iter().find(|(range, _)| range.contains(&slot));
        let unserved = || {
            RedisError::from((
                ErrorKind::Server(ServerErrorKind::ClusterDown),
                "no node has the slot",
            ))
        };
        owner.map(|(_, node)| Arc::clone(node)).ok_or_else(unserved)
    }

    fn node(&self, place: &Place) -> RedisResult<Arc<Node>> {
        let mut nodes = self.nodes();
        if let Some(node) = nodes.get(place) {
            return Ok(Arc::clone(node));
        }
        let (host, port) = place.clone();
        let address = match self.template.addr() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        let node = Arc::new(Node::new(self.template.clone().set_addr(address))?);
        nodes.insert(place.clone(), Arc::clone(&node));
        Ok(node)
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<Place, Arc<Node>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one node after the other until one has told.
    async fn learn(&self) -> RedisResult<()> {
        let mut known: Vec<_> = self.nodes().values().cloned().collect();
        let first = self.next.fetch_add(1, Ordering::Relaxed) % known.len();
        known.rotate_left(first);
        let mut fault = RedisError::from((ErrorKind::Io, "no node answered in time"));
        for node in known {
            match tokio::time::timeout(TOLD, self.learn_from(&node)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(cause)) => fault = cause,
                Err(_) => {}
            }
        }
        Err(fault)
    }

    async fn learn_from(&self, node: &Node) -> RedisResult<()> {
        let mut command = Cmd::new();
        command.arg("CLUSTER").arg("SLOTS");
        let told = node.ask(command).await?;
        let told = shards(&told, &place(node.info().addr()).0).filter(|told| !told.is_empty());
        let told =
            told.ok_or_else(|| RedisError::from((ErrorKind::Client, "it serves no slots")))?;
        let places: HashSet<&Place> = told.iter().flat_map(|shard| &shard.places).collect();
        for place in &places {
            self.node(place)?;
        }
        let owners = told.iter().map(|shard| {
            let master = self.node(&shard.places[0])?;
            Ok((shard.slots.clone(), master))
        });
        self.owners
            .store(Arc::new(owners.collect::<RedisResult<_>>()?));
        let is_ours = |place: &Place| places.contains(place) || self.named.contains(place);
        self.nodes().retain(|place, _| is_ours(place));
        Ok(())
    }
}

/// Lets the nodes be asked again, unless a step has been answered.
struct Doubt<'a>(&'a Cluster, bool);

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if self.1 {
            self.0.learn();
        }
    }
}

/// Where this fault says that the key is; a place without a host has the host of who said so.
fn redirect(fault: &RedisError, node: &Node) -> Option<Place> {
    let (place, _slot) = fault.redirect_node()?;
    let (host, port) = place.rsplit_once(':')?;
    let port = port.parse().ok()?;
    if host.is_empty() {
        return Some((self::place(node.info().addr()).0, port));
    }
    Some((host.to_owned(), port))
}

fn place(address: &ConnectionAddr) -> Place {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            (host.clone(), *port)
        }
        _ => (String::new(), 0),
    }
}

/// Two while nodes do not agree yet on who has taken over.
const REDIRECTS: usize = 2;

/// What a node has for telling of the others. A step goes on with what is known meanwhile.
const TOLD: Duration = Duration::from_millis(250);

/// How long what was learnt is not asked for again.
const LEARNT_FOR: Duration = Duration::from_millis(100);
