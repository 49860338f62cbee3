//! `keys rotate`: a new key of the same family, and an end for the old one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use vestibule::api_key::{KeyRecord, Refusal};
use vestibule::clock::Timestamp;

use super::change::Expiry;
use super::create::{Mint, Minted};
use super::fault::Fault;
use super::set::KeySet;

/// Makes a new key with everything that the old one may do, of the same family, so that
/// budget and kept responses go on; the old one is good for `overlap` more.
///
/// Unless `expires` says otherwise, the new key lives as long as the old one was to live.
/// An end of the old key that comes sooner than the overlap stays.
///
/// # Errors
///
/// [`Fault`] where there is no such key, it is good no more, or it was rotated already:
/// to rotate it twice would hand out a key that nobody waits for.
pub fn rotate(
    keys: &mut KeySet,
    id: &str,
    (overlap, expires): (Duration, Option<&Expiry>),
    mint: &Mint<'_>,
) -> Result<Minted, Fault> {
    let old = Arc::clone(keys.get(id)?);
    rotatable(keys, &old, mint.now).map_err(|fault| fault.at(id))?;
    let end = mint.now + overlap;
    let end = old.expires().map_or(end, |sooner| sooner.min(end));
    let minted = successor(&old, expires, mint).map_err(|fault| fault.at(id))?;
    keys.put(old.to_builder().expires(end).build());
    keys.put(Arc::clone(&minted.record));
    Ok(minted)
}

fn rotatable(keys: &KeySet, old: &KeyRecord, now: Timestamp) -> Result<(), Fault> {
    match old.admit(now) {
        Err(Refusal::Revoked) => {
            return Err(Fault::new("it is revoked; make another with 'keys create'"));
        }
        Err(Refusal::Expired) => {
            return Err(Fault::new(
                "it has expired; make another with 'keys create'",
            ));
        }
        Ok(_) => {}
    }
    let newer = keys.iter().find(|other| {
        let families = [old.principal(), other.principal()].map(|who| who.family());
        families[0] == families[1] && other.created() > old.created() && other.admit(now).is_ok()
    });
    newer.map_or(Ok(()), |newer| {
        let id = newer.principal().key_id();
        Err(Fault::new(format!(
            "it was rotated to {id} already; rotate that one"
        )))
    })
}

fn successor(old: &KeyRecord, expires: Option<&Expiry>, mint: &Mint<'_>) -> Result<Minted, Fault> {
    let who = old.principal();
    let secret = mint.secret(who.environment())?;
    let born = mint.record(&secret, who.account()).created(mint.now);
    let born = born.build().to_json();
    let mut json = old.to_json();
    for field in ["id", "prefix", "last_four", "created_at", "digest"] {
        json[field] = born[field].clone();
    }
    for field in ["expires_at", "revoked_at", "last_used_at"] {
        json[field] = Value::Null;
    }
    if let Some(Expiry::At(moment)) = expires {
        json["expires_at"] = moment.as_str().into();
    }
    let record = KeyRecord::from_json(&json)?;
    let life = match (expires, old.created(), old.expires()) {
        (Some(Expiry::In(span)), _, _) => Some(*span),
        (None, Some(created), Some(end)) => Some(end.since(created)),
        (None, None, Some(_)) => {
            let unknown = "nobody knows how long it was to live: say --expires";
            return Err(Fault::new(unknown));
        }
        (Some(Expiry::At(_) | Expiry::Never), _, _) | (None, _, None) => None,
    };
    let record = life.map_or_else(
        || Arc::clone(&record),
        |life| record.to_builder().expires(mint.now + life).build(),
    );
    Ok(Minted { secret, record })
}

#[cfg(test)]
mod tests {
    use vestibule::api_key::{Digest, KeyRecordBuilder, Peppers};
    use vestibule::entropy::SystemEntropy;

    use super::*;

    #[test]
    fn the_new_key_may_do_what_the_old_one_may_and_outlives_it() {
        let mut keys = KeySet::from_iter([old().build()]);
        let minted = rotate(&mut keys, "old", (DAY, None), &mint(100)).unwrap();
        let (new, old) = (minted.record, keys.get("old").unwrap());
        let (who, was) = (new.principal(), old.principal());
        assert_eq!(old.expires(), Some(at(100) + DAY));
        assert_eq!(new.expires(), None);
        assert_eq!((who.family(), who.account()), (was.family(), was.account()));
        assert_eq!((who.scopes(), who.per_minute()), (was.scopes(), Some(5)));
        assert_ne!(who.key_id(), was.key_id());
        assert_ne!(new.digest(), old.digest());
        assert_eq!((new.created(), new.last_used()), (Some(at(100)), None));
        assert!(keys.has(who.key_id()));
    }

    #[test]
    fn both_ends_follow_the_old_key_unless_one_is_named() {
        let week = Expiry::In(7 * DAY);
        for (expires, overlap, named, old_end, new_end) in [
            (None, 50, None, 150, None),
            (Some(120), 50, None, 120, Some(210)),
            (Some(900), 50, None, 150, Some(990)),
            (Some(900), 0, Some(&Expiry::Never), 100, None),
            (None, 50, Some(&week), 150, Some(100 + 7 * 86_400)),
        ] {
            let mut old = old();
            if let Some(end) = expires {
                old = old.expires(at(end));
            }
            let mut keys = KeySet::from_iter([old.build()]);
            let overlap = Duration::from_secs(overlap);
            let minted = rotate(&mut keys, "old", (overlap, named), &mint(100)).unwrap();
            let ends = (keys.get("old").unwrap().expires(), minted.record.expires());
            let row = format!("{expires:?} {overlap:?} {named:?}");
            assert_eq!(ends, (Some(at(old_end)), new_end.map(at)), "{row}");
        }
    }

    #[test]
    fn what_cannot_be_rotated_is_refused_by_its_reason() {
        let ageless = KeyRecord::builder("old", "acc", digest()).expires(at(500));
        for (old, want) in [
            (old().revoked(at(50)), "old: it is revoked;"),
            (old().expires(at(50)), "old: it has expired;"),
            (ageless, "old: nobody knows how long it was to live"),
        ] {
            let mut keys = KeySet::from_iter([old.build()]);
            let fault = rotate(&mut keys, "old", (DAY, None), &mint(100)).unwrap_err();
            assert!(fault.to_string().starts_with(want), "{fault}");
            assert_eq!(keys.iter().count(), 1, "{want}");
        }
    }

    #[test]
    fn a_rotation_is_not_repeated_by_mistake() {
        let mut keys = KeySet::from_iter([old().build()]);
        let minted = rotate(&mut keys, "old", (DAY, None), &mint(100)).unwrap();
        let new = minted.record.principal().key_id();
        let fault = rotate(&mut keys, "old", (DAY, None), &mint(200)).unwrap_err();
        let want = format!("old: it was rotated to {new} already; rotate that one");
        assert_eq!(fault.to_string(), want);
        assert!(rotate(&mut keys, new, (DAY, None), &mint(200)).is_ok());
    }

    fn old() -> KeyRecordBuilder {
        KeyRecord::builder("old", "acc", digest())
            .scopes(["a:b"])
            .per_minute(5)
            .created(at(10))
            .last_used(at(20))
    }

    fn digest() -> Digest {
        Digest::from_parts(None, [1; 32])
    }

    fn mint(now: u64) -> Mint<'static> {
        Mint {
            brand: "mk",
            now: at(now),
            entropy: &SystemEntropy,
            peppers: &NONE,
        }
    }

    static NONE: Peppers = Peppers::none();

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    const DAY: Duration = Duration::from_secs(86_400);
}
