//! `store`: where counters and records are kept.

use std::fmt;
use std::path::Path;

use super::entry::Entry;
use super::error::{Fault, Place};

/// Where counters and records are kept.
///
/// `file:PATH`, which outlasts the process and belongs to one at a time, and of which
/// `file:PATH?cache=32MB` keeps more in memory than the usual 16 MB; `redis://HOST` and
/// its kin, or `postgres://HOST/DATABASE`, which several share; or `memory:`, which ends with
/// the process, and with it what protects a repeated request from being executed twice.
#[derive(Clone, PartialEq, Eq)]
pub struct Store {
    /// The address, in which a file is named from the folder of the configuration.
    pub address: String,
    /// Where it stands, for faults that are found when it is opened.
    pub place: Place,
}

// === impl Store ===

impl Store {
    pub(super) fn parse(entry: &Entry<'_>) -> Result<Self, Fault> {
        Ok(Self {
            address: entry.word(|text| Ok::<_, &str>(placed(text, entry.folder())))?,
            place: entry.place(),
        })
    }

    /// One that is named beside a configuration.
    pub(super) fn named(address: &str, config: &Path) -> Self {
        let folder = config.parent().unwrap_or_else(|| Path::new(""));
        Self {
            address: placed(address, folder),
            place: Place::file(config),
        }
    }

    /// The one that is used where none is named.
    pub(super) fn beside(config: &Path) -> Self {
        Self::named(&format!("{FILE}{DEFAULT}"), config)
    }

    /// Whether one process at a time has it, and nobody else.
    pub(crate) fn is_owned(&self) -> bool {
        OWNED.iter().any(|kind| self.address.starts_with(kind))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("address", &open(&self.address))
            .field("place", &self.place)
            .finish()
    }
}

/// The address without what may be a secret: who connects, and options.
fn open(address: &str) -> String {
    let (address, options) = address.split_once('?').unwrap_or((address, ""));
    let mut shown = match address.split_once("://") {
        Some((kind, rest)) => match rest.rsplit_once('@') {
            Some((_, host)) => format!("{kind}://…@{host}"),
            None => address.to_owned(),
        },
        None => address.to_owned(),
    };
    if !options.is_empty() {
        shown.push_str("?…");
    }
    shown
}

/// The address, in which a file is named from this folder.
fn placed(address: &str, folder: &Path) -> String {
    match address.strip_prefix(FILE) {
        Some(path) if !path.is_empty() => format!("{FILE}{}", folder.join(path).display()),
        _ => address.to_owned(),
    }
}

/// What begins the addresses of stores that one process has to itself.
const OWNED: [&str; 2] = [FILE, "memory:"];

const FILE: &str = "file:";

/// Its name says whose it is.
const DEFAULT: &str = "vestibule.redb";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_where_a_store_is_and_no_secret() {
        for (address, want) in [
            ("memory:", "memory:"),
            ("redis://host:1/0", "redis://host:1/0"),
            ("rediss://user:canary@host:1", "rediss://…@host:1"),
            ("redis://:can@ary@host", "redis://…@host"),
            ("postgres://host/db?password=canary", "postgres://host/db?…"),
        ] {
            assert_eq!(open(address), want, "{address}");
            let store = Store::named(address, Path::new("c.toml"));
            assert!(!format!("{store:?}").contains("canary"), "{address}");
        }
    }
}
