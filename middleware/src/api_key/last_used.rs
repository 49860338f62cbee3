//! When keys were last used: noted beside the requests, written once a minute.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::keystore::KeyStore;
use super::record::KeyRecord;
use crate::clock::{SharedClock, Timestamp};

/// Notes the keys that were let in, and writes to their store when that was.
///
/// No request waits for it: of a key's requests within one round the first leaves a note in
/// memory, the others compare two numbers. [`write_to`](Self::write_to) writes the notes
/// once a minute. What is shown of a key may be so much behind, and a process that is
/// killed takes its last minute with it. Cheap to clone; clones share their notes.
#[derive(Clone)]
pub struct LastUsed {
    shared: Arc<Shared>,
}

/// The round in which a record was noted last. A copy of the record begins anew.
#[derive(Default)]
pub(super) struct Noted(AtomicU64);

struct Shared {
    clock: SharedClock,
    /// Counts from 1, so that a fresh record was noted in no round.
    round: AtomicU64,
    notes: Mutex<HashMap<Box<str>, Timestamp>>,
}

// === impl LastUsed ===

impl LastUsed {
    /// Nothing is noted yet; moments are told by this clock.
    pub fn new(clock: SharedClock) -> Self {
        let shared = Shared {
            clock,
            round: AtomicU64::new(1),
            notes: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Writes the notes to the store of the records, once a minute for ever. It is to be
    /// spawned beside the stack.
    ///
    /// What a lost store did not take is written in a later minute.
    pub async fn write_to(self, store: impl KeyStore) {
        loop {
            tokio::time::sleep(ROUND).await;
            self.write_once(&store).await;
        }
    }

    /// Notes a key that is let in now.
    pub(super) fn note(&self, record: &KeyRecord) {
        let round = self.shared.round.load(Ordering::Relaxed);
        if record.noted().is_due(round) {
            self.enter(record.principal().key_id(), self.shared.clock.now());
        }
    }

    async fn write_once(&self, store: &impl KeyStore) {
        let notes = std::mem::take(&mut *self.notes());
        self.shared.round.fetch_add(1, Ordering::Relaxed);
        let notes: Vec<(Box<str>, Timestamp)> = notes.into_iter().collect();
        for notes in notes.chunks(BATCH) {
            if let Err(error) = store.touch(notes).await {
                let cause = std::error::Error::source(&error);
                tracing::warn!(%error, cause, "when keys were used is written later");
                notes.iter().for_each(|(id, at)| self.enter(id, *at));
            }
        }
    }

    fn enter(&self, id: &str, at: Timestamp) {
        let mut notes = self.notes();
        if let Some(noted) = notes.get_mut(id) {
            *noted = at.max(*noted);
        } else if notes.len() < CAPACITY {
            notes.insert(id.into(), at);
        }
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<Box<str>, Timestamp>> {
        let notes = self.shared.notes.lock();
        notes.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LastUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastUsed")
            .field("notes", &self.notes().len())
            .finish_non_exhaustive()
    }
}

// === impl Noted ===

impl Noted {
    /// Whether this round is another one than that of the last note.
    fn is_due(&self, round: u64) -> bool {
        self.0.load(Ordering::Relaxed) != round && self.0.swap(round, Ordering::Relaxed) != round
    }
}

impl Clone for Noted {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often is written, and so the most that what is shown is behind.
const ROUND: Duration = Duration::from_secs(60);

/// Keys in one step at the store, which others wait for.
const BATCH: usize = 500;

/// Keys that are used within a minute; of more the last use is not written.
const CAPACITY: usize = 100_000;

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::api_key::{
        ApiKey, Authenticator, Digest, KeyChange, KeyWriteError, Keyring, Keys, Peppers,
    };
    use crate::entropy::SystemEntropy;
    use crate::error::StoreError;
    use crate::testing::ManualClock;

    #[tokio::test(start_paused = true)]
    async fn requests_within_a_minute_make_one_write() {
        let world = World::new();
        world.store.open.add_permits(1_000);
        // From here on the test looks a second after each write.
        tokio::time::sleep(Duration::from_secs(1)).await;
        for minute in 1..=3 {
            for _ in 0..5 {
                world.request().await;
                world.clock.advance(Duration::from_secs(1));
            }
            tokio::time::sleep(ROUND).await;
            assert_eq!(world.store.touched(), minute, "minute {minute}");
        }
        tokio::time::sleep(ROUND * 3).await;
        assert_eq!(world.store.touched(), 3, "nobody came");
        // The first request of the third minute.
        let want = START + Duration::from_secs(10);
        assert_eq!(world.store.keys.get("k").unwrap().last_used(), Some(want));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_does_not_wait_for_the_store() {
        let world = World::new();
        world.request().await;
        tokio::time::sleep(ROUND + ROUND / 2).await;
        assert_eq!(world.store.touched(), 1, "the store hangs");
        // Time is paused: had it waited, the test would have stood still.
        world.request().await;
        world.store.open.add_permits(1_000);
        tokio::time::sleep(ROUND * 2).await;
        assert_eq!(world.store.touched(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_lost_store_did_not_take_is_written_later() {
        let world = World::new();
        world.store.open.close();
        world.request().await;
        tokio::time::sleep(ROUND * 2 + ROUND / 2).await;
        assert_eq!(world.store.touched(), 2, "it is tried again");
        let notes = world.seen.notes().clone();
        assert_eq!(notes.get("k"), Some(&START));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_is_not_used() {
        let world = World::new();
        assert!(world.store.keys.revoke("k", START));
        assert!(
            world
                .authenticator
                .authenticate(&world.headers)
                .await
                .is_err()
        );
        assert!(world.seen.notes().is_empty());
    }

    struct World {
        clock: ManualClock,
        seen: LastUsed,
        store: Slow,
        authenticator: Authenticator<Slow>,
        headers: http::HeaderMap,
    }

    /// Keys that are touched when they are let be.
    #[derive(Clone)]
    struct Slow {
        keys: Keys,
        open: Arc<Semaphore>,
        touched: Arc<AtomicU64>,
    }

    impl World {
        fn new() -> Self {
            let clock = ManualClock::at(START);
            let key = ApiKey::mint("mk", "live", &SystemEntropy);
            let record = KeyRecord::of(&key, &Peppers::none(), "k", "acc").build();
            let store = Slow {
                keys: Keys::new([record]).unwrap(),
                open: Arc::new(Semaphore::new(0)),
                touched: Arc::default(),
            };
            let seen = LastUsed::new(clock.shared());
            tokio::spawn(seen.clone().write_to(store.clone()));
            let bearer = format!("Bearer {}", key.expose());
            let headers = [(http::header::AUTHORIZATION, bearer.parse().unwrap())];
            Self {
                authenticator: Authenticator::new(store.clone())
                    .clock(clock.shared())
                    .last_used(seen.clone()),
                headers: headers.into_iter().collect(),
                clock,
                seen,
                store,
            }
        }

        async fn request(&self) {
            let admitted = self.authenticator.authenticate(&self.headers).await;
            assert_eq!(admitted.unwrap().key_id(), "k");
        }
    }

    impl Slow {
        fn touched(&self) -> u64 {
            self.touched.load(Ordering::Relaxed)
        }
    }

    impl Keyring for Slow {
        async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
            self.keys.find(digest).await
        }
    }

    impl KeyStore for Slow {
        async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
            KeyStore::get(&self.keys, id).await
        }

        async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
            self.keys.page(after, most).await
        }

        async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
            self.keys.write(changes).await
        }

        async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
            assert_eq!(used.len(), 1);
            self.touched.fetch_add(1, Ordering::Relaxed);
            let Ok(permit) = self.open.acquire().await else {
                return Err(StoreError::not_sent());
            };
            permit.forget();
            self.keys.touch(used).await
        }
    }

    const START: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
}
