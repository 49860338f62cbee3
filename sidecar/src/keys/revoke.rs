//! `keys revoke`: a key is taken back, now.

use std::sync::Arc;

use vestibule::api_key::KeyRecord;
use vestibule::clock::Timestamp;

use super::fault::Fault;
use super::set::KeySet;

/// Takes a key back. One that was taken back before keeps its moment; one that was to be
/// taken back later is taken back now.
///
/// # Errors
///
/// [`Fault`] where there is no such key.
pub fn revoke(keys: &mut KeySet, id: &str, now: Timestamp) -> Result<Arc<KeyRecord>, Fault> {
    let record = keys.get(id)?;
    let at = record.revoked().map_or(now, |before| before.min(now));
    let revoked = record.to_builder().revoked(at).build();
    keys.put(Arc::clone(&revoked));
    Ok(revoked)
}

#[cfg(test)]
mod tests {
    use vestibule::api_key::{Digest, Refusal};

    use super::*;

    #[test]
    fn the_earlier_moment_holds() {
        for (before, want) in [(None, 50), (Some(20), 20), (Some(90), 50)] {
            let mut record = KeyRecord::builder("k", "a", Digest::from_parts(None, [1; 32]));
            if let Some(at) = before {
                record = record.revoked(Timestamp::from_unix_seconds(at));
            }
            let mut keys = KeySet::from_iter([record.build()]);
            let now = Timestamp::from_unix_seconds(50);
            let revoked = revoke(&mut keys, "k", now).unwrap();
            let want = Some(Timestamp::from_unix_seconds(want));
            assert_eq!(revoked.revoked(), want, "{before:?}");
            let kept = keys.get("k").unwrap();
            assert_eq!(kept.admit(now).unwrap_err(), Refusal::Revoked);
        }
    }

    #[test]
    fn an_id_that_nobody_has_is_refused() {
        let fault = revoke(&mut KeySet::default(), "k", Timestamp::EPOCH).unwrap_err();
        assert_eq!(fault.to_string(), "there is no key with the id \"k\"");
    }
}
