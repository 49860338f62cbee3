//! The stack of the edge, built from the configuration inside the edge's runtime.

use std::sync::Arc;

use tower_layer::Layer;
use vestibule::clock::SharedClock;
use vestibule::entropy::SharedEntropy;
use vestibule::identity::{Assert, AssertLayer, Secret, Signer};

use crate::config::{Config, Identity};
use crate::lifecycle::Lifecycle;
use crate::start::StartError;
use crate::upstream::Upstream;

/// What proxies, and tells the service who is calling.
pub type Proxy = Assert<Upstream>;

/// The layers of the API around what proxies.
pub type Core<S> = S;

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
    outer: &L,
    inner: &M,
    life: &Arc<Lifecycle>,
) -> Result<L::Service, StartError>
where
    M: Layer<Proxy>,
    L: Layer<Core<M::Service>>,
{
    let upstream = Upstream::new(config)
        .await
        .map_err(|source| StartError::Upstream {
            target: config.upstream.clone(),
            source,
        })?;
    let signer = Signer::new(secret(&config.identity, sources)).entropy(sources.entropy.clone());
    let proxy = AssertLayer::new(signer, sources.clock.clone()).layer(upstream);
    let _ = life;
    Ok(outer.layer(inner.layer(proxy)))
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
