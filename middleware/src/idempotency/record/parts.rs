//! A record taken apart and put together again, for a store that writes it down.

use super::{Record, State};
use crate::clock::Timestamp;
use crate::context::{CorrelationId, Fingerprint};

/// All that a record is made of.
#[derive(Clone)]
pub(in crate::idempotency) struct Parts {
    pub(in crate::idempotency) fingerprint: Fingerprint,
    pub(in crate::idempotency) original: CorrelationId,
    pub(in crate::idempotency) token: u128,
    pub(in crate::idempotency) state: State,
    pub(in crate::idempotency) expires: Timestamp,
}

// === impl Record ===

impl Record {
    /// Takes it apart.
    pub(in crate::idempotency) fn to_parts(&self) -> Parts {
        Parts {
            fingerprint: self.fingerprint,
            original: self.original.clone(),
            token: self.token,
            state: self.state.clone(),
            expires: self.expires,
        }
    }

    /// Puts together what was taken apart.
    pub(in crate::idempotency) fn from_parts(parts: Parts) -> Self {
        Self {
            fingerprint: parts.fingerprint,
            original: parts.original,
            token: parts.token,
            state: parts.state,
            expires: parts.expires,
        }
    }
}
