//! The layers in this process, over a store in a server that can be lost.

use std::time::Duration;

use harness::{Draft, Origin, PATIENCE, Reply, Serving, Wire, record, routes};
use tokio::time::{Instant, timeout};
use vestibule::api_key::{
    Cached, KeyChange, KeyFormat, KeyRecordBuilder, KeyStore as _, KeyWriteError,
};
use vestibule::clock::{Clock as _, SystemClock, Timestamp};
use vestibule::testing::ManualClock;
use vestibule::{ApiLayer, ApiLayerBuilder};

use super::lossy::{Loss, Lossy, Server};

/// The layers, and what a test needs to know of them.
pub(super) struct Site<S: Server> {
    pub(super) store: Lossy<S>,
    pub(super) origin: Origin,
    pub(super) api: ApiLayer<S::Store, Cached<S::Keys>>,
    /// The time of the layers; the server has one of its own.
    pub(super) clock: ManualClock,
    serving: Serving,
    keys: Cached<S::Keys>,
}

pub(super) type Builder<S> = ApiLayerBuilder<<S as Server>::Store, Cached<<S as Server>::Keys>>;

// === impl Site ===

impl<S: Server> Site<S> {
    /// A claim here holds far longer than any test waits.
    pub(super) async fn open(server: S, loss: Loss) -> Self {
        let lease = Duration::from_secs(60);
        Self::with(server, loss, |api| api.lease(lease, lease / 3)).await
    }

    pub(super) async fn with(
        mut server: S,
        loss: Loss,
        options: impl FnOnce(Builder<S>) -> Builder<S>,
    ) -> Self {
        // Ahead of the server's, which goes on: no window begins in the future of the layers.
        let clock = ManualClock::at(SystemClock.now() + Duration::from_secs(10));
        server.begin_anew();
        let store = Lossy::over(server, loss).await;
        let (_, keys) = store
            .server
            .open(store.server.socket(), clock.shared())
            .await;
        let (counted, cached) = store.server.open(store.address(), clock.shared()).await;
        let api = routes(ApiLayer::builder(counted, cached))
            .clock(clock.shared())
            .keys(KeyFormat::new().brand("mk"));
        let api = options(api).build().unwrap();
        let origin = Origin::default();
        let serving = Serving::start(tower::Layer::layer(&api, origin.clone())).await;
        Self {
            store,
            origin,
            api,
            clock,
            serving,
            keys,
        }
    }

    /// Hands out the key of this name, as [`Setup::key`](harness::Setup::key) does.
    pub(super) async fn create(
        &self,
        name: &str,
        describe: impl FnOnce(KeyRecordBuilder) -> KeyRecordBuilder,
    ) {
        let created = [KeyChange::create(describe(record(name)).build())];
        let written = async {
            // The server may have been away; a change may be repeated.
            while let Err(KeyWriteError::Store(_)) = self.keys.write(&created).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, written).await.unwrap();
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(super) async fn wire(&self) -> Wire {
        Wire::connect(self.serving.address).await
    }

    pub(super) async fn send(&self, draft: &Draft) -> Reply {
        self.wire().await.exchange(draft).await
    }

    /// The same, and how long it took.
    pub(super) async fn timed(&self, draft: &Draft) -> (Reply, Duration) {
        let mut wire = self.wire().await;
        let sent = Instant::now();
        (wire.exchange(draft).await, sent.elapsed())
    }

    /// Sends it again until the answer is this, while the time goes on that the layers wait
    /// before they ask a lost store again.
    pub(super) async fn until(&self, draft: &Draft, want: &str) -> Reply {
        let mut last = String::new();
        let answered = async {
            loop {
                let reply = self.send(draft).await;
                last = reply.verdict();
                if last == want {
                    return reply;
                }
                self.clock.advance(Duration::from_millis(500));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reply = timeout(PATIENCE, answered).await.ok();
        reply.unwrap_or_else(|| panic!("it is not {want} but {last} in the end"))
    }
}
