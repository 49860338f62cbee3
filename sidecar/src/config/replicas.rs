//! `replicas`: how many sidecars have one configuration.

use super::entry::Entry;
use super::error::Fault;
use super::store::Store;

/// The number, where so many can have the store: what one process has to itself would be
/// another one in each replica, with counts, records and keys of its own.
pub(super) fn parse(entry: &Entry<'_>, store: &Store) -> Result<u32, Fault> {
    let replicas = entry.whole(1..=REPLICAS_MAX)?;
    if replicas > 1 && store.is_owned() {
        return Err(entry.refused(format!(
            "a store that several sidecars may share, redis:// or postgres://, and not {:?}",
            store.address
        )));
    }
    Ok(replicas)
}

/// More than any service has are a slip of the pen.
const REPLICAS_MAX: u32 = 10_000;
