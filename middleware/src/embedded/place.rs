//! Where a record lies in the tables.

use super::usage::Load;
use crate::idempotency::Owner;

/// Where a record lies: its caller, a zero byte and its key. A key is printable, so the
/// last zero byte ends the caller, whatever that is made of.
pub(super) struct Place(Vec<u8>);

// === impl Place ===

impl Place {
    pub(super) fn of(owner: &Owner) -> Self {
        let (caller, key) = (owner.caller.as_str().as_bytes(), owner.key.as_bytes());
        Self([caller, &[0], key].concat())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn caller(&self) -> &[u8] {
        caller(&self.0)
    }

    /// What a record of so many bytes takes here.
    pub(super) fn load(&self, bytes: usize) -> Load {
        Load::of(bytes + 2 * self.0.len() + OVERHEAD)
    }
}

/// The caller whose place this is.
pub(super) fn caller(place: &[u8]) -> &[u8] {
    let end = place.iter().rposition(|byte| *byte == 0);
    &place[..end.unwrap_or(place.len())]
}

/// A record's part of two tables' pages, roughly.
const OVERHEAD: usize = 64;
