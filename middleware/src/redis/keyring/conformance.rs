//! The key records in Redis, held to the cases that every store of them must pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Store, tests::shared};
use super::Keyring;
use crate::testing::KeySubject;
use crate::testing::server::RedisServer;

crate::keystore_conformance!(conformance_keys, || Keys::new().await);

/// Key records under a prefix of their own.
struct Keys {
    keyring: Keyring,
    _server: Arc<RedisServer>,
}

// === impl Keys ===

impl Keys {
    async fn new() -> Self {
        static CASES: AtomicU64 = AtomicU64::new(0);
        let server = shared();
        let case = CASES.fetch_add(1, Ordering::Relaxed);
        let store = Store::open(&server.address()).await.unwrap();
        Self {
            keyring: store.prefix(&format!("keys{case}")).keyring(),
            _server: server,
        }
    }
}

impl KeySubject for Keys {
    type Store = Keyring;

    fn store(&self) -> Keyring {
        self.keyring.clone()
    }
}
