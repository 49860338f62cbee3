//! Key records in memory: given by the program, or read from a file and kept in step with it.

mod ring;

use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::ring::{Ring, Value};
use super::digest::Digest;
use super::keyring::Keyring;
use super::keystore::{KeyChange, KeyStore, KeyWriteError};
use super::record::KeyRecord;
use super::schema::{self, SchemaError};
use super::watch::{self, Look};
use crate::clock::Timestamp;
use crate::error::StoreError;

/// A keyring in this process's memory.
///
/// Every clone sees the same keys. Looking a key up takes no lock, asks nobody and
/// allocates nothing; changing the keys copies the table of them, which is the rare case.
/// The schema of a file is in the [module docs](super).
#[derive(Clone)]
pub struct Keys {
    shared: Arc<Shared>,
}

/// Why a set of keys cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("{}{problem}", Shown(.path.as_deref()))]
pub struct KeysError {
    path: Option<PathBuf>,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0} and {1} are the same key: allowed is one record a key")]
    SameDigest(Box<str>, Box<str>),
    #[error("the id {0} is there twice: allowed is one record an id")]
    SameId(Box<str>),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("there is no such id")]
    Unknown,
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
}

/// The path of a file before what is wrong with it.
struct Shown<'a>(Option<&'a Path>);

struct Shared {
    ring: ArcSwap<Ring>,
    /// Held while one state is made of another, so that no change is lost.
    writing: Mutex<()>,
    /// When the keys were last known to be those of the file that is watched.
    confirmed: Mutex<Option<Instant>>,
    /// Stops the watching of the file once the last clone is gone.
    watcher: OnceLock<AbortOnDropHandle<()>>,
}

// === impl Keys ===

impl Keys {
    /// These keys.
    ///
    /// # Errors
    ///
    /// [`KeysError`] where two records have one id or one digest.
    pub fn new(records: impl IntoIterator<Item = Arc<KeyRecord>>) -> Result<Self, KeysError> {
        Ok(Self::from_ring(Ring::new(records).map_err(nameless)?))
    }

