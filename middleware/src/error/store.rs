//! How a store fails; what becomes of the request is decided by the layer that asked.

use std::error::Error;

/// A step at a store that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a failed step may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no room for another entry; nothing was changed.
    #[error("the store is full")]
    Full,
    /// The step never reached the store.
    #[error("the store was not asked")]
    NotSent,
    /// The step may have been applied, and its reply is lost.
    #[error("the store did not answer")]
    Unanswered,
}

// === impl StoreError ===

impl StoreError {
    /// No room.
    pub fn full() -> Self {
        Self {
            kind: StoreErrorKind::Full,
            source: None,
        }
    }

    /// Provably nothing happened.
    pub fn not_sent() -> Self {
        Self {
            kind: StoreErrorKind::NotSent,
            source: None,
        }
    }

    /// Nobody knows what happened.
    pub fn unanswered() -> Self {
        Self {
            kind: StoreErrorKind::Unanswered,
            source: None,
        }
    }

    /// The same, with its cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// What the step may have done.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}
