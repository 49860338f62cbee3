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
use crate::guard::{Guard, GuardLayer};
use crate::lifecycle::Lifecycle;
use crate::start::StartError;
use crate::telemetry::{Observe, ObserveLayer};
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

/// Builds the stack, from the service outwards.
pub(crate) async fn build<L, M>(
    config: &Config,
    sources: &Sources,
    (outer, inner): (&L, &M),
    life: &Arc<Lifecycle>,
) -> Result<Observe<L::Service>, StartError>
where
    M: Layer<Proxy>,
    L: Layer<Core<M::Service>>,
{
    let upstream = Upstream::new(config).await?;
    show_services(&upstream, life);
    let proxy = assertion(&config.identity, sources).layer(upstream);
    let store = store(config, sources).await?;
    let api = api(config, sources, life, store.clone())?;
    life.explain_by(Explainer::of(api.clone()));
    let detached = api.clone();
    life.wait_for(move |within| {
        let (detached, store) = (detached.clone(), store.clone());
        async move {
            let left = detached.drained(within).await;
            flush(&store).await;
            left
        }
    });
    let guard = GuardLayer::new(config, Arc::clone(&sources.clock));
    let shown = guard.clone();
    life.gauges().show(
        "vestibule_shed_share",
        "Share of the requests that is refused because the process is late.",
        move || shown.share(),
    );
    let stack = outer.layer(guard.layer(api.layer(inner.layer(proxy))));
    Ok(ObserveLayer::new(life.metrics().clone()).layer(stack))
}

fn show_services(upstream: &Upstream, life: &Lifecycle) {
    let services = upstream.clone();
    life.gauges().show(
        "vestibule_upstreams_well",
        "Services behind the sidecar that get requests.",
        move || services.services().1 as f64,
    );
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

fn api(
    config: &Config,
    sources: &Sources,
    life: &Arc<Lifecycle>,
    store: Store,
) -> Result<ApiLayer<Store, StoreKeyring>, StartError> {
    let keys = keyring(config, &store, sources)?;
    let keys = keys.observed(Arc::new(life.metrics().clone()));
    let shown = keys.clone();
    let observer = Arc::new(life.metrics().clone());
    let mut builder = builder(config, sources, store, keys).observe_store(observer);
    if config.keys.source == KeySource::Store {
        let last_used = LastUsed::new(Arc::clone(&sources.clock));
        builder = builder.last_used(last_used.clone());
        tokio::spawn(last_used.write_to(shown.clone()));
        life.manage(shown.clone());
    }
    let api = builder.build().map_err(|fault| unfit(config, &fault))?;
    show(life, &api, &shown);
    Ok(api)
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

/// Shows how the stores are.
fn show(life: &Lifecycle, api: &ApiLayer<Store, StoreKeyring>, keys: &StoreKeyring) {
    let gauges = life.gauges();
    let held = keys.clone();
    gauges.show(
        "vestibule_key_record_age_seconds",
        "How long ago the record of the last key that was looked up was known to be the newest.",
        move || held.age().as_secs_f64(),
    );
    let held = api.clone();
    gauges.show(
        "vestibule_store_cut_off",
        "Whether the store is left alone for the moment, after failures in a row.",
        move || f64::from(u8::from(held.store_is_cut_off())),
    );
    let held = keys.clone();
    gauges.show(
        "vestibule_key_store_lost",
        "Whether the last look-up of a key got no answer.",
        move || f64::from(u8::from(held.is_lost())),
    );
    let held = api.clone();
    gauges.show(
        "vestibule_keyed_requests_running",
        "Keyed requests that run, whether somebody waits for them or not.",
        move || held.tasks().running() as f64,
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
