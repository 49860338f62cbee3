//! The layer that asks for an API key.

use tower_layer::Layer;

use super::authenticator::Authenticator;
use super::digest::Peppers;
use super::key::KeyFormat;
use super::service::Authenticate;
use crate::clock::SharedClock;

/// Layer that applies [`Authenticate`].
///
/// See the [module docs](super) for an example.
#[derive(Clone, Debug)]
pub struct AuthenticateLayer<K> {
    authenticator: Authenticator<K>,
}

// === impl AuthenticateLayer ===

impl<K> AuthenticateLayer<K> {
    /// Looks keys up in this keyring.
    pub fn new(keyring: K) -> Self {
        Authenticator::new(keyring).into()
    }

    /// The keys that are accepted. Default: ours, of every brand and environment.
    #[must_use]
    pub fn format(self, format: KeyFormat) -> Self {
        self.authenticator.format(format).into()
    }

    /// The peppers that digests are made with. Default: none, plain SHA-256.
    #[must_use]
    pub fn peppers(self, peppers: Peppers) -> Self {
        self.authenticator.peppers(peppers).into()
    }

    /// Refuses revoked and expired keys under codes of their own. Default: off.
    #[must_use]
    pub fn separate_codes(self) -> Self {
        self.authenticator.separate_codes().into()
    }

    /// What expiry and revocation are judged by. Default: the machine's clock.
    #[must_use]
    pub fn clock(self, clock: SharedClock) -> Self {
        self.authenticator.clock(clock).into()
    }
}

impl<K> From<Authenticator<K>> for AuthenticateLayer<K> {
    fn from(authenticator: Authenticator<K>) -> Self {
        Self { authenticator }
    }
}

impl<S, K: Clone> Layer<S> for AuthenticateLayer<K> {
    type Service = Authenticate<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate::new(inner, self.authenticator.clone())
    }
}
