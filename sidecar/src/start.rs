//! Why a sidecar does not start.

use std::io;

use vestibule::api_key::KeysError;

use crate::config::{Address, ConfigError, Target};

/// Why a sidecar does not start: a sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration asks for what cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys cannot be read.
    #[error("the keys cannot be read")]
    Keys(#[from] KeysError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address of `listen` or `admin`.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// The service cannot be looked up.
    #[error("the upstream {target} cannot be looked up")]
    Upstream {
        /// The service of `upstream`.
        target: Target,
        /// What the system says.
        source: io::Error,
    },
    /// The thread of the sidecar ended before it was ready.
    #[error("the sidecar ended while it started")]
    Ended,
}
