//! What assertions are signed with, and verified by.

use std::fmt;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use sha2::{Digest as _, Sha256};

/// A key to sign and verify assertions with.
///
/// The default is a secret that both sides share, for HMAC-SHA-256. With Ed25519 only
/// the signing side holds a secret; it costs about 100 µs a request. Its id is derived
/// from the key, so that two keys can be in use while one takes the other's place.
#[derive(Clone)]
pub struct Secret {
    algorithm: Algorithm,
    id: String,
    signing: Option<EncodingKey>,
    verifying: DecodingKey,
}

/// A key that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// It is no Ed25519 key in PEM: PKCS#8 for signing, SPKI for verifying.
    #[error("the key is not an Ed25519 key in PEM")]
    NotEd25519,
    /// It is shorter than what it is hashed to, and could be searched for.
    #[error("the secret has {0} bytes; it must have 32 or more")]
    TooShort(usize),
}

// === impl Secret ===

impl Secret {
    /// A secret of at least 32 bytes that both sides share.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`] where it is shorter.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, InvalidSecret> {
        let secret = secret.as_ref();
        if secret.len() < SECRET_MIN {
            return Err(InvalidSecret::TooShort(secret.len()));
        }
        Ok(Self {
            algorithm: Algorithm::HS256,
            id: id_of(secret),
            signing: Some(EncodingKey::from_secret(secret)),
            verifying: DecodingKey::from_secret(secret),
        })
    }

    /// A private Ed25519 key (PKCS#8 in PEM): signs, and verifies too.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`] where it is none.
    pub fn ed25519_private(pem: impl AsRef<[u8]>) -> Result<Self, InvalidSecret> {
        let public = |signing: &EncodingKey| {
            DecodingKey::from_jwk(&Jwk::from_encoding_key(signing, Algorithm::EdDSA)?)
        };
        let signing = EncodingKey::from_ed_pem(pem.as_ref());
        let signing = signing.map_err(|_| InvalidSecret::NotEd25519)?;
        let verifying = public(&signing).map_err(|_| InvalidSecret::NotEd25519)?;
        Self::ed25519(Some(signing), verifying)
    }

    /// A public Ed25519 key (SPKI in PEM): verifies only.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`] where it is none.
    pub fn ed25519_public(pem: impl AsRef<[u8]>) -> Result<Self, InvalidSecret> {
        let verifying = DecodingKey::from_ed_pem(pem.as_ref());
        Self::ed25519(None, verifying.map_err(|_| InvalidSecret::NotEd25519)?)
    }

    fn ed25519(
        signing: Option<EncodingKey>,
        verifying: DecodingKey,
    ) -> Result<Self, InvalidSecret> {
        let public = verifying.try_get_as_bytes().unwrap_or_default();
        // The verifier takes the first 32 bytes without counting them.
        if public.len() != ED25519_PUBLIC_LEN {
            return Err(InvalidSecret::NotEd25519);
        }
        Ok(Self {
            algorithm: Algorithm::EdDSA,
            id: id_of(public),
            signing,
            verifying,
        })
    }

    /// The id under which a verifier knows this key; it tells nothing of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether assertions can be signed with it.
    pub const fn is_signing(&self) -> bool {
        self.signing.is_some()
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The half that signs; a public key has none.
    pub(super) fn into_signing(self) -> Option<EncodingKey> {
        self.signing
    }

    /// The half that verifies.
    pub(super) fn into_verifying(self) -> DecodingKey {
        self.verifying
    }

    /// The one header that tokens under this key have.
    pub(super) fn header(&self) -> Header {
        Header {
            kid: Some(self.id.clone()),
            ..Header::new(self.algorithm)
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("algorithm", &self.algorithm)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// 64 bits of a digest for this purpose alone: enough to tell two keys apart.
fn id_of(key: &[u8]) -> String {
    let digest = Sha256::new_with_prefix(b"vestibule identity key id\0").chain_update(key);
    hex::encode(&digest.finalize()[..8])
}

/// RFC 7518 §3.2: a key for HMAC-SHA-256 has at least the length of its output.
const SECRET_MIN: usize = 32;

const ED25519_PUBLIC_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_32_bytes_or_more() {
        for length in [0, 1, 31] {
            let refused = Secret::new(vec![7; length]).unwrap_err();
            assert_eq!(refused, InvalidSecret::TooShort(length));
        }
        assert!(Secret::new([7; 32]).is_ok());
    }

    #[test]
    fn both_halves_of_an_ed25519_key_have_one_id() {
        let private = Secret::ed25519_private(PRIVATE).unwrap();
        let public = Secret::ed25519_public(PUBLIC).unwrap();
        assert_eq!(private.id(), public.id());
        assert!(private.is_signing() && !public.is_signing());
    }

    #[test]
    fn what_is_no_ed25519_key_is_refused() {
        for pem in ["", "canary", PUBLIC] {
            assert!(Secret::ed25519_private(pem).is_err(), "{pem}");
        }
        for pem in ["", "canary", PRIVATE] {
            assert!(Secret::ed25519_public(pem).is_err(), "{pem}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!(
            "{:?}",
            Secret::new(b"canary-canary-canary-canary-canary").unwrap()
        );
        assert!(!shown.contains("canary") && shown.contains("id"), "{shown}");
    }

    /// The published pair of RFC 8410 §10.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----";
}
