//! Another configuration in the place of the one in force, as a whole or not at all, without a
//! restart.
//!
//! On SIGHUP, and when the file or one that it names has changed, the configuration is read
//! anew. Where a key that needs a restart is another one, or anything is wrong, all of it is
//! refused and the log says why; the one in force goes on. Otherwise a new stack takes the
//! place of the old one: requests that are under way end on the old one, the next request of
//! every connection is the new one's. What was counted, kept and begun lasts.

pub(crate) mod difference;
mod follow;
mod keys;

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tower_layer::Layer;

use self::difference::Difference;
use self::follow::{Follower, Stamp, stamp};
pub(crate) use self::keys::OF_UPSTREAM;
use crate::config::{Config, ConfigError};
use crate::lifecycle::Lifecycle;
use crate::newest::Newest;
use crate::stack::{Core, Parts, Proxy, Sources};
use crate::start::StartError;
use crate::telemetry::{Observe, Side};
use crate::terms::Terms;

/// A sidecar that serves, and what is replaced in it.
pub(crate) struct Reloading<L, M, S> {
    pub(crate) config: Config,
    pub(crate) sources: Sources,
    pub(crate) layers: (L, M),
    pub(crate) parts: Newest<Parts>,
    pub(crate) stack: Newest<Observe<S>>,
    pub(crate) terms: Newest<Arc<Terms>>,
    pub(crate) admin_terms: Newest<Arc<Terms>>,
    pub(crate) life: Arc<Lifecycle>,
}

/// Why another configuration is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Faults(#[from] ConfigError),
    #[error("it needs a restart, because other values are in {0}")]
    Fixed(Difference),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// How the last attempt went, for gauges.
#[derive(Debug)]
struct Outcome {
    good: AtomicBool,
    /// Unix seconds of the last one that was taken.
    at: AtomicU64,
}

// === impl Reloading ===

impl<L, M, S> Reloading<L, M, S>
where
    M: Layer<Proxy> + Send + Sync + 'static,
    L: Layer<Core<M::Service>, Service = S> + Send + Sync + 'static,
    S: Clone + Send + 'static,
{
    /// Takes another configuration whenever there is one, for as long as the process lives.
    pub(crate) async fn run(mut self, mut hangups: Option<Signal>) {
        let outcome = self.shown();
        let mut follower = Follower::default();
        let mut said = None;
        loop {
            let is_told = tokio::select! {
                () = hung_up(hangups.as_mut()) => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let stamp = self.stamp().await;
            if !follower.saw(stamp) && !is_told {
                continue;
            }
            let taken = self.reload().await;
            outcome.note(taken.is_ok(), &self.sources);
            // What was read may be newer than the stamp; the next look tells.
            follower.tried(stamp, taken.is_ok());
            let refusal = taken.as_ref().err().map(ToString::to_string);
            // Nothing new is told only to who asks.
            let is_news = match &taken {
                Ok(difference) => !difference.is_empty(),
                Err(_) => refusal != said,
            };
            if is_told || is_news {
                tell(&taken);
            }
            said = refusal;
        }
    }

    /// Reads the configuration anew, and goes by it from here on.
    async fn reload(&mut self) -> Result<Difference, Refusal> {
        let old = self.config.clone();
        let read = tokio::task::spawn_blocking(move || old.reread()).await;
        // One that was read from no file, or a runtime that ends.
        let Ok(Some(read)) = read else {
            return Ok(Difference::default());
        };
        let new = read?;
        let difference = Difference::between(&self.config, &new);
        if let Some(fixed) = difference.fixed() {
            return Err(Refusal::Fixed(fixed));
        }
        // All that may fail comes before the first thing that changes.
        let parts = self.parts.get();
        let parts = parts.renewed(&new, &difference, &self.sources).await?;
        let (in_force, admin) = (self.terms.get(), Terms::of_admin(&new));
        let reloads = self.life.metrics().reloads(Side::Clients);
        let terms = in_force.renewed(&new, &difference, &reloads)?;
        if !terms.shows_what(&in_force) {
            terms.watch(self.life.gauges());
        }
        let stack = parts.stack((&self.layers.0, &self.layers.1));
        self.parts.put(parts);
        self.stack.put(stack);
        self.terms.put(Arc::new(terms));
        self.admin_terms.put(Arc::new(admin));
        self.life.drain_as(new.drain);
        self.life.shown().configured(&new);
        if difference.touches(&["log.level"])
            && let Some(log) = self.life.shown().log()
        {
            log.set_level(&new.log.level);
        }
        self.config = new;
        Ok(difference)
    }

    async fn stamp(&self) -> Stamp {
        let files = self.config.files();
        let stamp = tokio::task::spawn_blocking(move || stamp(&files));
        // It fails where the runtime ends, and with it all of this.
        stamp.await.unwrap_or_default()
    }

    fn shown(&self) -> Arc<Outcome> {
        let outcome = Arc::new(Outcome {
            good: AtomicBool::new(true),
            at: AtomicU64::new(0),
        });
        outcome.note(true, &self.sources);
        let (good, at) = (Arc::clone(&outcome), Arc::clone(&outcome));
        let gauges = self.life.gauges();
        gauges.show(
            "vestibule_config_last_reload_successful",
            "Whether the configuration that was read last is in force.",
            move || f64::from(u8::from(good.good.load(Ordering::Relaxed))),
        );
        gauges.show(
            "vestibule_config_last_reload_success_timestamp_seconds",
            "When the configuration in force was taken.",
            move || at.at.load(Ordering::Relaxed) as f64,
        );
        outcome
    }
}

// === impl Outcome ===

impl Outcome {
    fn note(&self, good: bool, sources: &Sources) {
        self.good.store(good, Ordering::Relaxed);
        if good {
            let now = sources.clock.now().as_unix_seconds();
            self.at.store(now, Ordering::Relaxed);
        }
    }
}

/// For SIGHUP, which would otherwise end the process.
pub(crate) fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup()).ok()
}

async fn hung_up(hangups: Option<&mut Signal>) {
    let told = match hangups {
        Some(hangups) => hangups.recv().await,
        None => None,
    };
    if told.is_none() {
        std::future::pending().await
    }
}

/// Says in the log what came of it: each fault by itself.
fn tell(taken: &Result<Difference, Refusal>) {
    let refused = |why: &dyn Display| tracing::warn!("{why}");
    match taken {
        Ok(difference) if difference.is_empty() => {
            tracing::info!("the configuration was read anew: nothing is another");
        }
        Ok(difference) => tracing::info!(%difference, "another configuration is in force"),
        Err(Refusal::Faults(error)) => error.faults().iter().for_each(|fault| refused(fault)),
        Err(refusal) => refused(refusal),
    }
    if taken.is_err() {
        tracing::warn!("the new configuration is not taken; the one in force goes on");
    }
}

/// Two looks make a second.
const LOOK: Duration = Duration::from_millis(500);
