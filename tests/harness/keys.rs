//! API keys that are known by a name, so that a test can show one without being given it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vestibule::api_key::{
    ApiKey, Digest, KeyFormat, KeyRecord, KeyRecordBuilder, Keyring, Keys, Peppers,
};
use vestibule::entropy::Entropy;
use vestibule::error::StoreError;

/// The agent that restricted keys may act for.
pub const AGENT: &str = "6f1c2d3e-4b5a-4978-8a6b-0c1d2e3f4a5b";

/// An agent that they may not act for.
pub const OTHER_AGENT: &str = "00000000-0000-4000-8000-000000000001";

/// A keyring that can be lost.
#[derive(Clone, Debug)]
pub struct FragileKeys {
    keys: Keys,
    is_lost: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

/// Draws what its name says, so that one name is one key in every run.
#[derive(Debug)]
struct Named(AtomicU64);

/// The key of this name; an opaque one where the name begins with `opaque`.
pub fn token(name: &str) -> String {
    if name.starts_with("opaque") {
        return format!("{name}:0123456789abcdef");
    }
    let environment = name.split_once('@').map_or("live", |(_, env)| env);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let entropy = Named(AtomicU64::new(seed));
    let key = ApiKey::mint("mk", environment, &entropy);
    key.expose().to_owned()
}

/// The record of the key of this name, with every scope and the limit of the API.
pub fn record(name: &str) -> KeyRecordBuilder {
    of_account(name, "acc_1")
}

/// The same, of another account.
pub(crate) fn stranger(name: &str) -> KeyRecordBuilder {
    of_account(name, "acc_2")
}

fn of_account(name: &str, account: &str) -> KeyRecordBuilder {
    let text = token(name);
    let key = KeyFormat::new()
        .opaque()
        .parse(&text)
        .expect("a token is well-formed");
    KeyRecord::of(&key, &Peppers::none(), name, account).scopes(["*"])
}

// === impl FragileKeys ===

impl FragileKeys {
    pub(crate) fn new(keys: Keys) -> Self {
        Self {
            keys,
            is_lost: Arc::default(),
            asked: Arc::default(),
        }
    }

    /// The keys, to be changed while requests go on.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Lets every look-up fail from now on, or none.
    pub fn lose(&self, is_lost: bool) {
        self.is_lost.store(is_lost, Ordering::SeqCst);
    }

    /// How many keys were looked up.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Keyring for FragileKeys {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.is_lost.load(Ordering::SeqCst) {
            return Err(StoreError::not_sent());
        }
        self.keys.find(digest).await
    }
}

// === impl Named ===

impl Entropy for Named {
    fn draw(&self) -> u128 {
        // SplitMix64: neighbouring names must not make neighbouring keys.
        let half = || {
            let seed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
            let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            u128::from(mixed ^ (mixed >> 31))
        };
        (half() << 64) | half()
    }
}
