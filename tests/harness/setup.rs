//! The API under test: its routes, its keys, its clock and its stores.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use vestibule::api_key::{KeyFormat, KeyRecordBuilder, Keyring, Keys};
use vestibule::clock::Timestamp;
use vestibule::memory;
use vestibule::route::Policy;
use vestibule::stack::Admission;
use vestibule::testing::{CountingEntropy, FaultyStore, ManualClock};
use vestibule::{ApiLayer, ApiLayerBuilder};

use crate::keys::{AGENT, FragileKeys, record, stranger};

/// The layers as the tests mount them.
pub type Api = ApiLayer<FaultyStore<memory::Store>, FragileKeys>;

/// What is to be mounted; the same for either mounting.
#[must_use]
pub struct Setup {
    keys: Vec<KeyRecordBuilder>,
    tune: Vec<Tune>,
    store: fn(memory::Store) -> memory::Store,
}

/// The parts of a mounted API that a test may hold.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) api: Api,
    pub(crate) clock: ManualClock,
    pub(crate) keys: FragileKeys,
    pub(crate) store: FaultyStore<memory::Store>,
    pub(crate) memory: memory::Store,
}

type Builder = ApiLayerBuilder<FaultyStore<memory::Store>, FragileKeys>;
type Tune = Box<dyn FnOnce(Builder) -> Builder + Send>;

// === impl Setup ===

impl Setup {
    /// The routes of the module's table, and these keys, all with every scope unless it is
    /// said:
    ///
    /// | name | what it is |
    /// |---|---|
    /// | `full` | 1,000,000 requests a minute |
    /// | `default` | the limit of the API |
    /// | `limited` | 5 requests a minute |
    /// | `narrow` | `whatsapp:read` alone |
    /// | `bound` | may act for [`AGENT`] alone |
    /// | `revoked`, `expired` | what they say |
    /// | `ending` | expires 60 s after [`START`] |
    /// | `old`, `new` | of one family, 5 and 7 requests a minute |
    /// | `sandbox@test` | of environment `test` and the family of `full` |
    pub fn new() -> Self {
        let minute_ago = Timestamp::from_unix_millis(START.as_unix_millis() - 60_000);
        let keys = vec![
            record("full").per_minute(1_000_000),
            record("default"),
            record("limited").per_minute(5),
            record("narrow").scopes(["whatsapp:read"]),
            record("bound").agents([AGENT]),
            record("revoked").revoked(minute_ago),
            record("expired").expires(minute_ago),
            record("ending").expires(START + Duration::from_secs(60)),
            record("old").family("rotated").per_minute(5),
            record("new").family("rotated").per_minute(7),
            record("sandbox@test").family("full"),
        ];
        Self {
            keys,
            tune: Vec::new(),
            store: |store| store,
        }
    }

    /// One more key, with every scope and the limit of the API unless it is told otherwise.
    pub fn key(
        mut self,
        name: &str,
        describe: impl FnOnce(KeyRecordBuilder) -> KeyRecordBuilder,
    ) -> Self {
        self.keys.push(describe(record(name)));
        self
    }

    /// One more key, of another account.
    pub fn stranger(mut self, name: &str) -> Self {
        self.keys.push(stranger(name));
        self
    }

    /// Writes the keys into a file, as a sidecar or a service reads them.
    ///
    /// # Panics
    ///
    /// Where the file cannot be written.
    pub fn write_keys(self, file: &Path) {
        let keys = self.build().keys;
        std::fs::write(file, keys.keys().to_json().to_string()).expect("the folder is ours");
    }

    /// Options of the layers.
    pub fn layers(mut self, tune: impl FnOnce(Builder) -> Builder + Send + 'static) -> Self {
        self.tune.push(Box::new(tune));
        self
    }

    /// Keys of another make are taken too.
    pub fn opaque(self) -> Self {
        self.layers(|api| api.keys(KeyFormat::new().brand("mk").opaque()))
    }

    /// How much the store holds.
    pub fn store(mut self, size: fn(memory::Store) -> memory::Store) -> Self {
        self.store = size;
        self
    }

    pub(crate) fn build(self) -> Parts {
        let clock = ManualClock::at(START);
        let memory = (self.store)(memory::Store::new(clock.shared()));
        let store = FaultyStore::new(memory.clone());
        let records = self.keys.into_iter().map(KeyRecordBuilder::build);
        let keys = FragileKeys::new(Keys::new(records).expect("names are not given twice"));
        let builder = routes(ApiLayer::builder(store.clone(), keys.clone()))
            .clock(clock.shared())
            .entropy(CountingEntropy::shared())
            .keys(KeyFormat::new().brand("mk"));
        let tuned = self.tune.into_iter().fold(builder, |api, tune| tune(api));
        Parts {
            api: tuned.build().expect("the routes of the tests are good"),
            clock,
            keys,
            store,
            memory,
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// The contract's own endpoints, and one route for each option that they do not use.
pub fn routes<S: Admission, K: Keyring>(api: ApiLayerBuilder<S, K>) -> ApiLayerBuilder<S, K> {
    let send = || Policy::scope("whatsapp:send").agent("/agent_id");
    let charge = || Policy::scope("charges:write").idempotent();
    api.route(
        "POST /v1/whatsapp/{messages,templates}",
        send().deduplicated(),
    )
    .route(
        "GET /v1/whatsapp/messages/{id}",
        Policy::any_scope(["whatsapp:send", "whatsapp:read"]),
    )
    .route("* /webhooks/whatsapp", Policy::public().body_max(4 << 20))
    .route("GET /healthz", Policy::public())
    .route("POST /v1/charges", charge())
    .route("GET /v1/charges/{id}", Policy::scope("charges:read"))
    .route("PUT /v1/charges/{id}", Policy::authenticated())
    .route("POST /v1/agents", send().idempotent())
    .route("POST /v1/keeping", charge().keep_client_errors())
    .route("POST /v1/strict", charge().require_idempotency_key())
    .route("POST /v1/brief", charge().deadline(BRIEF))
    .route(
        "POST /v1/brief/deduplicated",
        send().deduplicated().deadline(BRIEF),
    )
    .route("POST /v1/small", charge().body_max(10))
    .route("POST /v1/unkeyed", Policy::authenticated())
}

/// When every test begins: 2026-11-22T12:00:00.250Z, so that a second that is rounded the
/// wrong way shows.
pub const START: Timestamp = Timestamp::from_unix_millis(1_795_348_800_250);

/// Long enough for a loopback, short enough to be waited for.
const BRIEF: Duration = Duration::from_millis(300);
