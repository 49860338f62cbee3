//! The store of a single process that remembers: records, counters and keys in one file.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use vestibule::clock::SystemClock;
//! use vestibule::embedded::Store;
//! use vestibule::rate_limit::{Counters, Quota};
//! use vestibule::Caller;
//!
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("store.redb");
//! let store = Store::open(&path, SystemClock::shared()).unwrap();
//! let verdict = store.hit(&Caller::new("live", "family"), &Quota::per_minute(60)).await.unwrap();
//! assert_eq!(verdict.remaining, 59);
//!
//! let fault = Store::open(&path, SystemClock::shared()).unwrap_err();
//! assert!(fault.to_string().ends_with("is in use by another process, or by another store of this one"));
//! # }
//! ```
//!
//! **Records** are on the disk before they are answered, so a crash or a power cut forgets
//! neither a claim nor a kept response. One thread writes: the steps that wait while
//! it does become its next transaction, so a hundred of them cost one wait for the
//! disk. A claim for an upstream that de-duplicates is answered as soon as it is judged:
//! should it be lost, that upstream still knows what it has executed (contract §6).
//!
//! **Counters** are in memory, and are written down once a second where they changed and
//! when the last clone of the store is dropped, or by [`Store::flush`]. A crash forgets what was counted since:
//! a caller may then send again what it sent within that second. A snapshot that cannot
//! be read is skipped with a warning.
//!
//! **Keys** ([`Store::keyring`]) are in memory too, read in when the file is opened. A change
//! of them is on the disk before it is answered, in the same transactions as the records.
//!
//! Dropping the last clone waits until the file is closed, for as long as five seconds.
//! A file is used by one process at a time, is made readable for its owner alone, and
//! opens again after a crash. It never shrinks; what is over makes room for what is new.
//!
//! Where the disk fails, a step is an error and the file is opened again for the next one. A
//! disk that hangs costs a keyed request its deadline, like a store that is lost
//! (contract §7); limits do not ask it.

mod codec;
mod counters;
mod error;
mod file;
mod key_tables;
mod keyring;
mod ledger;
mod page;
mod place;
mod ring;
mod step;
mod usage;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use self::counters::CounterShards;
pub use self::error::OpenError;
pub use self::keyring::Keyring;
use self::ring::Ring;
use self::step::{Asker, Change, Step};
use self::usage::Capacity;
use self::writer::Writer;
use crate::clock::SharedClock;
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};
use crate::principal::Caller;
use crate::rate_limit::{Counters, Quota, Verdict};
use crate::stack::Admission;

/// Counters in memory, records and keys in a file.
///
/// See the [module docs](self) for an example.
#[derive(Clone, Debug)]
pub struct Store {
    clock: SharedClock,
    shared: Arc<Shared>,
    thread: Arc<Thread>,
}

/// How much a store may hold.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Options {
    callers: usize,
    capacity: Capacity,
}

/// What is in memory, of the store and of its writer.
#[derive(Debug)]
struct Shared {
    counters: CounterShards,
    ring: Ring,
    tally: Tally,
}

/// What the writer tells the world.
#[derive(Debug, Default)]
struct Tally {
    commits: AtomicU64,
    records: AtomicUsize,
}

/// The way to the writer's thread.
struct Thread {
    /// Nothing once it is being closed.
    /// In boxes, because a queue with a bound has all its places from the start.
    steps: Option<SyncSender<Box<Step>>>,
    /// Disconnected when the file is closed.
    closed: Mutex<Receiver<()>>,
}

// === impl Store ===

impl Store {
    /// Opens the file, or makes it, with the usual [`Options`].
    ///
    /// Blocks while the file is read in; after a crash, while it is repaired.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where the file is in use, is none of ours or cannot be made.
    pub fn open(path: impl AsRef<Path>, clock: SharedClock) -> Result<Self, OpenError> {
        Options::default().open(path, clock)
    }

    /// The keys in this file.
    pub fn keyring(&self) -> Keyring {
        Keyring {
            shared: Arc::clone(&self.shared),
            thread: Arc::clone(&self.thread),
        }
    }

    /// How many records the file holds.
    pub fn records_held(&self) -> usize {
        self.shared.tally.records.load(Ordering::Acquire)
    }

    /// How many transactions were committed; steps that wait together share one.
    pub fn commits(&self) -> u64 {
        self.shared.tally.commits.load(Ordering::Acquire)
    }

    /// Writes down what is in memory alone: counters, and when keys were last seen.
    ///
    /// For the end of a process in which nobody drops the last clone.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the file fails.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (asker, answer) = Asker::new();
        self.thread.ask(Step::Flush(asker), answer).await
    }

    async fn change(&self, owner: &Owner, change: Change) -> Result<bool, StoreError> {
        let (asker, answer) = Asker::new();
        self.thread
            .ask(Step::Change(owner.clone(), change, asker), answer)
            .await
    }
}