    /// The keys in a file, as they are now.
    ///
    /// # Errors
    ///
    /// [`KeysError`]: a sentence that names the file, the record, the field, what was
    /// found and what is allowed.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeysError> {
        let path = path.as_ref();
        let named = |problem| KeysError {
            path: Some(path.to_owned()),
            problem,
        };
        let file = watch::read(path).map_err(|error| named(error.into()))?;
        Ok(Self::from_ring(Ring::parse(&file).map_err(named)?))
    }

    /// The keys in a file, now and whenever it has changed: within one second, however
    /// it was written, replaced or re-linked.
    ///
    /// A file that cannot be taken is logged, with what is wrong with it, and the last
    /// good state holds on. The first state must be good. Watching ends when the last
    /// clone is dropped.
    ///
    /// # Errors
    ///
    /// As [`Keys::read`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn watch(path: impl AsRef<Path>) -> Result<Self, KeysError> {
        let keys = Self::read(&path)?;
        let shared = Arc::downgrade(&keys.shared);
        let task = watch::follow(path.as_ref().to_owned(), move |look| {
            let Some(shared) = shared.upgrade() else {
                return Ok(());
            };
            let keys = Self { shared };
            if let Look::Changed(file) = look {
                keys.change(|_| Ring::parse(file))?;
            }
            keys.confirm();
            Ok(())
        });
        keys.confirm();
        let _ = keys
            .shared
            .watcher
            .set(AbortOnDropHandle::new(tokio::spawn(task)));
        Ok(keys)
    }

    /// Adds a key, or puts this record in the place of the one with its id.
    ///
    /// The next state of a watched file takes the place of all such changes.
    ///
    /// # Errors
    ///
    /// [`KeysError`] where another id has the same digest; nothing is changed then.
    pub fn insert(&self, record: Arc<KeyRecord>) -> Result<(), KeysError> {
        self.put([record])
    }

    /// Takes a key back at this moment; false where there is no such id.
    ///
    /// A key that was read from a watched file comes back with the file's next state:
    /// revoke it there.
    pub fn revoke(&self, id: &str, at: Timestamp) -> bool {
        let revoked = self.change(|ring| {
            let held = ring.by_id.get(id).ok_or(Problem::Unknown)?;
            ring.clone().with(held.to_builder().revoked(at).build())
        });
        revoked.is_ok()
    }

    /// Puts these keys in the place of all others.
    ///
    /// # Errors
    ///
    /// As [`Keys::new`]; nothing is changed then.
    pub fn replace(
        &self,
        records: impl IntoIterator<Item = Arc<KeyRecord>>,
    ) -> Result<(), KeysError> {
        self.change(|_| Ring::new(records))
    }

    /// The record with this id.
    pub fn get(&self, id: &str) -> Option<Arc<KeyRecord>> {
        self.shared.ring.load().by_id.get(id).cloned()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.shared.ring.load().by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records of the keys, in the order of their ids.
    pub fn records(&self) -> Vec<Arc<KeyRecord>> {
        self.shared.ring.load().by_id.values().cloned().collect()
    }

    /// The keys in the schema of a key file, in the order of their ids.
    pub fn to_json(&self) -> serde_json::Value {
        let records = self.records();
        schema::write(records.iter().map(AsRef::as_ref))
    }

    /// See [`KeyStore::page`].
    pub(crate) fn records_after(&self, after: &str, most: usize) -> Vec<Arc<KeyRecord>> {
        let ring = self.shared.ring.load();
        let rest = (Bound::Excluded(after), Bound::Unbounded);
        let rest = ring.by_id.range::<str, _>(rest);
        rest.take(most).map(|(_, record)| record.clone()).collect()
    }

    /// Adds these keys, or puts them in the place of those with their ids, all at once.
    pub(crate) fn put(
        &self,
        records: impl IntoIterator<Item = Arc<KeyRecord>>,
    ) -> Result<(), KeysError> {
        self.change(|ring| records.into_iter().try_fold(ring.clone(), Ring::with))
    }

    /// The record whose key has this digest.
    pub(crate) fn holder(&self, digest: &Digest) -> Option<Arc<KeyRecord>> {
        let ring = self.shared.ring.load();
        ring.by_digest.get(&Value::of(digest)).cloned()
    }

    fn change(&self, next: impl FnOnce(&Ring) -> Result<Ring, Problem>) -> Result<(), KeysError> {
        self.turn(next).map_err(nameless)
    }

    /// Puts the state that follows from this one in its place, unless there is none.
    fn turn<E>(&self, next: impl FnOnce(&Ring) -> Result<Ring, E>) -> Result<(), E> {
        let writing = self.shared.writing.lock();
        let _writing = writing.unwrap_or_else(PoisonError::into_inner);
        let ring = next(&self.shared.ring.load())?;
        self.shared.ring.store(Arc::new(ring));
        Ok(())
    }

    /// The keys are those of the file.
    fn confirm(&self) {
        let confirmed = self.shared.confirmed.lock();
        *confirmed.unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn from_ring(ring: Ring) -> Self {
        let shared = Shared {
            ring: ArcSwap::from_pointee(ring),
            writing: Mutex::default(),
            confirmed: Mutex::new(None),
            watcher: OnceLock::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Keyring for Keys {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        Ok(self.holder(digest))
    }

    fn age(&self) -> Duration {
        let confirmed = self.shared.confirmed.lock();
        let confirmed = *confirmed.unwrap_or_else(PoisonError::into_inner);
        confirmed.map_or(Duration::ZERO, |at| at.elapsed())
    }
}

/// All changes of one call are made together; so much memory as the keys take is copied.
impl KeyStore for Keys {
    async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        Ok(Self::get(self, id))
    }

    async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        Ok(self.records_after(after, most))
    }

    async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
        self.turn(|ring| ring.changed(changes))
    }

    async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
        self.turn(|ring| Ok(ring.touched(used)))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("len", &self.len())
            .field("watching", &self.shared.watcher.get().is_some())
            .finish_non_exhaustive()
    }
}

