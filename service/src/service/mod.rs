//! The service as a whole: opened from its configuration, run until it is told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{error, info};
use vestibule::api_key::{KeyFormat, Keys, KeysError};
use vestibule::clock::{SharedClock, SystemClock};
use vestibule::entropy::{SharedEntropy, SystemEntropy};
use vestibule::identity::{self, InvalidSecret, Verifier};
use vestibule::memory;
use vestibule::route::Policy;
use vestibule::stack::InvalidApi;
use vestibule::{ApiLayer, Pair};

use crate::accept::Acceptance;
use crate::cloud_api::{Client, ClientError};
use crate::config::{Api, Config, Secret};
use crate::delivery::{Intake, Worker};
use crate::http::{App, WebhookSecrets, router};
use crate::listen::Listener;
use crate::store::{self, Sqlite, StoreError};

/// The messaging service: its endpoints behind the layers, and its workers.
#[derive(Debug)]
pub struct Messaging {
    app: App<Sqlite>,
    layers: Layers,
    cloud: Client,
    clock: SharedClock,
    entropy: SharedEntropy,
    queued: Arc<Notify>,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The layers cannot be built.
    #[error("the layers cannot be built")]
    Api(#[from] InvalidApi),
    /// The Cloud API's client cannot be built.
    #[error(transparent)]
    CloudApi(#[from] ClientError),
    /// The secret of the assertions cannot be used.
    #[error("the secret in [identity] cannot be used")]
    Identity(#[from] InvalidSecret),
    /// The API keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Callers are counted in memory; what became of their keyed requests lies in the database
/// that their messages are in.
type Layers = ApiLayer<Pair<memory::Store, Sqlite>, Keys>;

// === impl Messaging ===

impl Messaging {
    /// Opens the database and reads the keys.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn open(config: Config) -> Result<Self, StartError> {
        Self::open_with(config, SystemClock::shared(), SystemEntropy::shared()).await
    }

    /// The same with another time and another source of randomness, as a test has them.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn open_with(
        config: Config,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, StartError> {
        let cloud_api = config.cloud_api;
        let store = Sqlite::open(&config.database, clock.clone(), entropy.clone()).await?;
        let records = Pair::new(memory::Store::new(clock.clone()), store.clone());
        let layers = layers(records, config.api, &config.identity, &clock, &entropy)?;
        let queued = Arc::new(Notify::new());
        let app = App {
            directory: Arc::new(config.directory),
            acceptance: Acceptance::new(
                store.clone(),
                clock.clone(),
                entropy.clone(),
                Arc::clone(&queued),
            ),
            store,
            clock: clock.clone(),
            shows_recipient: config.shows_recipient,
            webhook: Arc::new(WebhookSecrets {
                app_secrets: cloud_api.app_secrets,
                verify_token: cloud_api.verify_token,
            }),
            taken_in: Arc::new(Notify::new()),
        };
        Ok(Self {
            app,
            layers,
            cloud: Client::new(&cloud_api.base_url, &cloud_api.version, &cloud_api.token)?,
            clock,
            entropy,
            queued,
        })
    }

    /// The endpoints behind the layers, without a listener and without the workers.
    pub fn app(&self) -> Router {
        router(self.app.clone()).layer(self.layers.clone())
    }

    /// Serves and works until `shutdown`; then no connection is accepted any more, every
    /// request under way is answered, and every attempt under way is settled.
    ///
    /// # Panics
    ///
    /// Where a worker has panicked, after the drain: without it, what is accepted would
    /// not be sent.
    pub async fn run(self, listener: Listener, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut workers = JoinSet::new();
        self.start_workers(&mut workers, &stopped);
        let mut ended = Vec::new();
        let until = async {
            tokio::select! {
                () = shutdown => {}
                early = workers.join_next() => ended.extend(early),
            }
        };
        listener.serve(self.app(), until).await;
        let left = self.layers.drained(DRAIN).await;
        // Workers stop after the last request, so that what it brought is not left lying
        // for the next start.
        stop.send_replace(true);
        while let Some(result) = workers.join_next().await {
            ended.push(result);
        }
        if let Some(panicked) = ended.into_iter().find_map(Result::err) {
            std::panic::resume_unwind(panicked.into_panic());
        }
        info!(left, "the service has stopped");
    }

    fn start_workers(&self, workers: &mut JoinSet<()>, stopped: &watch::Receiver<bool>) {
        let delivery = Worker::new(
            self.app.store.clone(),
            self.cloud.clone(),
            self.clock.clone(),
            self.entropy.clone(),
            Arc::clone(&self.queued),
        );
        let intake = Intake::new(
            self.app.store.clone(),
            Arc::clone(&self.app.directory),
            Arc::clone(&self.app.taken_in),
        );
        workers.spawn(delivery.run(until(stopped.clone())));
        workers.spawn(intake.run(until(stopped.clone())));
        workers.spawn(sweep(self.app.store.clone(), until(stopped.clone())));
    }
}

/// The layers as the configuration wants them, and the one table of routes.
fn layers(
    store: Pair<memory::Store, Sqlite>,
    api: Option<Api>,
    trusted: &[Secret],
    clock: &SharedClock,
    entropy: &SharedEntropy,
) -> Result<Layers, StartError> {
    let keys = match &api {
        Some(api) => Keys::watch(&api.keys_file)?,
        None => Keys::new([])?,
    };
    let mut builder = ApiLayer::builder(store, keys)
        .route(
            "POST /v1/whatsapp/{messages,templates}",
            Policy::scope("whatsapp:send")
                .deduplicated()
                .agent("/agent_id"),
        )
        .route(
            "GET /v1/whatsapp/messages/{id}",
            Policy::any_scope(["whatsapp:send", "whatsapp:read"]),
        )
        .route("GET /v1/whatsapp/windows", Policy::scope("whatsapp:read"))
        .route(
            "* /webhooks/whatsapp",
            Policy::public().body_max(WEBHOOK_MAX),
        )
        .route("GET /healthz", Policy::public())
        .route("GET /readyz", Policy::public())
        .clock(clock.clone())
        .entropy(entropy.clone());
    builder = match api {
        Some(api) => builder
            .keys(KeyFormat::new().brand(api.brand))
            .per_minute(api.per_minute),
        None => builder.assertions_only(),
    };
    if !trusted.is_empty() {
        let secrets = trusted
            .iter()
            .map(|secret| identity::Secret::new(secret.expose()))
            .collect::<Result<Vec<_>, _>>()?;
        builder = builder.trust_assertion(Verifier::new(secrets));
    }
    Ok(builder.build()?)
}

/// Drops what has outlived its use, a part at a time.
async fn sweep(store: impl store::Intake, stop: impl Future<Output = ()>) {
    let turns = async {
        loop {
            let pause = match store.sweep().await {
                Ok(0) => SWEEP_EVERY,
                Ok(_) => SWEEP_PAUSE,
                Err(cause) => {
                    error!(?cause, "nothing could be swept");
                    SWEEP_EVERY
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = stop => {}
        () = turns => {}
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender is dropped only after it has said so.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Meta sends 3 MB at most.
const WEBHOOK_MAX: u64 = 4 << 20;

/// A keyed request runs for 30 s at most.
const DRAIN: Duration = Duration::from_secs(30);

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A part holds the writer for milliseconds; others come in between.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