impl Counters for Store {
    fn is_local(&self) -> bool {
        true
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let verdict = self.shared.counters.hit(caller, quota, self.clock.now());
        verdict.ok_or_else(StoreError::full)
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let verdict = self.shared.counters.peek(caller, quota, self.clock.now());
        verdict.ok_or_else(StoreError::full)
    }
}

/// Not local: a disk may hang, and then the deadlines of a lost store hold.
impl Records for Store {
    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        let (asker, answer) = Asker::new();
        self.thread
            .ask(Step::Claim(attempt.clone(), asker), answer)
            .await
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        let (asker, answer) = Asker::new();
        self.thread
            .ask(Step::Peek(attempt.clone(), asker), answer)
            .await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        self.change(owner, Change::Renew(lease)).await
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        self.change(owner, Change::Finish(outcome.clone(), retention))
            .await
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        self.change(owner, Change::Release).await
    }
}

impl Admission for Store {}

// === impl Options ===

impl Options {
    /// Room for so many callers' counters.
    pub fn callers(mut self, callers: usize) -> Self {
        self.callers = callers;
        self
    }

    /// Room for so many records.
    pub fn records(mut self, records: usize) -> Self {
        self.capacity.records = records;
        self
    }

    /// Room for records of so many bytes together.
    pub fn record_bytes(mut self, bytes: usize) -> Self {
        self.capacity.bytes = bytes;
        self
    }

    /// How many bytes of the file may be in memory.
    pub fn cache(mut self, bytes: usize) -> Self {
        self.capacity.cache = bytes;
        self
    }

    /// See [`Store::open`]. A file that holds more than it may now keeps what it holds.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where the file is in use, is none of ours or cannot be made.
    pub fn open(self, path: impl AsRef<Path>, clock: SharedClock) -> Result<Store, OpenError> {
        let path = path.as_ref().to_owned();
        let shared = Arc::new(Shared::new(self.callers));
        let writer = Writer::open(
            path.clone(),
            self.capacity,
            Arc::clone(&clock),
            Arc::clone(&shared),
        )?;
        let thread = Thread::start(writer).map_err(|cause| OpenError::unusable(&path, cause))?;
        Ok(Store {
            clock,
            shared,
            thread: Arc::new(thread),
        })
    }
}

impl Default for Options {
    /// Room for 100,000 callers, and for a million records of a gibibyte together, of
    /// which one caller may take a quarter; 16 MiB of the file in memory.
    fn default() -> Self {
        Self {
            callers: 100_000,
            capacity: Capacity {
                records: 1_000_000,
                bytes: 1 << 30,
                cache: CACHE_BYTES,
            },
        }
    }
}

// === impl Shared ===

impl Shared {
    fn new(callers: usize) -> Self {
        Self {
            counters: CounterShards::new(callers),
            ring: Ring::default(),
            tally: Tally::default(),
        }
    }
}

// === impl Thread ===

impl Thread {
    fn start(writer: Writer) -> std::io::Result<Self> {
        let (steps, waiting) = mpsc::sync_channel(WAITING_MAX);
        let (open, closed) = mpsc::channel();
        thread::Builder::new()
            .name("vestibule-store".to_owned())
            .spawn(move || {
                writer.run(&waiting);
                drop(open);
            })?;
        Ok(Self {
            steps: Some(steps),
            closed: Mutex::new(closed),
        })
    }

    /// Hands a step over and waits for its answer. Where too many wait, this one does
    /// not: the disk has stopped.
    async fn ask<T>(
        &self,
        step: Step,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let steps = self.steps.as_ref().expect("taken by drop alone");
        if steps.try_send(Box::new(step)).is_err() {
            return Err(StoreError::not_sent());
        }
        match answer.await {
            Ok(answer) => answer,
            Err(lost) => Err(StoreError::unanswered().because(lost)),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.steps = None;
        let closed = self.closed.get_mut();
        let closed = closed.unwrap_or_else(PoisonError::into_inner);
        // Nothing is ever sent: it ends when the thread does, or when the disk hangs.
        let _ended = closed.recv_timeout(CLOSED_WITHIN);
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").finish_non_exhaustive()
    }
}

/// The records of the last minutes and the pages that lead to them, in a quarter of the memory
/// of the smallest pod; redb's own default is a gibibyte.
const CACHE_BYTES: usize = 16 << 20;

/// Several batches: what waits longer than that is past its deadline.
const WAITING_MAX: usize = 1024;

/// A disk that takes longer does not hold up the end of the process.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
