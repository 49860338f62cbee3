//! `keys update`: other fields for a key that stays what it is.

use std::sync::Arc;

use vestibule::api_key::KeyRecord;
use vestibule::clock::Timestamp;

use super::change::Change;
use super::fault::Fault;
use super::set::KeySet;

/// Changes a key. Whatever it changes gives the record another version.
///
/// # Errors
///
/// [`Fault`] where nothing is said, there is no such key, or a field cannot be.
pub fn update(
    keys: &mut KeySet,
    id: &str,
    change: &Change,
    now: Timestamp,
) -> Result<Arc<KeyRecord>, Fault> {
    if change.is_empty() {
        return Err(Fault::new("nothing to change: name a field, as --per-minute 120").at(id));
    }
    let record = change
        .apply(keys.get(id)?, now)
        .map_err(|fault| fault.at(id))?;
    keys.put(Arc::clone(&record));
    Ok(record)
}

#[cfg(test)]
mod tests {
    use vestibule::api_key::Digest;

    use super::*;

    #[test]
    fn a_change_is_put_in_the_place_of_what_was() {
        let mut keys = keys();
        let change = Change::default().per_minute(Some(120));
        let record = update(&mut keys, "key_1", &change, Timestamp::EPOCH).unwrap();
        assert_eq!(record.principal().per_minute(), Some(120));
        let kept = keys.get("key_1").unwrap();
        assert_eq!(kept.principal(), record.principal());
    }

    #[test]
    fn a_refusal_names_the_key() {
        for (id, change, want) in [
            ("key_1", Change::default(), "key_1: nothing to change"),
            (
                "key_2",
                Change::default().name("B"),
                "there is no key with the id \"key_2\"",
            ),
            (
                "key_1",
                Change::default().burst(Some(0)),
                "key_1: burst: found 0, allowed is",
            ),
        ] {
            let fault = update(&mut keys(), id, &change, Timestamp::EPOCH).unwrap_err();
            assert!(fault.to_string().starts_with(want), "{fault}");
        }
    }

    fn keys() -> KeySet {
        let digest = Digest::from_parts(None, [1; 32]);
        let record = KeyRecord::builder("key_1", "acc_1", digest);
        KeySet::from_iter([record.build()])
    }
}
