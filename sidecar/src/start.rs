//! Why a sidecar does not start.

use std::io;
use std::path::PathBuf;

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
    /// The sockets of the process that runs cannot be taken over.
    #[error("cannot take over from the process at {}", path.display())]
    Upgrade {
        /// The path of `upgrade_sock`.
        path: PathBuf,
        /// What the system or that process says.
        source: io::Error,
    },
    /// The thread of the sidecar ended before it was ready.
    #[error("the sidecar ended while it started")]
    Ended,
}
