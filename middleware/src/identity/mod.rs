//! The signed assertion that tells an upstream who is calling.
//!
//! # Example
//!
//! ```
//! use http::{Method, Uri};
//! use vestibule::clock::{Clock, SystemClock};
//! use vestibule::identity::{Asserted, Secret, Signer, Verifier};
//! use vestibule::{CorrelationId, Principal};
//!
//! let secret = Secret::new(b"32 bytes or more, from a generator")?;
//! let (signer, verifier) = (Signer::new(secret.clone()), Verifier::new([secret]));
//! let now = SystemClock.now();
//! let uri = Uri::from_static("/v1/charges?page=2");
//! let asserted = Asserted {
//!     principal: Principal::builder("acc_1", "key_1").build(),
//!     correlation_id: CorrelationId::mint(now, 7),
//!     claim: None,
//! };
//! let token = signer.sign(&asserted, &Method::GET, &uri, now)?;
//!
//! let got = verifier.verify(token.as_bytes(), &Method::GET, &uri, now)?;
//! assert_eq!(got.principal, asserted.principal);
//! assert!(verifier.verify(token.as_bytes(), &Method::PUT, &uri, now).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The token
//!
//! The header `Vestibule-Identity` holds a JWT that lives for seconds and is good for one
//! method, path and query:
//!
//! | claim | meaning |
//! |---|---|
//! | `iss`, `aud` | who made it and for whom; both sides are told the same |
//! | `nbf`, `exp` | Unix seconds; [`LEEWAY`] is granted on either side |
//! | `jti` | 128 random bits in hex |
//! | `kid`, `fam`, `acc`, `env`, `scp`, `agt` | the [`Principal`](crate::Principal): key id, family, account, environment, scopes, agents |
//! | `cid` | the correlation id |
//! | `htm`, `htu` | method, and path with query; past 256 bytes `sha256:` and its digest |
//! | `idk`, `fpr`, `lse` | keyed requests: Idempotency-Key, fingerprint in hex, end of the lease in Unix milliseconds |
//!
//! # What is refused, and how
//!
//! The verifier knows the one header that each of its secrets produces and *compares* it:
//! no byte of a token is decoded before its signature has held, and `none`, another
//! algorithm, an unknown key id, `jku`, `jwk`, `x5u`, `x5c` and `crit` are all the same
//! thing, another header. Tokens over 8 KiB are not looked at. A refused assertion is
//! answered 503, never 401: the client's key is good, and it should come back.

mod assert;
mod claims;
mod future;
mod secret;
mod sign;
mod trust;
mod verify;

pub use self::assert::{Assert, AssertLayer};
pub use self::claims::{Asserted, LEEWAY};
pub use self::future::ResponseFuture;
pub use self::secret::{InvalidSecret, Secret};
pub use self::sign::{SignError, Signer};
pub use self::trust::{Trust, TrustLayer};
pub use self::verify::{Refused, Verifier};

#[cfg(test)]
mod tests;
