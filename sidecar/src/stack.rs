//! The stack of the edge, built from the configuration inside the edge's runtime.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;
use vestibule::api_key::{Keyring as _, Keys, LastUsed};
use vestibule::clock::SharedClock;
use vestibule::entropy::SharedEntropy;
use vestibule::identity::{Assert, AssertLayer, Secret, Signer};
use vestibule::stack::{Api, InvalidApi};
use vestibule::{ApiLayer, ApiLayerBuilder, Store, StoreKeyring};

use crate::config::{Config, ConfigError, Identity, KeySource, Place};
use crate::explain::Explainer;
use crate::gauges::Gauges;
use crate::guard::{Guard, GuardLayer};
use crate::lifecycle::Lifecycle;
use crate::log::Log;
use crate::newest::Newest;
use crate::reload::difference::Difference;
use crate::shown::Shown;
use crate::start::StartError;
use crate::telemetry::{Access, Metrics, Observe, ObserveLayer, Side, Traces};
use crate::upstream::Upstream;

/// What proxies, and tells the service who is calling.
pub type Proxy = Assert<Upstream>;

/// The layers of the API around `S`, and what guards them.
pub type Core<S> = Guard<Api<S, Store, StoreKeyring>>;

/// What a run may replace.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
}

/// What a stack is made of, apart from a team's own layers.
#[derive(Clone)]
pub(crate) struct Parts {
    upstream: Upstream,
    assertion: AssertLayer,
    store: Store,
    keys: StoreKeyring,
    last_used: Option<LastUsed>,
    api: ApiLayer<Store, StoreKeyring>,
    guard: GuardLayer,
    metrics: Metrics,
    /// None where no line is written for a request.
    access: Option<Access>,
    /// None where no spans are made.
    traces: Option<Traces>,
}

// === impl Parts ===

impl Parts {
    /// Opens and builds them.
    pub(crate) async fn open(
        config: &Config,
        sources: &Sources,
        shown: &Shown,
    ) -> Result<Self, StartError> {
        let metrics = shown.metrics();
        let upstream = Upstream::counted(config, metrics.reloads(Side::Upstream)).await?;
        let store = store(config, sources).await?;
        let keys = keyring(config, &store, sources)?;
        let keys = keys.observed(Arc::new(metrics.clone()));
        let last_used = (config.keys.source == KeySource::Store).then(|| {
            let last_used = LastUsed::new(Arc::clone(&sources.clock));
            tokio::spawn(last_used.clone().write_to(keys.clone()));
            last_used
        });
        let builder = builder(config, sources, store.clone(), keys.clone());
        let builder = builder.observe_store(Arc::new(metrics.clone()));
        let api = api(builder, config, last_used.as_ref())?;
        Ok(Self {
            upstream,
            assertion: assertion(&config.identity, sources),
            store,
            keys,
            last_used,
            api,
            guard: GuardLayer::new(config, Arc::clone(&sources.clock)),
            metrics: metrics.clone(),
            access: access(config, sources, shown.log()),
            traces: traces(config)?,
        })
    }

    /// Those by another configuration, which go on with what these have opened, counted and
    /// begun.
    pub(crate) async fn renewed(
        &self,
        config: &Config,
        difference: &Difference,
        sources: &Sources,
    ) -> Result<Self, StartError> {
        let builder = builder(config, sources, self.store.clone(), self.keys.clone());
        let builder = builder.in_place_of(&self.api);
        let api = api(builder, config, self.last_used.as_ref())?;
        let clock = Arc::clone(&sources.clock);
        Ok(Self {
            upstream: self.upstream.renewed(config, difference).await?,
            assertion: assertion(&config.identity, sources),
            store: self.store.clone(),
            keys: self.keys.clone(),
            last_used: self.last_used.clone(),
            api,
            guard: self.guard.renewed(config, difference, clock),
            metrics: self.metrics.clone(),
            access: self.access.clone(),
            traces: self.traces.clone(),
        })
    }

    /// The stack, from the service outwards.
    pub(crate) fn stack<L, M>(&self, (outer, inner): (&L, &M)) -> Observe<L::Service>
    where
        M: Layer<Proxy>,
        L: Layer<Core<M::Service>>,
    {
        let proxy = self.assertion.layer(self.upstream.clone());
        let stack = outer.layer(self.guard.layer(self.api.layer(inner.layer(proxy))));
        let (access, traces) = (self.access.clone(), self.traces.clone());
        ObserveLayer::new(self.metrics.clone(), access, traces).layer(stack)
    }
}

/// Lets commands change keys, waits in the end for what was begun, and shows how all is.
pub(crate) fn show(parts: &Newest<Parts>, config: &Config, life: &Lifecycle) {
    if config.keys.source == KeySource::Store {
        life.manage(parts.get().keys);
    }
    let explained = parts.clone();
    life.explain_by(Explainer::newest(move || explained.get().api));
    let detached = parts.clone();
    life.wait_for(move |within| {
        let Parts {
            api, store, traces, ..
        } = detached.get();
        async move {
            let left = api.drained(within).await;
            flush(&store).await;
            if let Some(traces) = traces {
                traces.flush().await;
            }
            left
        }
    });
    if let Some(traces) = parts.get().traces {
        life.gauges().count(
            "vestibule_spans_dropped_total",
            "Spans that found no room, or could not be delivered.",
            move || traces.dropped(),
        );
    }
    gauges(parts, life.gauges());
}

fn access(config: &Config, sources: &Sources, log: Option<&Log>) -> Option<Access> {
    let lines = log?.access.clone()?;
    let clock = Arc::clone(&sources.clock);
    Some(Access::new(lines, config.log.format, clock))
}

