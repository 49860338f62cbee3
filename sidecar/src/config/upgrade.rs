//! `upgrade_sock`: where a new process finds the one that it takes over from.

use std::path::PathBuf;

use super::entry::Entry;
use super::error::Fault;
use super::store::Store;

/// The path, in full: a process may have been started in another folder.
pub(super) fn parse(entry: &Entry<'_>, store: &Store) -> Result<PathBuf, Fault> {
    if store.is_owned() {
        return Err(entry.refused(format!(
            "a store that two processes may share, redis:// or postgres://, and not {:?}",
            store.address
        )));
    }
    let path = entry.path(WANTED)?;
    std::path::absolute(path).map_err(|_| entry.refused(WANTED))
}

const WANTED: &str = "the path of a Unix socket";
