//! Two sidecars on one Redis, which keeps the key records too, before one origin.

use std::sync::Arc;

use vestibule::api_key::{KeyChange, KeyRecord, KeyRecordBuilder, KeyStore as _};
use vestibule::redis;
use vestibule::testing::server::RedisServer;

use crate::keys::record;
use crate::origin::Origin;
use crate::pod::{Edge, Pod};

/// Two processes that share a store, until they are dropped.
#[derive(Debug)]
pub struct Replicas {
    /// The processes.
    pub edges: [Edge; 2],
    /// What is behind both.
    pub origin: Origin,
    /// What both have in common.
    pub redis: RedisServer,
    keys: redis::Keyring,
    _pod: Pod,
}

// === impl Replicas ===

impl Replicas {
    /// Starts them.
    ///
    /// # Panics
    ///
    /// Where one of the servers does not start.
    pub async fn start() -> Self {
        let redis = RedisServer::start(&[]);
        let pod = Pod::stored(&redis.address()).await;
        let (one, two) = tokio::join!(pod.start(), pod.start());
        let store = redis::Store::open(&redis.address()).await;
        Self {
            edges: [one, two],
            origin: pod.origin.clone(),
            keys: store.expect("the server has started").keyring(),
            redis,
            _pod: pod,
        }
    }

    /// Hands out the key of this name, as [`Setup::key`](crate::Setup::key) does.
    ///
    /// # Panics
    ///
    /// Where there is one already.
    pub async fn create(
        &self,
        name: &str,
        describe: impl FnOnce(KeyRecordBuilder) -> KeyRecordBuilder,
    ) {
        let record = describe(record(name)).build();
        self.write(&[KeyChange::create(record)]).await;
    }

    /// Changes the key of this name.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub async fn change(
        &self,
        name: &str,
        describe: impl FnOnce(KeyRecordBuilder) -> KeyRecordBuilder,
    ) {
        let held = self.held(name).await;
        let record = describe(held.to_builder()).build();
        self.write(&[KeyChange::update(record, &held)]).await;
    }

    /// The record of the key of this name.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub async fn held(&self, name: &str) -> Arc<KeyRecord> {
        let held = self.keys.get(name).await.expect("the store is there");
        held.unwrap_or_else(|| panic!("there is no key named {name}"))
    }

    /// Writes changes, as a command does that manages keys.
    ///
    /// # Panics
    ///
    /// Where they cannot be written.
    pub async fn write(&self, changes: &[KeyChange]) {
        let written = self.keys.write(changes).await;
        written.expect("nobody else changes these records");
    }
}
