//! The service as a whole: opened from its configuration, run until it is told to stop.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use vestibule::api_key::{KeyFormat, Keys, KeysError};
use vestibule::clock::{SharedClock, SystemClock};
use vestibule::entropy::{SharedEntropy, SystemEntropy};
use vestibule::identity::{self, InvalidSecret, Verifier};
use vestibule::memory;
use vestibule::stack::InvalidApi;
use vestibule::{ApiLayer, Pair};

use crate::accept::{self, Acceptance};
use crate::admin;
use crate::cloud_api::{Client, ClientError, Timeouts, TokenKey};
use crate::config::{Api, Config, Listen, Secret};
use crate::delivery::{Intake, Line, Lines, Reconcile, Worker};
use crate::http::{App, WebhookSecrets, router, routes};
use crate::listen::Listener;
use crate::metrics::Metrics;
use crate::store::{Database, Settings, StoreError, Upkeep};
use crate::window::Rules;

/// The messaging service: its endpoints behind the layers, and its workers.
#[derive(Debug)]
pub struct Messaging {
    app: App<Database>,
    layers: Layers,
    cloud: Client,
    rules: Rules,
    admin: Option<Listen>,
    /// How long the workers may take to end.
    grace: Duration,
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
type Layers = ApiLayer<Pair<memory::Store, Database>, Keys>;

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
        let metrics = Metrics::new();
        let settings = settings(&config, metrics.clone());
        let cloud_api = config.cloud_api;
        let directory = Arc::new(config.directory);
        let store =
            Database::open(&config.database, settings, clock.clone(), entropy.clone()).await?;
        let records = Pair::new(memory::Store::new(clock.clone()), store.clone());
        let layers = layers(records, config.api, &config.identity, &clock, &entropy)?;
        let queued = Arc::new(Notify::new());
        let timeouts = Timeouts {
            connect: config.delivery.connect_timeout,
            whole: config.delivery.timeout,
        };
        let rules = accept::Rules {
            at_least_once_keys: config.delivery.at_least_once_keys,
            allows_unknown_window: config.window.allows_unknown,
        };
        let app = App {
            directory,
            acceptance: Acceptance::new(
                store.clone(),
                rules,
                clock.clone(),
                entropy.clone(),
                Arc::clone(&queued),
                metrics.clone(),
            ),
            store,
            clock: clock.clone(),
            shows_recipient: config.shows_recipient,
            webhook: Arc::new(WebhookSecrets {
                app_secrets: cloud_api.app_secrets,
                verify_token: cloud_api.verify_token,
            }),
            taken_in: Arc::new(Notify::new()),
            metrics,
        };
        Ok(Self {
            app,
            layers,
            cloud: Client::new(
                &cloud_api.base_url,
                &cloud_api.version,
                &cloud_api.token,
                timeouts,
            )?,
            rules: config.window.rules,
            admin: config.admin,
            grace: config.delivery.timeout + STOP_MARGIN,
            clock,
            entropy,
            queued,
        })
    }

    /// Where operators look, where that is configured.
    ///
    /// # Errors
    ///
    /// What the operating system says of the address.
    pub async fn bind_admin(&self) -> io::Result<Option<Listener>> {
        match &self.admin {
            Some(listen) => Listener::bind(listen).await.map(Some),
            None => Ok(None),
        }
    }

    /// The endpoints behind the layers, without a listener and without the workers.
    pub fn app(&self) -> Router {
        router(self.app.clone()).layer(self.layers.clone())
    }

    /// Serves and works until `shutdown`; then no connection is accepted any more, every
    /// request under way is answered, and every attempt under way is settled.
    ///
    /// That takes no longer than 65 seconds for the requests and an attempt's own timeout,
    /// with a margin of five, for the rest. What cannot be settled by then, because the store
    /// is away, is left under its lease: it is found by the next start, as after a crash, and
    /// confirmed by its webhook instead of being sent again.
    ///
    /// # Panics
    ///
    /// Where a worker has panicked, after the drain: without it, what is accepted would
    /// not be sent.
    pub async fn run(
        self,
        listener: Listener,
        admin: Option<Listener>,
        shutdown: impl Future<Output = ()>,
    ) {
        let (stop, stopped) = watch::channel(false);
        let mut workers = JoinSet::new();
        self.start_workers(&mut workers, &stopped);
        if let Some(admin) = admin {
            // It tells of the drain too, and ends with the workers.
            let (app, stop) = (admin::router(self.app.clone()), until(stopped.clone()));
            workers.spawn(async move { admin.serve(app, stop).await });
        }
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
        let settled = async {
            while let Some(result) = workers.join_next().await {
                ended.push(result);
            }
        };
        if tokio::time::timeout(self.grace, settled).await.is_err() {
            warn!("attempts were not settled in time; the next start confirms them");
            workers.shutdown().await;
        }
        if let Some(panicked) = ended.into_iter().find_map(Result::err) {
            std::panic::resume_unwind(panicked.into_panic());
        }
        info!(left, "the service has stopped");
    }

    fn start_workers(&self, workers: &mut JoinSet<()>, stopped: &watch::Receiver<bool>) {
        let app = &self.app;
        let (store, metrics) = (app.store.clone(), app.metrics.clone());
        let delivery = Worker::new(
            store.clone(),
            self.cloud.clone(),
            self.clock.clone(),
            self.entropy.clone(),
            Arc::clone(&self.queued),
            metrics.clone(),
        );
        let intake = Intake::new(
            store.clone(),
            Arc::clone(&app.directory),
            self.rules,
            Arc::clone(&app.taken_in),
            Arc::clone(&self.queued),
            metrics.clone(),
        );
        let reconcile = Reconcile::new(store.clone(), Arc::clone(&self.queued), metrics);
        workers.spawn(delivery.run(until(stopped.clone())));
        workers.spawn(intake.run(until(stopped.clone())));
        workers.spawn(reconcile.run(until(stopped.clone())));
        workers.spawn(sweep(store.clone(), until(stopped.clone())));
        let (queued, taken_in) = (Arc::clone(&self.queued), Arc::clone(&app.taken_in));
        let stop = until(stopped.clone());
        workers.spawn(async move {
            tokio::select! {
                () = stop => {}
                () = store.listen(queued, taken_in) => {}
            }
        });
    }
}

