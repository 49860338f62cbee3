//! The store of a single process: counters and records in bounded maps.
//!
//! # Example
//!
//! ```
//! use vestibule::clock::SystemClock;
//! use vestibule::memory::Store;
//!
//! let store = Store::new(SystemClock::shared()).records(10_000).record_bytes(16 << 20);
//! assert_eq!(store.clone().records_held(), 0);
//! ```
//!
//! For tests, and for a service that runs as one process and may forget what it was
//! doing when it ends. Clones share what they hold. A store that is full refuses what
//! is new and never drops what is live.

mod records;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::records::{RecordTable, Usage};
use crate::clock::{SharedClock, Timestamp};
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};
use crate::principal::Caller;
use crate::rate_limit::{CounterTable, Counters, Quota, Verdict};
use crate::stack::Admission;

/// Counters and records in memory.
///
/// See the [module docs](self) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct Store {
    clock: SharedClock,
    shards: Arc<Shards>,
}

/// Callers are spread over shards, so that they seldom wait for one another; all that
/// belongs to one caller lies in one shard. A std mutex, because nothing is awaited
/// while it is held.
#[derive(Debug)]
struct Shards {
    shards: Box<[Mutex<Shard>]>,
    usage: Arc<Usage>,
    capacity: Capacity,
}

#[derive(Debug)]
struct Shard {
    counters: CounterTable,
    records: RecordTable,
}

/// How much a store may hold in all.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    callers: usize,
    records: usize,
    record_bytes: usize,
}

// === impl Store ===

impl Store {
    /// Room for 100,000 callers, and for 100,000 records of 128 MiB together, of which
    /// one caller may take a quarter.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            shards: Arc::new(Shards::new(CAPACITY)),
        }
    }

    /// Room for so many callers' counters. What the store held is dropped.
    pub fn callers(self, callers: usize) -> Self {
        self.resized(|capacity| capacity.callers = callers)
    }

    /// Room for so many records. What the store held is dropped.
    pub fn records(self, records: usize) -> Self {
        self.resized(|capacity| capacity.records = records)
    }

    /// Room for records of so many bytes together. What the store held is dropped.
    pub fn record_bytes(self, bytes: usize) -> Self {
        self.resized(|capacity| capacity.record_bytes = bytes)
    }

    /// How many records are held.
    pub fn records_held(&self) -> usize {
        self.shards.usage.held()
    }

    fn resized(self, change: impl FnOnce(&mut Capacity)) -> Self {
        let mut capacity = self.shards.capacity;
        change(&mut capacity);
        Self {
            clock: self.clock,
            shards: Arc::new(Shards::new(capacity)),
        }
    }
}

impl Counters for Store {
    fn is_local(&self) -> bool {
        true
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let now = self.clock.now();
        self.shards
            .of(caller)
            .counters
            .hit(caller, quota, now)
            .ok_or_else(StoreError::full)
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let now = self.clock.now();
        let shard = self.shards.of(caller);
        let verdict = shard.counters.peek(caller, quota, now);
        verdict.ok_or_else(StoreError::full)
    }
}

impl Records for Store {
    fn is_local(&self) -> bool {
        true
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        let now = self.clock.now();
        let claim = || {
            let mut shard = self.shards.of(&attempt.owner.caller);
            shard.records.claim(attempt, now)
        };
        let answer = claim();
        if answer.is_ok() {
            return answer;
        }
        // What is over may lie in the shard of a caller who never comes back.
        self.shards.sweep(now);
        claim()
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        let now = self.clock.now();
        let answer = {
            let shard = self.shards.of(&attempt.owner.caller);
            shard.records.preview(attempt, now)
        };
        answer.or_else(|free| match self.shards.has_over(now) {
            true => Ok(free),
            false => Err(StoreError::full()),
        })
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        Ok(self
            .shards
            .of(&owner.caller)
            .records
            .renew(owner, lease, now))
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let now = self.clock.now();
        self.shards
            .of(&owner.caller)
            .records
            .finish(owner, outcome, retention, now)
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        Ok(self.shards.of(&owner.caller).records.release(owner))
    }
}

impl Admission for Store {}

// === impl Shards ===

impl Shards {
    fn new(capacity: Capacity) -> Self {
        // A small store is one shard, so that its capacity is exact.
        let shards = if capacity.callers < SHARDS * 16 {
            1
        } else {
            SHARDS
        };
        let usage = Arc::new(Usage::new(capacity.records, capacity.record_bytes));
        let shard = || {
            Mutex::new(Shard {
                counters: CounterTable::new(capacity.callers / shards),
                records: RecordTable::new(Arc::clone(&usage)),
            })
        };
        let shards = std::iter::repeat_with(shard).take(shards).collect();
        Self {
            shards,
            usage,
            capacity,
        }
    }

    fn of(&self, caller: &Caller) -> MutexGuard<'_, Shard> {
        lock(&self.shards[caller.share_of(self.shards.len())])
    }

    /// Whether a sweep would make room.
    fn has_over(&self, now: Timestamp) -> bool {
        let mut shards = self.shards.iter();
        shards.any(|shard| lock(shard).records.has_over(now))
    }

    fn sweep(&self, now: Timestamp) {
        for shard in &self.shards {
            lock(shard).records.sweep(now, SWEPT_WHEN_FULL);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Under a millisecond for all shards, which only a claim that has no room pays.
const SWEPT_WHEN_FULL: usize = 64;

/// More than a process has threads that meet.
const SHARDS: usize = 16;

/// What a pod of 256 MiB can spare.
const CAPACITY: Capacity = Capacity {
    callers: 100_000,
    records: 100_000,
    record_bytes: 128 << 20,
};

#[cfg(test)]
mod tests;