// === impl KeysError ===

impl From<SchemaError> for KeysError {
    fn from(error: SchemaError) -> Self {
        nameless(error.into())
    }
}

// === impl Shown ===

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |path| write!(f, "{}: ", path.display()))
    }
}

const fn nameless(problem: Problem) -> KeysError {
    KeysError {
        path: None,
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::key::ApiKey;
    use crate::api_key::{Peppers, Refusal};
    use crate::entropy::SystemEntropy;

    crate::keystore_conformance!(conformance, || Keys::new([]).unwrap());

    #[tokio::test]
    async fn a_key_is_found_by_its_digest_alone() {
        let (one, other) = (record("a"), record("b"));
        let keys = Keys::new([one.clone()]).unwrap();
        let found = keys.find(one.digest()).await.unwrap();
        assert_eq!(found.unwrap().principal(), one.principal());
        assert!(keys.find(other.digest()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_change_holds_on_the_next_look_up() {
        let (old, new) = (record("a"), record("b"));
        let keys = Keys::new([old.clone()]).unwrap();
        let seen_by = keys.clone();
        keys.insert(new.clone()).unwrap();
        assert!(seen_by.find(new.digest()).await.unwrap().is_some());

        let now = Timestamp::from_unix_seconds(9);
        assert!(keys.revoke("a", now) && !keys.revoke("c", now));
        let found = seen_by.find(old.digest()).await.unwrap().unwrap();
        assert_eq!(found.admit(now), Err(Refusal::Revoked));
        assert_ne!(found.principal().version(), old.principal().version());

        keys.replace([new]).unwrap();
        assert!(seen_by.find(old.digest()).await.unwrap().is_none());
        assert_eq!(keys.len(), 1);
    }

    #[tokio::test]
    async fn a_record_takes_the_place_of_the_one_with_its_id() {
        let (old, new) = (record("a"), record("a"));
        let keys = Keys::new([old.clone()]).unwrap();
        keys.insert(new.clone()).unwrap();
        assert!(keys.find(old.digest()).await.unwrap().is_none());
        assert!(keys.find(new.digest()).await.unwrap().is_some());
    }

    #[test]
    fn one_key_or_one_id_in_two_records_is_refused() {
        let one = record("a");
        let twin = KeyRecord::builder("b", "acc", one.digest().clone()).build();
        let said = |keys: Result<Keys, KeysError>| keys.unwrap_err().to_string();
        assert_eq!(
            said(Keys::new([one.clone(), twin.clone()])),
            "a and b are the same key: allowed is one record a key"
        );
        assert_eq!(
            said(Keys::new([one.clone(), record("a")])),
            "the id a is there twice: allowed is one record an id"
        );
        let keys = Keys::new([one]).unwrap();
        assert!(keys.insert(twin).is_err() && keys.get("b").is_none());
    }

    #[test]
    fn a_page_goes_on_after_the_last_id_of_the_one_before() {
        let keys = Keys::new(["b", "a", "C", "d"].map(record)).unwrap();
        for (after, most, want) in [
            ("", 3, "Cab"),
            ("b", 3, "d"),
            ("aa", 1, "b"),
            ("d", 3, ""),
            ("", 0, ""),
        ] {
            let page = keys.records_after(after, most);
            let ids: String = page.iter().map(|one| one.principal().key_id()).collect();
            assert_eq!(ids, want, "{most} after {after:?}");
        }
    }

    #[test]
    fn keys_are_written_as_they_are_read() {
        let keys = Keys::new([record("b"), record("a")]).unwrap();
        let file = keys.to_json();
        let again = Ring::parse(file.to_string().as_bytes()).unwrap();
        assert_eq!(Keys::from_ring(again).to_json(), file);
        assert_eq!(file["keys"][0]["id"], "a");
    }

    fn record(id: &str) -> Arc<KeyRecord> {
        let key = ApiKey::mint("mk", "live", &SystemEntropy);
        KeyRecord::of(&key, &Peppers::none(), id, "acc").build()
    }
}
