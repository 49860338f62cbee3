//! `upgrade_sock`: where a new process finds the one that it takes over from.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::store::Store;
use super::value::Entry;

/// The path, in full: a process may have been started in another folder.
pub(super) fn parse(
    entry: Entry<'_>,
    folder: &Path,
    store: &Store,
) -> Result<PathBuf, ConfigError> {
    if OWNED.iter().any(|kind| store.address.starts_with(kind)) {
        return Err(entry.refused(format!(
            "a store that two processes may share, redis:// or postgres://, and not {:?}",
            store.address
        )));
    }
    entry.text(|text| match text {
        "" => Err("the path of a Unix socket"),
        path => std::path::absolute(folder.join(path)).map_err(|_| "the path of a Unix socket"),
    })
}

/// One process at a time has them.
const OWNED: [&str; 2] = ["file:", "memory:"];
