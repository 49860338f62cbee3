//! `keys export`: every record on a line of its own, as `import` takes it.

use super::set::KeySet;

/// The records as JSON Lines: digests, never secrets, which nobody has.
pub fn export(keys: &KeySet) -> String {
    keys.iter()
        .map(|record| format!("{}\n", record.to_json()))
        .collect()
}
