//! A remote keyring with a deadline, and a memory for when it is lost.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::digest::Digest;
use super::keyring::Keyring;
use super::keystore::{KeyChange, KeyStore, KeyWriteError};
use super::record::KeyRecord;
use crate::clock::{SharedClock, Timestamp};
use crate::error::StoreError;
use crate::guarded::Guarded;
use crate::principal::Principal;
use crate::telemetry::{StoreObserver, StoreStep};

/// A keyring that goes on for a while when its store is lost (contract §7).
///
/// Each look-up asks the store, once, within a deadline and behind a circuit breaker, so
/// that a change holds on the next request and a loss is not waited for by each. Where no answer comes, a record that the store confirmed within the
/// last 60 s goes on, as long as it is neither expired nor revoked; for any other key the
/// answer is [`StoreError`], a 503, because nobody can know that it is *not* good.
///
/// Where the same store also counts the requests, it compares the version of the record
/// at every charge, and a record that was confirmed within that minute need not be asked
/// for: see [`counted`](Self::counted).
///
/// What the store does not know is never remembered: a key that is handed out a moment
/// later would be locked out, and mistyped keys do not come this far.
///
/// A keyring in this process, like [`Keys`](super::Keys), needs none of this.
#[derive(Clone)]
pub struct Cached<K> {
    guarded: Guarded<K>,
    clock: SharedClock,
    stale_for: Duration,
    deadline: Duration,
    capacity: usize,
    is_counted: bool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    lost: AtomicBool,
    /// Of the record that was told last, in milliseconds.
    age: AtomicU64,
}

/// Two generations: when the young one is full it becomes the old one, which is let go.
/// So the memory has a bound, and no look-up pays for a sweep.
#[derive(Default)]
struct Seen {
    young: HashMap<Digest, Entry>,
    old: HashMap<Digest, Entry>,
}

#[derive(Clone)]
struct Entry {
    record: Arc<KeyRecord>,
    confirmed: Duration,
}

// === impl Cached ===

impl<K> Cached<K> {
    /// This keyring, with a deadline of 100 ms, 60 s of memory and room for 10,000 keys.
    pub fn new(keyring: K, clock: SharedClock) -> Self {
        Self {
            guarded: Guarded::new(keyring, clock.clone()),
            clock,
            stale_for: STALE_FOR,
            deadline: DEADLINE,
            capacity: CAPACITY,
            is_counted: false,
            shared: Arc::default(),
        }
    }

    /// How long a record goes on after the store last confirmed it. Default: 60 s.
    #[must_use]
    pub const fn stale_for(mut self, time: Duration) -> Self {
        self.stale_for = time;
        self
    }

    /// How long the store may take for an answer. Default: 100 ms.
    #[must_use]
    pub const fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// How many records are remembered at most. Default: 10,000.
    #[must_use]
    pub const fn capacity(mut self, records: usize) -> Self {
        self.capacity = records;
        self
    }

    /// Asks for a good record once in [`stale_for`](Self::stale_for) and not at every look-up.
    ///
    /// Only for keyrings whose records are [tracked](super::KeyRecordBuilder::tracked), and
    /// only in front of the whole stack over the same store, which then says at every charge
    /// whether the record is still the newest; anywhere else a revoked key stays good for
    /// as long as it is remembered.
    #[must_use]
    pub const fn counted(mut self) -> Self {
        self.is_counted = true;
        self
    }

    /// Tells somebody of each look-up at the store.
    #[must_use]
    pub fn observed(mut self, observer: Arc<dyn StoreObserver>) -> Self {
        self.guarded = self.guarded.observed(Some(observer));
        self
    }

