//! API keys: who is calling, told by a secret of which only a digest is stored.
#![doc = include_str!("keys.md")]

mod authenticator;
mod cached;
mod digest;
mod key;
mod keyring;
mod keys;
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
pub use self::layer::AuthenticateLayer;
pub use self::record::{KeyRecord, KeyRecordBuilder, Refusal};
pub use self::service::Authenticate;

#[cfg(test)]
mod tests;
