//! Where the layers run: in the origin's own process, or in the sidecar before it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tower::Layer;
use vestibule::clock::Clock;
use vestibule::identity::{AssertLayer, Asserted, Secret, Signer, Verifier};
use vestibule::memory;
use vestibule::testing::{CountingEntropy, FaultyStore, ManualClock};
use vestibule_sidecar::config::Config;
use vestibule_sidecar::upstream::Upstream;
use vestibule_sidecar::{Core, Proxy, Sidecar, StartError};

use crate::draft::Draft;
use crate::keys::FragileKeys;
use crate::origin::{Origin, Received};
use crate::reply::Reply;
use crate::serving::Serving;
use crate::setup::{Api, Parts, Setup};
use crate::wire::Wire;

/// Where the layers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounting {
    /// Around the origin, which hyper serves.
    InProcess,
    /// In the sidecar, with the origin on a port of its own.
    Sidecar,
}

/// An API that is being served, until it is dropped.
pub struct Mounted {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it runs.
    pub mounting: Mounting,
    /// What is behind it.
    pub origin: Origin,
    /// The only time there is.
    pub clock: ManualClock,
    /// The keys, to be changed or lost.
    pub keys: FragileKeys,
    /// The store, to be broken.
    pub store: FaultyStore<memory::Store>,
    /// The same store, to be looked at.
    pub memory: memory::Store,
    api: Api,
    _running: Running,
}

/// What is stopped when the API is dropped, the sidecar before the origin.
#[expect(dead_code, reason = "held for what dropping it does")]
#[derive(Debug)]
enum Running {
    InProcess(Serving),
    Sidecar(vestibule_sidecar::Running, Serving),
}

/// Puts the layers of the tests, whose stores and keys can be lost, in the place of those
/// that a configuration makes.
struct Instead(Behind);

type Behind = vestibule::stack::Api<Proxy, FaultyStore<memory::Store>, FragileKeys>;

// === impl Mounting ===

impl Mounting {
    /// Both.
    pub const ALL: [Self; 2] = [Self::InProcess, Self::Sidecar];
}

// === impl Setup ===

impl Setup {
    /// Serves it.
    pub async fn mount(self, mounting: Mounting) -> Mounted {
        let Parts {
            api,
            clock,
            keys,
            store,
            memory,
        } = self.build();
        let origin = Origin::default();
        let (address, running) = match mounting {
            Mounting::InProcess => in_process(&api, &origin).await,
            Mounting::Sidecar => sidecar(&api, &clock, &origin).await,
        };
        Mounted {
            address,
            mounting,
            origin,
            clock,
            keys,
            store,
            memory,
            api,
            _running: running,
        }
    }
}

/// A sidecar that was made from a file, with a store and a keyring of its own.
#[derive(Debug)]
pub struct Configured {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is behind it.
    pub origin: Origin,
    _running: Running,
    _folder: TempDir,
}

// === impl Instead ===

impl Layer<Core<Proxy>> for Instead {
    type Service = Behind;

    fn layer(&self, _: Core<Proxy>) -> Behind {
        self.0.clone()
    }
}

impl Setup {
    /// Serves it behind a sidecar that is told everything by its configuration, as in
    /// production; only the clock and the entropy are the tests'. Options that a
    /// configuration does not have are not heeded.
    pub async fn mount_configured(self) -> Configured {
        let Parts { clock, keys, .. } = self.build();
        let folder = TempDir::new().expect("the system has a temporary folder");
        let file = folder.path().join("keys.json");
        std::fs::write(&file, keys.keys().to_json().to_string()).expect("the folder is ours");
        let origin = Origin::default();
        let (address, running) = configured(&clock, &file, &origin).await;
        Configured {
            address,
            origin,
            _running: running,
            _folder: folder,
        }
    }
}

// === impl Mounted ===

impl Mounted {
    /// Sends a request on a connection of its own and reads the response.
    pub async fn send(&self, draft: &Draft) -> Reply {
        self.wire().await.exchange(draft).await
    }

    /// A connection.
    pub async fn wire(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Lets time pass.
    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Whether the layers run in the origin's process.
    pub fn is_in_process(&self) -> bool {
        self.mounting == Mounting::InProcess
    }

    /// What an assertion tells the origin about a request that it was sent.
    ///
    /// # Panics
    ///
    /// Where the assertion is not good.
    pub fn verify(&self, assertion: &str, received: &Received) -> Asserted {
        let (method, target) = (received.method.parse(), received.target.parse());
        let method = method.expect("a method that came is one");
        let target = target.expect("a target that came is one");
        let verified = Verifier::new([secret()]).verify(
            assertion.as_bytes(),
            &method,
            &target,
            self.clock.now(),
        );
        verified.expect("the sidecar's assertions are good")
    }

    /// The layers.
    pub fn api(&self) -> &Api {
        &self.api
    }
}

impl fmt::Debug for Mounted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mounted")
            .field("mounting", &self.mounting)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn in_process(api: &Api, origin: &Origin) -> (SocketAddr, Running) {
    let serving = Serving::start(api.layer(origin.clone())).await;
    (serving.address, Running::InProcess(serving))
}

async fn sidecar(api: &Api, clock: &ManualClock, origin: &Origin) -> (SocketAddr, Running) {
    let origin = Serving::start(origin.clone()).await;
    let config = configuration(origin.address, "[[route]]\nmatch = \"GET /\"");
    let upstream = Upstream::new(&config)
        .await
        .expect("the origin is on the loopback");
    let assertion = AssertLayer::new(Signer::new(secret()), clock.shared());
    let stack = Instead(api.layer(assertion.layer(upstream)));
    let sidecar = Sidecar::new(config).layer(stack).spawn();
    started(sidecar, origin)
}

/// The sidecar as its configuration makes it, and nothing else.
async fn configured(clock: &ManualClock, keys: &Path, origin: &Origin) -> (SocketAddr, Running) {
    let origin = Serving::start(origin.clone()).await;
    let routes = format!("[keys]\nsource = {keys:?}\nbrand = \"mk\"\n{ROUTES}");
    let config = configuration(origin.address, &routes);
    let sidecar = Sidecar::new(config)
        .clock(clock.shared())
        .entropy(CountingEntropy::shared())
        .spawn();
    started(sidecar, origin)
}

fn configuration(upstream: SocketAddr, rest: &str) -> Config {
    let secret = std::str::from_utf8(SECRET).expect("it is ASCII");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nupstream = \"{upstream}\"\nstore = \"memory:\"\nthreads = 1\n\
         [identity]\nsecret = \"{secret}\"\n{rest}"
    );
    Config::parse("tests.toml", &text).expect("the configuration of the tests is good")
}

fn started(
    sidecar: Result<vestibule_sidecar::Running, StartError>,
    origin: Serving,
) -> (SocketAddr, Running) {
    let sidecar = sidecar.expect("the sidecar starts");
    let address = sidecar.address().to_string();
    let address = address.parse().expect("it listens on the loopback");
    (address, Running::Sidecar(sidecar, origin))
}

/// What the sidecar and the origin share.
fn secret() -> Secret {
    Secret::new(SECRET).expect("it is long enough")
}

pub(crate) const SECRET: &[u8] = b"a secret of the tests, 32 bytes or more";

/// The routes of [`Setup`], as a configuration says them.
pub(crate) const ROUTES: &str = include_str!("routes.toml");