    /// Whether the last look-up got no answer from the store.
    pub fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Relaxed)
    }

    async fn guard<T>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let step = StoreStep::ReadKey;
        self.guarded.guard(step, self.deadline, asked).await
    }

    fn answered(&self, digest: &Digest, found: Option<&Arc<KeyRecord>>) {
        if self.shared.lost.swap(false, Ordering::Relaxed) {
            tracing::info!("the key store is back");
        }
        let now = self.clock.elapsed();
        self.told(now, now);
        match found {
            Some(record) => self.seen().keep(digest, record, now, self.capacity),
            None => self.seen().forget(digest),
        }
    }

    /// What the store confirmed lately, good or not: who asks judges that.
    fn remembered(&self, digest: &Digest) -> Option<Arc<KeyRecord>> {
        let now = self.clock.elapsed();
        let entry = self
            .seen()
            .entry(digest, now.saturating_sub(self.stale_for))?;
        self.told(now, entry.confirmed);
        Some(entry.record)
    }

    fn told(&self, now: Duration, confirmed: Duration) {
        let age = now.saturating_sub(confirmed).as_millis();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        self.shared.age.store(age, Ordering::Relaxed);
    }

    fn recall(&self, digest: &Digest, error: StoreError) -> Result<Arc<KeyRecord>, StoreError> {
        if !self.shared.lost.swap(true, Ordering::Relaxed) {
            let cause = std::error::Error::source(&error);
            tracing::warn!(%error, cause, "the key store is lost; what it confirmed lately goes on");
        }
        let record = self.remembered(digest);
        let now = self.clock.now();
        record
            .filter(|record| record.admit(now).is_ok())
            .ok_or(error)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        let seen = self.shared.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Keyring> Keyring for Cached<K> {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        // A key that is refused is never charged, so nothing would tell that it is good again.
        if self.is_counted
            && let Some(record) = self.remembered(digest)
            && (!record.has_end() || record.admit(self.clock.now()).is_ok())
        {
            return Ok(Some(record));
        }
        let asked = self.guarded.store.find(digest);
        match self.guard(asked).await {
            Ok(found) => {
                self.answered(digest, found.as_ref());
                Ok(found)
            }
            Err(error) => self.recall(digest, error).map(Some),
        }
    }

    async fn reread(&self, principal: &Principal) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let asked = self.guarded.store.reread(principal);
        let found = self.guard(asked).await?;
        if let Some(record) = &found {
            self.answered(record.digest(), Some(record));
        }
        Ok(found)
    }

    fn age(&self) -> Duration {
        Duration::from_millis(self.shared.age.load(Ordering::Relaxed))
    }
}

/// Commands and the admin interface are told what the store says, or that it says nothing.
impl<K: KeyStore> KeyStore for Cached<K> {
    async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.guarded.store.get(id).await
    }

    async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        self.guarded.store.page(after, most).await
    }

    async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
        self.guarded.store.write(changes).await
    }

    async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
        self.guarded.store.touch(used).await
    }
}

impl<K> fmt::Debug for Cached<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached")
            .field("stale_for", &self.stale_for)
            .field("deadline", &self.deadline)
            .field("capacity", &self.capacity)
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

// === impl Seen ===

impl Seen {
    fn keep(&mut self, digest: &Digest, record: &Arc<KeyRecord>, now: Duration, capacity: usize) {
        let entry = Entry {
            record: Arc::clone(record),
            confirmed: now,
        };
        if let Some(held) = self.young.get_mut(digest) {
            *held = entry;
            return;
        }
        if self.young.len() >= capacity.div_ceil(2) {
            self.old = mem::take(&mut self.young);
        }
        self.old.remove(digest);
        self.young.insert(digest.clone(), entry);
    }

    fn forget(&mut self, digest: &Digest) {
        self.young.remove(digest);
        self.old.remove(digest);
    }

    /// A record that was confirmed at or after a moment.
    fn entry(&self, digest: &Digest, since: Duration) -> Option<Entry> {
        let entry = self.young.get(digest).or_else(|| self.old.get(digest))?;
        (entry.confirmed >= since).then(|| entry.clone())
    }
}

/// Contract §7: long enough for a fail-over, short enough for a revocation.
const STALE_FOR: Duration = Duration::from_secs(60);

/// Contract §7.
const DEADLINE: Duration = Duration::from_millis(100);

/// Some 10 MB at most: the callers of one minute, not all customers.
const CAPACITY: usize = 10_000;

#[cfg(test)]
mod tests;
