//! Why a step was not taken.

use std::error::Error;
use std::sync::Arc;

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct StoreError {
    step: &'static str,
    is_overload: bool,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

// === impl StoreError ===

impl StoreError {
    /// A step failed for this reason.
    pub fn failed(step: &'static str, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            step,
            is_overload: false,
            cause: Some(cause.into()),
        }
    }

    /// There is no room for another step.
    pub const fn overloaded(step: &'static str) -> Self {
        Self {
            step,
            is_overload: true,
            cause: None,
        }
    }

    /// A step failed together with others, for this reason.
    pub(super) fn shared(step: &'static str, cause: &Arc<Self>) -> Self {
        Self {
            step,
            is_overload: cause.is_overload,
            cause: Some(Arc::clone(cause).into()),
        }
    }

    /// Whether a statement was refused, so that the step has changed nothing.
    pub(super) fn is_refusal(&self) -> bool {
        let mut cause = self.source();
        while let Some(error) = cause {
            if matches!(error.downcast_ref(), Some(sqlx::Error::Database(_))) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Whether the step may succeed as soon as others are done.
    pub const fn is_overload(&self) -> bool {
        self.is_overload
    }
}
