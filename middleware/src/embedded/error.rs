//! How the file fails.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::DatabaseError;

use crate::error::StoreError;

/// A file that cannot be opened as a store.
///
/// Its text names the file and says what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("the file {path:?} {fault}")]
pub struct OpenError {
    path: PathBuf,
    fault: Fault,
    source: Option<Cause>,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("is in use by another process, or by another store of this one")]
    InUse,
    #[error("is of format {0}, which this version does not know")]
    Format(u64),
    #[error("cannot be opened as a store: {0}")]
    Unusable(String),
}

/// A transaction that failed, told to all who waited for it.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing of it was applied.
    NotApplied(Cause),
    /// It may be on the disk.
    Unknown(Cause),
}

type Cause = Arc<dyn Error + Send + Sync>;

// === impl OpenError ===

impl OpenError {
    pub(super) fn database(path: &Path, cause: DatabaseError) -> Self {
        match cause {
            DatabaseError::DatabaseAlreadyOpen => Self::new(path, Fault::InUse, None),
            cause => Self::unusable(path, cause),
        }
    }

    pub(super) fn unusable(path: &Path, cause: impl Error + Send + Sync + 'static) -> Self {
        let fault = Fault::Unusable(cause.to_string());
        Self::new(path, fault, Some(Arc::new(cause)))
    }

    pub(super) fn format(path: &Path, found: u64) -> Self {
        Self::new(path, Fault::Format(found), None)
    }

    fn new(path: &Path, fault: Fault, source: Option<Cause>) -> Self {
        let path = path.to_owned();
        Self {
            path,
            fault,
            source,
        }
    }
}

// === impl WriteError ===

impl WriteError {
    pub(super) fn not_applied(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::NotApplied(Arc::new(cause))
    }

    pub(super) fn unknown(cause: redb::Error) -> Self {
        Self::Unknown(Arc::new(cause))
    }

    pub(super) fn cause(&self) -> &(dyn Error + Send + Sync) {
        match self {
            Self::NotApplied(cause) | Self::Unknown(cause) => cause,
        }
    }

    /// What each of those who waited is told.
    pub(super) fn told(&self) -> StoreError {
        match self {
            Self::NotApplied(cause) => StoreError::not_sent().because(Arc::clone(cause)),
            Self::Unknown(cause) => StoreError::unanswered().because(Arc::clone(cause)),
        }
    }
}
