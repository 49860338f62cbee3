//! Where the keys of a command are, and how it changes them there.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use vestibule::StoreKeyring;
use vestibule::api_key::{
    Digest, KeyChange, KeyFormat, KeyRecord, KeyStore, KeyWriteError, Keyring,
};
use vestibule::clock::Timestamp;
use vestibule::error::StoreError;

use super::create::Mint;
use super::fault::Fault;
use super::file::{KeyFile, Missing};
use super::import::{import, read};
use super::remote::AdminKeys;
use super::set::KeySet;

/// Where the keys are.
///
/// A file is changed as a whole, so a command on it does all or nothing. In a store, and
/// in a running sidecar, the records of one family are changed together; `import`, the one
/// command that touches several, goes on from batch to batch, and can be repeated.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a key file.
    File(KeyFile),
    /// In a store of this name.
    Store(String, Shelf),
}

/// A store of key records that commands work on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Shelf {
    /// One that this process has opened.
    Own(StoreKeyring),
    /// That of a running sidecar.
    Admin(AdminKeys),
}

/// What a command has to know of the keys before it can change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs<'a> {
    /// Nothing: it makes a key.
    Nothing,
    /// The key with this id.
    Key(&'a str),
    /// All keys of the family of the one with this id.
    Family(&'a str),
}

// === impl Place ===

impl Place {
    /// What reads the keys as they are now.
    ///
    /// # Errors
    ///
    /// [`Fault`] where there is a file, and it cannot be taken.
    pub fn reader(&self) -> Result<Shelf, Fault> {
        match self {
            Self::File(file) => Ok(Shelf::Own(file.read()?.keyring()?.into())),
            Self::Store(_, shelf) => Ok(shelf.clone()),
        }
    }

    /// Changes keys. A change that another command overtook is made once more, of what
    /// there is then.
    ///
    /// # Errors
    ///
    /// [`Fault`] where the place cannot be read or written, or the change refuses.
    pub async fn change<T>(
        &self,
        needs: Needs<'_>,
        change: impl FnMut(&mut KeySet) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match self {
            Self::File(file) => file.change(needs.missing(), change),
            Self::Store(name, shelf) => {
                let changed = change_in(shelf, needs, change).await;
                changed.map_err(|fault| fault.at(name))
            }
        }
    }

    /// Takes records as JSON Lines, which came from there; says how many.
    ///
    /// # Errors
    ///
    /// [`Fault`] names each line that cannot be taken, and nothing is; or says how many
    /// were taken before a store refused one.
    pub async fn import(
        &self,
        (lines, from): (&str, &Path),
        format: &KeyFormat,
        mint: &Mint<'_>,
    ) -> Result<usize, Fault> {
        let at = |fault: Fault| fault.at(from.display());
        match self {
            Self::File(file) => file.change(Missing::Begin, |keys| {
                import(keys, lines, format, mint).map_err(at)
            }),
            Self::Store(name, shelf) => {
                let records = read(lines, format, mint).map_err(at)?;
                let taken = import_into(shelf, &records).await;
                taken.map_err(|fault| fault.at(name))
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.path().display().fmt(f),
            Self::Store(name, _) => f.write_str(name),
        }
    }
}

// === impl Needs ===

impl Needs<'_> {
    /// Only what makes a key may begin a file.
    const fn missing(self) -> Missing {
        match self {
            Self::Nothing => Missing::Begin,
            Self::Key(_) | Self::Family(_) => Missing::Refuse,
        }
    }

    async fn read(self, store: &impl KeyStore) -> Result<KeySet, Fault> {
        let mut keys = KeySet::default();
        let (Self::Key(id) | Self::Family(id)) = self else {
            return Ok(keys);
        };
        let Some(record) = store.get(id).await? else {
            return Ok(keys);
        };
        if let Self::Family(_) = self {
            let caller = record.principal().caller();
            each_page(store, |page| {
                let kin = page.iter().filter(|one| one.principal().caller() == caller);
                kin.for_each(|one| keys.put(Arc::clone(one)));
            })
            .await?;
        }
        keys.put(record);
        Ok(keys)
    }
}

// === impl Shelf ===

impl From<StoreKeyring> for Shelf {
    fn from(keys: StoreKeyring) -> Self {
        Self::Own(keys)
    }
}

/// Asks the store that is there.
macro_rules! ask {
    ($shelf:expr, $held:ident => $answer:expr) => {
        match $shelf {
            Shelf::Own($held) => $answer,
            Shelf::Admin($held) => $answer,
        }
    };
}

impl Keyring for Shelf {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        ask!(self, held => held.find(digest).await)
    }
}

