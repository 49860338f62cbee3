//! API keys: who is calling, told by a secret of which only a digest is stored.
//!
//! # Example
//!
//! ```
//! use std::convert::Infallible;
//!
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//! use vestibule::Principal;
//! use vestibule::api_key::{ApiKey, AuthenticateLayer, KeyFormat, KeyRecord, Keys, Peppers};
//! use vestibule::entropy::SystemEntropy;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Handed out once; what stays here is a digest.
//! let key = ApiKey::mint("mk", "live", &SystemEntropy);
//! let record = KeyRecord::of(&key, &Peppers::none(), "key_1", "acc_1").scopes(["charges:read"]);
//! let layer = AuthenticateLayer::new(Keys::new([record.build()])?)
//!     .format(KeyFormat::new().brand("mk").environment("live"));
//!
//! let app = layer.layer(service_fn(|request: Request<()>| async move {
//!     let who: &Principal = request.extensions().get().expect("authentication is in front");
//!     assert_eq!(who.account(), "acc_1");
//!     Ok::<_, Infallible>(Response::new(()))
//! }));
//! let bearer = format!("Bearer {}", key.expose());
//! let request = Request::get("/").header("authorization", bearer).body(())?;
//! assert_eq!(app.clone().oneshot(request).await?.status(), 200);
//!
//! let response = app.oneshot(Request::get("/").body(())?).await?;
//! assert_eq!(response.status(), 401);
//! # Ok(())
//! # }
//! ```
//!
//! # What happens to a request
//!
//! | it has | then |
//! |---|---|
//! | a [`Principal`](crate::Principal) already, of a team's own making or asserted | passes as it is |
//! | matched a public route | passes, without a credential that looks like our key |
//! | one bearer key, well-formed, known, neither revoked nor expired | passes with its `Principal`, without its key |
//! | any other credential, or none | 401 `invalid_api_key`, and the message tells why |
//! | a key that the keyring cannot look up now | 503 `auth_store_unavailable`, never 401 |
//!
//! A mistyped key is refused by its checksum, before anything is looked up. A digest
//! that was found is confirmed in constant time. Whatever the keyring is, expiry and
//! revocation are judged here, against the [`Clock`](crate::clock::Clock).
//!
//! # Ordering
//!
//! Inside the correlation id, so that every refusal carries one; outside everything that
//! counts, claims or buffers, so that nothing of the kind is done for a stranger.
#![doc = include_str!("keys.md")]

mod authenticator;
mod cached;
mod digest;
mod key;
mod keyring;
mod keys;
mod keystore;
mod last_used;
mod layer;
mod record;
mod schema;
mod service;
mod watch;

pub use self::authenticator::Authenticator;
pub use self::cached::Cached;
pub use self::digest::{Digest, Pepper, Peppers, WeakPepper};
pub use self::key::{ApiKey, KeyError, KeyFormat};
pub use self::keyring::Keyring;
pub use self::keys::{Keys, KeysError};
pub use self::keystore::{KeyChange, KeyStore, KeyWriteError};
pub use self::last_used::LastUsed;
pub use self::layer::AuthenticateLayer;
pub use self::record::{KeyRecord, KeyRecordBuilder, Refusal};
pub use self::service::Authenticate;

#[cfg(test)]
mod tests;
