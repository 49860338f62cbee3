//! A record taken apart and put together again, for a store that writes it down.

use super::{Record, State};
use crate::clock::Timestamp;
use crate::context::{CorrelationId, Fingerprint};

/// All that a record is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) original: CorrelationId,
    pub(crate) token: u128,
    pub(crate) state: State,
    pub(crate) expires: Timestamp,
}

// === impl Record ===

impl Record {
    /// Takes it apart.
    pub(crate) fn to_parts(&self) -> Parts {
        Parts {
            fingerprint: self.fingerprint,
            original: self.original.clone(),
            token: self.token,
            state: self.state.clone(),
            expires: self.expires,
        }
    }

    /// Puts together what was taken apart.
    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self {
            fingerprint: parts.fingerprint,
            original: parts.original,
            token: parts.token,
            state: parts.state,
            expires: parts.expires,
        }
    }
}
