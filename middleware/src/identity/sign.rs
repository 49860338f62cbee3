//! Making assertions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, Uri};
use jsonwebtoken::{EncodingKey, Header};

use super::claims::{Asserted, Claims, LIFE_MAX, Life};
use super::secret::Secret;
use super::verify::TOKEN_MAX;
use crate::clock::Timestamp;
use crate::context::CorrelationId;
use crate::entropy::{SharedEntropy, SystemEntropy};

/// Signs who is calling. Cheap to clone.
#[derive(Clone)]
pub struct Signer {
    header: Header,
    key: Option<EncodingKey>,
    issuer: Arc<str>,
    audience: Arc<str>,
    life: Duration,
    entropy: SharedEntropy,
}

/// Why there is no assertion.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Who is calling takes more than 8 KiB to say: too many scopes or agents.
    #[error("the assertion has {0} bytes; it may have 8192")]
    TooLong(usize),
    /// The key only verifies, or cannot be used.
    #[error("the assertion cannot be signed")]
    Unsigned(#[source] Option<jsonwebtoken::errors::Error>),
}

// === impl Signer ===

impl Signer {
    /// Signs with this key: issuer `vestibule`, audience `upstream`, a life of 30 s.
    pub fn new(secret: Secret) -> Self {
        Self {
            header: secret.header(),
            key: secret.into_signing(),
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
            life: LIFE,
            entropy: SystemEntropy::shared(),
        }
    }

    /// Who signs; the verifier is told the same. Default: `vestibule`.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<Arc<str>>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// For whom; two services that share a secret take nothing meant for the other.
    /// Default: `upstream`.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<Arc<str>>) -> Self {
        self.audience = audience.into();
        self
    }

    /// How long a token is good for: from 1 s to 5 min. Default: 30 s.
    #[must_use]
    pub fn life(mut self, life: Duration) -> Self {
        self.life = life.clamp(Duration::from_secs(1), LIFE_MAX);
        self
    }

    /// Where the ids of tokens come from. Default: the thread's generator.
    #[must_use]
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// A correlation id for a request that came without one.
    pub(super) fn mint_id(&self, now: Timestamp) -> CorrelationId {
        CorrelationId::mint(now, self.entropy.draw())
    }

    /// The value of `Vestibule-Identity` for this request.
    ///
    /// # Errors
    ///
    /// [`SignError`] where the token is too long, or the key is a public one.
    pub fn sign(
        &self,
        asserted: &Asserted,
        method: &Method,
        uri: &Uri,
        now: Timestamp,
    ) -> Result<HeaderValue, SignError> {
        let parties = (&*self.issuer, &*self.audience);
        let life = Life {
            now,
            length: self.life,
        };
        let claims = Claims::new(asserted, parties, (method, uri), life, self.entropy.draw());
        let key = self.key.as_ref().ok_or(SignError::Unsigned(None))?;
        let token = jsonwebtoken::encode(&self.header, &claims, key)
            .map_err(|error| SignError::Unsigned(Some(error)))?;
        if token.len() > TOKEN_MAX {
            return Err(SignError::TooLong(token.len()));
        }
        let mut value = HeaderValue::try_from(token).expect("base64url and dots are visible ASCII");
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key", &self.header.kid)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

pub(super) const ISSUER: &str = "vestibule";
pub(super) const AUDIENCE: &str = "upstream";

/// Long enough for a slow upstream to begin, short enough that a token found in a dump
/// is good for nothing.
const LIFE: Duration = Duration::from_secs(30);
