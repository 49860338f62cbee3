//! Where the layers run: in the origin's own process, or in the sidecar before it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tower::Layer;
use vestibule::clock::Clock;
use vestibule::identity::{Asserted, Secret, Verifier};
use vestibule::memory;
use vestibule::testing::{FaultyStore, ManualClock};

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
    _running: Vec<Serving>,
}

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
            Mounting::Sidecar => sidecar(&api, &origin).await,
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

async fn in_process(api: &Api, origin: &Origin) -> (SocketAddr, Vec<Serving>) {
    let serving = Serving::start(api.layer(origin.clone())).await;
    (serving.address, vec![serving])
}

async fn sidecar(api: &Api, origin: &Origin) -> (SocketAddr, Vec<Serving>) {
    // Filled in when the sidecar's library lands.
    let serving = Serving::start(api.layer(origin.clone())).await;
    (serving.address, vec![serving])
}

/// What the sidecar and the origin share.
fn secret() -> Secret {
    Secret::new(b"a secret of the tests, 32 bytes or more").expect("it is long enough")
}
