//! A server that is really lost, in one of the ways in which servers are.

use std::net::SocketAddr;

use harness::{Flow, Link};
use vestibule::api_key::{Cached, KeyStore};
use vestibule::clock::SharedClock;
use vestibule::stack::Admission;
use vestibule::testing::server::{PostgresServer, RedisServer, wait_until};
use vestibule::{Pair, memory, postgres, redis};

/// A server in which a store of ours lies.
pub(super) trait Server: Sized {
    type Store: Admission;
    type Keys: KeyStore;

    /// Starts one that has on disk what it has acknowledged.
    fn start() -> Self;
    /// Has nothing in it any more that an earlier test wrote.
    fn begin_anew(&mut self);
    /// Where it listens.
    fn socket(&self) -> SocketAddr;
    /// Its first process.
    fn pid(&self) -> u32;
    fn freeze(&self);
    fn thaw(&self);
    fn kill(&mut self);
    fn restart(&mut self);
    /// The store in it, reached at this address, and the key records.
    async fn open(&self, at: SocketAddr, clock: SharedClock) -> (Self::Store, Cached<Self::Keys>);
}

/// A PostgreSQL, and the database in it that is in use. Its counters lie in memory.
pub(super) struct Postgres {
    server: PostgresServer,
    database: String,
}

/// How a server is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// It stands still, and its connections stay open.
    Frozen,
    /// It is gone, and nobody listens there.
    Killed,
    /// Nothing arrives any more, on either side.
    CutOff,
    /// What it is sent arrives, and no answer comes back.
    Unheard,
}

/// A server, and the way in which it is lost.
pub(super) struct Lossy<S> {
    pub(super) server: S,
    loss: Loss,
    link: Link,
}

// === impl Server ===

impl Server for RedisServer {
    type Store = redis::Store;
    type Keys = redis::Keyring;

    fn start() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    fn begin_anew(&mut self) {
        self.cli(&["FLUSHALL"]);
    }

    fn socket(&self) -> SocketAddr {
        Self::socket(self)
    }

    fn pid(&self) -> u32 {
        Self::pid(self)
    }

    fn freeze(&self) {
        Self::freeze(self);
    }

    fn thaw(&self) {
        Self::thaw(self);
    }

    fn kill(&mut self) {
        Self::kill(self);
    }

    fn restart(&mut self) {
        Self::restart(self);
    }

    async fn open(&self, at: SocketAddr, clock: SharedClock) -> (Self::Store, Cached<Self::Keys>) {
        let store = redis::Store::open(&format!("redis://{at}")).await.unwrap();
        let keys = Cached::new(store.keyring(), clock).counted();
        (store, keys)
    }
}

// === impl Postgres ===

impl Server for Postgres {
    type Store = Pair<memory::Store, postgres::Store>;
    type Keys = postgres::Keyring;

    fn start() -> Self {
        let server = PostgresServer::start();
        let database = server.database();
        Self { server, database }
    }

    fn begin_anew(&mut self) {
        self.database = self.server.database();
    }

    fn socket(&self) -> SocketAddr {
        self.server.socket()
    }

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn freeze(&self) {
        self.server.freeze();
    }

    fn thaw(&self) {
        self.server.thaw();
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    fn restart(&mut self) {
        self.server.restart();
    }

    async fn open(&self, at: SocketAddr, clock: SharedClock) -> (Self::Store, Cached<Self::Keys>) {
        let direct = self.server.socket().to_string();
        let address = self.database.replace(&direct, &at.to_string());
        let records = postgres::Store::open(&address).await.unwrap();
        let keys = Cached::new(records.keyring(), clock.clone());
        (Pair::new(memory::Store::new(clock), records), keys)
    }
}

// === impl Loss ===

impl Loss {
    pub(super) const ALL: [Self; 4] = [Self::Frozen, Self::Killed, Self::CutOff, Self::Unheard];
}

// === impl Lossy ===

impl<S: Server> Lossy<S> {
    pub(super) async fn over(server: S, loss: Loss) -> Self {
        let link = Link::to(server.socket()).await;
        Self { server, loss, link }
    }

    /// Where whoever is to lose it reaches it. Only what a link can break goes over one: a
    /// link to a dead server is not refused as the server itself would refuse.
    pub(super) fn address(&self) -> SocketAddr {
        match self.loss {
            Loss::Frozen | Loss::Killed => self.server.socket(),
            Loss::CutOff | Loss::Unheard => self.link.address,
        }
    }

    /// The server, to be used again.
    pub(super) fn into_server(self) -> S {
        self.server
    }

    pub(super) fn lose(&mut self) {
        match self.loss {
            Loss::Frozen => {
                self.server.freeze();
                wait_until("it stands still", || is_stopped(self.server.pid()));
            }
            Loss::Killed => self.server.kill(),
            Loss::CutOff => self.link.set(Flow::Nothing),
            Loss::Unheard => self.link.set(Flow::NoAnswers),
        }
    }

    pub(super) fn find_again(&mut self) {
        match self.loss {
            Loss::Frozen => self.server.thaw(),
            Loss::Killed => self.server.restart(),
            Loss::CutOff | Loss::Unheard => self.link.set(Flow::Whole),
        }
    }
}

fn is_stopped(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let state = status.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
    state == Some("T")
}