impl KeyStore for Shelf {
    async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        ask!(self, held => held.get(id).await)
    }

    async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        ask!(self, held => held.page(after, most).await)
    }

    async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
        ask!(self, held => held.write(changes).await)
    }

    async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
        ask!(self, held => held.touch(used).await)
    }
}

/// Looks at all records, a page at a time.
///
/// # Errors
///
/// [`Fault`] where the store does not answer.
pub async fn each_page(
    store: &impl KeyStore,
    mut look: impl FnMut(&[Arc<KeyRecord>]),
) -> Result<(), Fault> {
    let mut after = String::new();
    loop {
        let page = store.page(&after, PAGE).await?;
        look(&page);
        match page.last() {
            Some(last) if page.len() == PAGE => last.principal().key_id().clone_into(&mut after),
            _ => return Ok(()),
        }
    }
}

async fn change_in<T>(
    store: &impl KeyStore,
    needs: Needs<'_>,
    mut change: impl FnMut(&mut KeySet) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mut tries = 0;
    loop {
        tries += 1;
        let before = needs.read(store).await?;
        let mut after = before.clone();
        let done = change(&mut after)?;
        match write(store, &after.changes_since(&before)).await {
            Ok(()) => return Ok(done),
            Err(KeyWriteError::Conflict { .. }) if tries < CHANGE_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes changes; once more where no answer came, for a repetition is no conflict, and
/// the secret of a new key is shown only when its record is there.
async fn write(store: &impl KeyStore, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
    match store.write(changes).await {
        Err(KeyWriteError::Store(_)) => store.write(changes).await,
        written => written,
    }
}

async fn import_into(store: &impl KeyStore, records: &[Arc<KeyRecord>]) -> Result<usize, Fault> {
    for (number, batch) in records.chunks(PAGE).enumerate() {
        let changes = batch.iter().cloned().map(KeyChange::create);
        let changes: Vec<KeyChange> = changes.collect();
        write(store, &changes).await.map_err(|error| {
            let taken = number * PAGE;
            let said = Fault::from(error);
            let again = "what is there stays, and is passed over when the lines are imported again";
            Fault::new(format!(
                "{said}\nat least {taken} of {} keys were taken; {again}",
                records.len()
            ))
        })?;
    }
    Ok(records.len())
}

/// Records that are read or written at a time.
const PAGE: usize = 500;

/// Who was overtaken twice shall look at what there is.
const CHANGE_TRIES: u32 = 2;

#[cfg(test)]
mod tests {
    use vestibule::api_key::Keys;
    use vestibule::entropy::SystemEntropy;

    use super::super::{export, revoke, rotate};
    use super::*;

    #[tokio::test]
    async fn only_what_changed_is_written() {
        let keys = Keys::new([record(1), record(2)]).unwrap();
        let place = place(&keys);
        let untouched = keys.get("key_2").unwrap();
        let revoked = place
            .change(Needs::Key("key_1"), |keys| {
                assert_eq!(keys.iter().count(), 1, "no more is read than is needed");
                revoke(keys, "key_1", NOW)
            })
            .await;
        assert_eq!(revoked.unwrap().revoked(), Some(NOW));
        assert_eq!(keys.get("key_1").unwrap().revoked(), Some(NOW));
        assert!(Arc::ptr_eq(&keys.get("key_2").unwrap(), &untouched));
    }

    #[tokio::test]
    async fn a_change_that_was_overtaken_is_made_again_and_once() {
        for (overtaken, want) in [(1, Ok(2)), (2, Err("store: the record key_1 was changed"))] {
            let keys = Keys::new([record(1)]).unwrap();
            let mut tries = 0;
            let changed = place(&keys)
                .change(Needs::Key("key_1"), |set| {
                    tries += 1;
                    if tries <= overtaken {
                        let other = keys.get("key_1").unwrap().to_builder();
                        keys.insert(other.per_minute(tries).build()).unwrap();
                    }
                    revoke(set, "key_1", NOW)
                })
                .await;
            match (changed, want) {
                (Ok(record), Ok(_)) => assert_eq!(record.principal().per_minute(), Some(1)),
                (Err(fault), Err(want)) => {
                    assert!(fault.to_string().starts_with(want), "{fault}");
                }
                (changed, _) => panic!("{overtaken}: {changed:?}"),
            }
            assert_eq!(tries, 2);
        }
    }

    #[tokio::test]
    async fn a_rotation_knows_the_family() {
        let keys = Keys::new([record(1), record(2)]).unwrap();
        let place = place(&keys);
        let rotated = async || {
            let change = |keys: &mut _| rotate(keys, "key_1", (DAY, None), &mint());
            place.change(Needs::Family("key_1"), change).await
        };
        let new = rotated().await.unwrap().record;
        assert_eq!(keys.get("key_1").unwrap().expires(), Some(NOW + DAY));
        assert!(keys.get(new.principal().key_id()).is_some());
        let again = rotated().await.unwrap_err().to_string();
        assert!(
            again.starts_with("store: key_1: it was rotated to"),
            "{again}"
        );
    }

    #[tokio::test]
    async fn an_import_goes_on_where_it_was_stopped() {
        let lines: String = (0..=255)
            .map(|n| format!("{}\n", record(n).to_json()))
            .collect();
        let many: String = (0..600).map(|_| line()).collect();
        let keys = Keys::new([]).unwrap();
        let place = place(&keys);
        let import = async |lines: &str| {
            let format = KeyFormat::new();
            place
                .import((lines, Path::new("-")), &format, &mint())
                .await
        };
        assert_eq!(import(&lines).await.unwrap(), 256);
        assert_eq!(import(&lines).await.unwrap(), 256, "they are there");
        let stranger = record(3).to_builder().name("other").build();
        let fault = import(&format!("{many}{}\n", stranger.to_json())).await;
        let said = fault.unwrap_err().to_string();
        assert!(
            said.contains("at least 500 of 601 keys were taken"),
            "{said}"
        );
        assert_eq!(import(&many).await.unwrap(), 600);
        assert_eq!(keys.len(), 856);
        assert_eq!(export(&keys).await.unwrap().lines().count(), 856);
    }

    fn place(keys: &Keys) -> Place {
        let keys = StoreKeyring::from(keys.clone());
        Place::Store("store".to_owned(), keys.into())
    }

    /// A line whose key has no id, as those of other makes have none.
    fn line() -> String {
        let secret = mint().secret("live").unwrap();
        format!("{{\"account\":\"a\",\"secret\":\"{}\"}}\n", secret.expose())
    }

    fn record(number: u8) -> Arc<KeyRecord> {
        let digest = Digest::from_parts(None, [number; 32]);
        KeyRecord::builder(format!("key_{number}"), "acc_1", digest)
            .created(Timestamp::from_unix_seconds(10))
            .build()
    }

    fn mint() -> Mint<'static> {
        Mint {
            brand: "mk",
            now: NOW,
            entropy: &SystemEntropy,
            peppers: &NO_PEPPERS,
        }
    }

    const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000);
    static NO_PEPPERS: vestibule::api_key::Peppers = vestibule::api_key::Peppers::none();
}
