//! `store`: where counters and records are kept.

use std::path::Path;

use super::error::ConfigError;
use super::value::Entry;

/// Where counters and records are kept.
///
/// `file:PATH`, which outlasts the process and belongs to one at a time; `redis://HOST` and
/// its kin, or `postgres://HOST/DATABASE`, which several share; or `memory:`, which ends with
/// the process, and with it what protects a repeated request from being executed twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The address, in which a file is named from the folder of the configuration.
    pub address: String,
    /// The line on which it stands, for faults that are found when it is opened.
    pub line: usize,
}

// === impl Store ===

impl Store {
    pub(super) fn parse(entry: Entry<'_>, folder: &Path) -> Result<Self, ConfigError> {
        let line = entry.line();
        let address = match entry.string()? {
            address if address.len() == FILE.len() => address,
            address => match address.strip_prefix(FILE) {
                Some(path) => file(folder, path),
                None => address,
            },
        };
        Ok(Self { address, line })
    }

    /// The one that is used where none is named.
    pub(super) fn beside(folder: &Path) -> Self {
        Self {
            address: file(folder, DEFAULT),
            line: 1,
        }
    }
}

fn file(folder: &Path, path: &str) -> String {
    format!("{FILE}{}", folder.join(path).display())
}

const FILE: &str = "file:";

/// Its name says whose it is.
const DEFAULT: &str = "vestibule.redb";
