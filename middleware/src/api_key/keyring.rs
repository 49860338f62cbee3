//! Where key records come from.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use super::digest::Digest;
use super::record::KeyRecord;
use crate::error::StoreError;
use crate::principal::Principal;

/// A store of key records.
///
/// **Who calls.** [`Authenticator`](super::Authenticator), once a request and candidate
/// digest, after the key has passed its offline checks: what arrives here was once made
/// by us (or is an opaque key, where those are on).
///
/// **What a wrong answer costs.** A record that is not the newest lets a revoked key in,
/// or holds a raised limit back, for as long as the answer is old. `None` for a key that
/// exists locks its owner out with a 401, which clients do not retry. A record of another
/// key is caught: the digest is confirmed by the caller.
///
/// **When the store is lost.** Answer [`StoreError`], never `None`: the caller then
/// gets a 503 and comes back. Put [`Cached`](super::Cached) around a keyring that asks
/// over a network; it adds the deadline, and goes on with what it has seen for a while.
///
/// Reading has no effect, so it may be repeated at will.
pub trait Keyring: Clone + Send + Sync + 'static {
    /// The record whose key has this digest.
    fn find(
        &self,
        digest: &Digest,
    ) -> impl Future<Output = Result<Option<Arc<KeyRecord>>, StoreError>> + Send;

    /// The record as it is now, of a caller whose record was found to have changed since.
    ///
    /// Asked after a charge was answered [`Outdated`](crate::rate_limit::Charge::Outdated),
    /// and so only of a keyring that makes [tracked](super::KeyRecordBuilder::tracked)
    /// records. The answer must not come from a memory of this process.
    fn reread(
        &self,
        principal: &Principal,
    ) -> impl Future<Output = Result<Option<Arc<KeyRecord>>, StoreError>> + Send {
        let _untracked = principal;
        ready(Err(StoreError::not_sent()))
    }

    /// How old the answer to the last look-up was: since then a change may have been
    /// missed. Zero where every look-up asks whoever knows.
    fn age(&self) -> Duration {
        Duration::ZERO
    }
}