/// By which rules the store takes, keeps and forgets.
pub(crate) fn settings(config: &Config, metrics: Metrics) -> Settings {
    let (cloud_api, delivery) = (&config.cloud_api, &config.delivery);
    let token = cloud_api.token.fingerprint();
    let lines = config.directory.all().map(|connection| Line {
        phone_number_id: connection.phone_number_id.clone(),
        account: connection.waba_id.clone(),
        token: token.clone(),
        per_second: match delivery.shapes {
            true => connection.per_second,
            false => u32::MAX,
        },
        burst: delivery.burst,
    });
    // Made of a secret that every replica has, and that outlives a restart.
    let token_key = TokenKey::derived_from(&cloud_api.app_secrets[0]);
    Settings {
        lines: Arc::new(Lines::new(&token, lines)),
        token_key,
        lease: delivery.timeout + LEASE_MARGIN,
        confirm_within: delivery.confirm_within,
        keep_content: delivery.keep_content,
        allows_unknown_window: config.window.allows_unknown,
        metrics,
    }
}

/// The layers as the configuration wants them, and the one table of routes.
fn layers(
    store: Pair<memory::Store, Database>,
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
        .clock(clock.clone())
        .entropy(entropy.clone());
    for (pattern, policy) in routes() {
        builder = builder.route(pattern, policy);
    }
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
async fn sweep(store: impl Upkeep, stop: impl Future<Output = ()>) {
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

/// A keyed request runs for 30 s at most.
const DRAIN: Duration = Duration::from_secs(30);

/// Beyond what an attempt can take: clocks of replicas may differ by less.
const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Longer than it takes to write down what came of an attempt.
const STOP_MARGIN: Duration = Duration::from_secs(5);

const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// A part holds the writer for milliseconds; others come in between.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
