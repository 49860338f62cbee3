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
        let address = placed(entry.string()?, folder);
        Ok(Self { address, line })
    }

    /// One that is named beside a configuration.
    pub(super) fn named(address: String, config: &Path) -> Self {
        let folder = config.parent().unwrap_or_else(|| Path::new(""));
        Self {
            address: placed(address, folder),
            line: 1,
        }
    }

    /// The one that is used where none is named.
    pub(super) fn beside(folder: &Path) -> Self {
        Self {
            address: file(folder, DEFAULT),
            line: 1,
        }
    }
}

/// The address, in which a file is named from this folder.
fn placed(address: String, folder: &Path) -> String {
    match address.strip_prefix(FILE) {
        Some(path) if !path.is_empty() => file(folder, path),
        _ => address,
    }
}

fn file(folder: &Path, path: &str) -> String {
    format!("{FILE}{}", folder.join(path).display())
}

const FILE: &str = "file:";

/// Its name says whose it is.
const DEFAULT: &str = "vestibule.redb";
