//! Believing assertions.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, Uri};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};

use super::claims::{Asserted, Claims};
use super::secret::Secret;
use super::sign::{AUDIENCE, ISSUER};
use crate::clock::Timestamp;
use crate::error::ApiError;
use crate::header::{self, VESTIBULE_IDENTITY};

/// Verifies assertions under a fixed set of keys. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    keys: Arc<[Known]>,
    issuer: Arc<str>,
    audience: Arc<str>,
}

/// Why an assertion is not believed. It is logged; the caller is told 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is for somebody else.
    #[error("its audience is another")]
    Audience,
    /// A claim is missing, is there twice, or is not what it should be.
    #[error("its claims are malformed")]
    Claims,
    /// Its time has not begun.
    #[error("it is not good yet")]
    Early,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its header is none that our keys produce: another algorithm, key id or field.
    #[error("its header is not that of a known key")]
    Header,
    /// It comes from somebody else.
    #[error("its issuer is another")]
    Issuer,
    /// It was made for another method, path or query.
    #[error("it was made for another request")]
    OtherRequest,
    /// It is over 8 KiB, or is not three parts with dots between them.
    #[error("it is not a token")]
    Shape,
    /// It was not signed with the key that it names, or was changed since.
    #[error("its signature does not hold")]
    Signature,
    /// It would live longer than any signer allows.
    #[error("it lives too long")]
    TooLong,
}

/// A key and the one header that its tokens have, encoded as it is in a token.
struct Known {
    header: Box<str>,
    id: Box<str>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The parts of a token, as they came.
struct Token<'a> {
    signed: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

// === impl Verifier ===

impl Verifier {
    /// Believes what is signed with one of these: issuer `vestibule`, audience `upstream`.
    ///
    /// Two keys are in use while one takes the other's place.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        Self {
            keys: secrets.into_iter().map(Known::new).collect(),
            issuer: ISSUER.into(),
            audience: AUDIENCE.into(),
        }
    }

    /// Who must have signed. Default: `vestibule`.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<Arc<str>>) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// For whom it must be. Default: `upstream`.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<Arc<str>>) -> Self {
        self.audience = audience.into();
        self
    }

    /// What a token asserts about the request that it came with.
    ///
    /// # Errors
    ///
    /// [`Refused`]: the first reason found not to believe it.
    pub fn verify(
        &self,
        token: &[u8],
        method: &Method,
        uri: &Uri,
        now: Timestamp,
    ) -> Result<Asserted, Refused> {
        let token = Token::split(token)?;
        let known = self.known(token.header).ok_or(Refused::Header)?;
        let payload = token.opened_with(known)?;
        let claims: Claims<'_> = serde_json::from_slice(&payload).map_err(|_| Refused::Claims)?;
        if claims.iss != *self.issuer {
            return Err(Refused::Issuer);
        }
        if claims.aud != *self.audience {
            return Err(Refused::Audience);
        }
        claims.admit(method, uri, now)
    }

    /// What the assertion in these headers asserts; none where there is none.
    ///
    /// # Errors
    ///
    /// 503 `auth_store_unavailable` where it is refused or sent twice. The reason is
    /// logged: a caller can do nothing about it but come back.
    pub fn examine(
        &self,
        headers: &HeaderMap,
        (method, uri): (&Method, &Uri),
        now: Timestamp,
    ) -> Result<Option<Asserted>, ApiError> {
        if !headers.contains_key(VESTIBULE_IDENTITY) {
            return Ok(None);
        }
        header::single(headers, &VESTIBULE_IDENTITY)
            .ok_or(Refused::Shape)
            .and_then(|token| self.verify(token.as_bytes(), method, uri, now))
            .map(Some)
            .map_err(|reason| {
                tracing::warn!(%reason, "an identity assertion is refused");
                ApiError::auth_store_unavailable()
            })
    }

    /// The key whose tokens have this header. Nothing is decoded for it.
    fn known(&self, header: &str) -> Option<&Known> {
        self.keys.iter().find(|known| *known.header == *header)
    }
}

impl From<Secret> for Verifier {
    fn from(secret: Secret) -> Self {
        Self::new([secret])
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|known| &*known.id).collect();
        f.debug_struct("Verifier")
            .field("keys", &ids)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish()
    }
}

// === impl Known ===

impl Known {
    fn new(secret: Secret) -> Self {
        let header = serde_json::to_vec(&secret.header());
        let header = header.expect("a header of plain texts can be written as JSON");
        Self {
            header: URL_SAFE_NO_PAD.encode(header).into(),
            id: secret.id().into(),
            algorithm: secret.algorithm(),
            key: secret.into_verifying(),
        }
    }
}

// === impl Token ===

impl<'a> Token<'a> {
    fn split(token: &'a [u8]) -> Result<Self, Refused> {
        if token.len() > TOKEN_MAX {
            return Err(Refused::Shape);
        }
        let text = str::from_utf8(token).map_err(|_| Refused::Shape)?;
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Shape)?;
        let (header, payload) = signed.split_once('.').ok_or(Refused::Shape)?;
        if payload.contains('.') {
            return Err(Refused::Shape);
        }
        Ok(Self {
            signed,
            header,
            payload,
            signature,
        })
    }

    /// The payload, once the signature has held.
    fn opened_with(&self, known: &Known) -> Result<Vec<u8>, Refused> {
        let signed = self.signed.as_bytes();
        let holds = crypto::verify(self.signature, signed, &known.key, known.algorithm);
        if !matches!(holds, Ok(true)) {
            return Err(Refused::Signature);
        }
        URL_SAFE_NO_PAD
            .decode(self.payload)
            .map_err(|_| Refused::Claims)
    }
}

/// A header, a correlation id and all claims fit, with 2 KiB each of scopes and agents;
/// more is not worth decoding (5 MB take a second).
pub(super) const TOKEN_MAX: usize = 8192;