fn traces(config: &Config) -> Result<Option<Traces>, ConfigError> {
    let started = Traces::start(&config.traces);
    started.map_err(|fault| fault_at(&Place::file(&config.file), &fault))
}

/// Opens the store, which goes by a clock of its own where several processes share it.
pub(crate) async fn store(config: &Config, sources: &Sources) -> Result<Store, ConfigError> {
    let clock = Arc::clone(&sources.clock);
    let opened = Store::open_under(&config.store.address, clock).await;
    let store = opened.map_err(|fault| fault_at(&config.store.place, &fault))?;
    match &config.counters {
        None => Ok(store),
        Some(counters) => {
            let counting = store.counting_at(&counters.address).await;
            counting.map_err(|fault| fault_at(&counters.place, &fault))
        }
    }
}

/// pingora's runtimes do not wait until the store has been dropped.
async fn flush(store: &Store) {
    match tokio::time::timeout(FLUSHED_WITHIN, store.flush()).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => tracing::warn!(%cause, "what was counted last is not written down"),
        Err(_) => tracing::warn!("what was counted last is not written down: the disk hangs"),
    }
}

/// The layers, under a process that serves.
fn api(
    mut builder: ApiLayerBuilder<Store, StoreKeyring>,
    config: &Config,
    last_used: Option<&LastUsed>,
) -> Result<ApiLayer<Store, StoreKeyring>, ConfigError> {
    if let Some(last_used) = last_used {
        builder = builder.last_used(last_used.clone());
    }
    builder.build().map_err(|fault| unfit(config, &fault))
}

/// The stack as the configuration says, but for what belongs to a process that serves.
pub(crate) fn builder(
    config: &Config,
    sources: &Sources,
    store: Store,
    keys: StoreKeyring,
) -> ApiLayerBuilder<Store, StoreKeyring> {
    let mut builder = ApiLayer::builder(store, keys)
        .per_minute(config.limits.per_minute)
        .in_flight(config.limits.requests)
        .buffer_bytes(config.limits.buffer)
        .keys(config.keys.format())
        .peppers(config.keys.peppers.clone())
        .clock(Arc::clone(&sources.clock))
        .entropy(Arc::clone(&sources.entropy))
        .error_format(config.error_format.writes());
    if config.keys.separate_codes {
        builder = builder.separate_codes();
    }
    for route in &config.routes {
        builder = builder.route(&route.pattern, route.policy());
    }
    builder
}

/// A stack that cannot be.
pub(crate) fn unfit(config: &Config, fault: &InvalidApi) -> ConfigError {
    fault_at(&Place::file(&config.file), fault)
}

pub(crate) fn keyring(
    config: &Config,
    store: &Store,
    sources: &Sources,
) -> Result<StoreKeyring, StartError> {
    match &config.keys.source {
        KeySource::None => Ok(Keys::new([])?.into()),
        // Whoever writes the file says when keys were used, if anybody does.
        KeySource::File(file) => Ok(Keys::watch(file)?.into()),
        KeySource::Store => {
            let fault = "it keeps no key records; [keys] source can be a file of them";
            let keys = store.keyring(Arc::clone(&sources.clock));
            Ok(keys.ok_or_else(|| {
                fault_at(
                    &config.store.place,
                    &format!("store {:?}: {fault}", config.store.address),
                )
            })?)
        }
    }
}

fn gauges(parts: &Newest<Parts>, gauges: &Gauges) {
    let show = |name, help, read: fn(&Parts) -> f64| {
        let parts = parts.clone();
        gauges.show(name, help, move || read(&parts.get()));
    };
    show(
        "vestibule_upstreams_well",
        "Services behind the sidecar that get requests.",
        |parts| parts.upstream.services().1 as f64,
    );
    show(
        "vestibule_key_record_age_seconds",
        "How long ago the record of the last key that was looked up was known to be the newest.",
        |parts| parts.keys.age().as_secs_f64(),
    );
    show(
        "vestibule_store_cut_off",
        "Whether the store is left alone for the moment, after failures in a row.",
        |parts| f64::from(u8::from(parts.api.store_is_cut_off())),
    );
    show(
        "vestibule_key_store_lost",
        "Whether the last look-up of a key got no answer.",
        |parts| f64::from(u8::from(parts.keys.is_lost())),
    );
    show(
        "vestibule_keyed_requests_running",
        "Keyed requests that run, whether somebody waits for them or not.",
        |parts| parts.api.tasks().running() as f64,
    );
    show(
        "vestibule_shed_share",
        "Share of the requests that is refused because the process is late.",
        |parts| parts.guard.share(),
    );
}

fn fault_at(place: &Place, fault: &impl Display) -> ConfigError {
    ConfigError::at(place, fault.to_string())
}

fn assertion(identity: &Identity, sources: &Sources) -> AssertLayer {
    let signer = Signer::new(secret(identity, sources)).entropy(Arc::clone(&sources.entropy));
    AssertLayer::new(signer, Arc::clone(&sources.clock))
}

/// The secret that the service shares; without one the assertion is signed with a secret
/// that nobody knows, so that the API key is taken out all the same.
fn secret(identity: &Identity, sources: &Sources) -> Secret {
    let text = identity.secret.clone().unwrap_or_else(|| {
        let draw = || sources.entropy.draw();
        format!("{:032x}{:032x}", draw(), draw())
    });
    Secret::new(text).expect("the configuration takes no shorter one")
}

/// A disk that takes longer does not hold up the end of the process.
const FLUSHED_WITHIN: Duration = Duration::from_secs(5);
