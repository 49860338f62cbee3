//! A bounded map of records: plain data, with the time passed in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, IdempotencyKey, Outcome, Owner, Preview, Record};
use crate::principal::Caller;

/// How much may be held in all, and how much is: shared by the tables of one store.
///
/// Two tables that fill the last place at the same moment may exceed it by one record.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) records_allowed: usize,
    pub(super) bytes_allowed: usize,
    held: AtomicUsize,
    bytes: AtomicUsize,
}

/// The records of some callers.
#[derive(Debug)]
pub(super) struct RecordTable {
    callers: HashMap<Caller, Shelf>,
    /// Every record once, under the moment at which it may be forgotten and a number
    /// that tells apart those of the same moment.
    expiries: BTreeMap<(Timestamp, u64), (Caller, IdempotencyKey)>,
    entered: u64,
    usage: Arc<Usage>,
}

/// What belongs to one caller.
#[derive(Debug, Default)]
struct Shelf {
    records: HashMap<IdempotencyKey, Entry>,
    bytes: usize,
}

/// So many records, of so many bytes together.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    records: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    /// Its place in `expiries`.
    expiry: (Timestamp, u64),
    weight: usize,
}

// === impl Usage ===

impl Usage {
    pub(super) fn new(records_allowed: usize, bytes_allowed: usize) -> Self {
        Self {
            records_allowed,
            bytes_allowed,
            held: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    fn has_room(&self, added: Load, freed: Load) -> bool {
        self.held() + added.records <= self.records_allowed.saturating_add(freed.records)
            && self.bytes() + added.bytes <= self.bytes_allowed.saturating_add(freed.bytes)
    }

    fn add(&self, weight: usize) {
        self.held.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(weight, Ordering::AcqRel);
    }

    fn subtract(&self, weight: usize) {
        self.held.fetch_sub(1, Ordering::AcqRel);
        self.bytes.fetch_sub(weight, Ordering::AcqRel);
    }
}

// === impl RecordTable ===

impl RecordTable {
    /// A table that counts towards this usage.
    pub(super) fn new(usage: Arc<Usage>) -> Self {
        Self {
            callers: HashMap::new(),
            expiries: BTreeMap::new(),
            entered: 0,
            usage,
        }
    }

    /// See [`Record::claim`].
    pub(super) fn claim(
        &mut self,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Decision, StoreError> {
        self.sweep(now, SWEPT_AT_ONCE);
        let owner = &attempt.owner;
        let held = self.entry(owner).map(|entry| &entry.record);
        let (decision, kept) = Record::claim(held, attempt, now);
        if let Some(record) = kept {
            // Asked before the record that this one replaces is touched: it may be live.
            if !self.has_room(owner, weight(owner, &record)) {
                return Err(StoreError::full());
            }
            self.take(owner);
            self.put(owner, record);
        }
        Ok(decision)
    }

    /// See [`Record::preview`]; as an error where there is no room for what would be kept.
    pub(super) fn preview(&self, attempt: &Attempt, now: Timestamp) -> Result<Preview, Preview> {
        let owner = &attempt.owner;
        let held = self.entry(owner).map(|entry| &entry.record);
        let (preview, kept) = Record::preview(held, attempt, now);
        let fits = kept.is_none_or(|record| self.has_room(owner, weight(owner, &record)));
        if fits { Ok(preview) } else { Err(preview) }
    }

    /// Whether there is a record whose time is over.
    pub(super) fn has_over(&self, now: Timestamp) -> bool {
        let first = self.expiries.first_key_value();
        first.is_some_and(|((expires, _), _)| *expires <= now)
    }

    /// See [`Record::renew`].
    pub(super) fn renew(&mut self, owner: &Owner, lease: Duration, now: Timestamp) -> bool {
        let Some(mut record) = self.take(owner) else {
            return false;
        };
        let renewed = record.renew(owner.token, lease, now);
        self.put(owner, record);
        renewed
    }

    /// See [`Record::finish`]. Where there is no room for the response, it is noted that
    /// it could not be kept: the claim must not lapse into *unknown* for that.
    pub(super) fn finish(
        &mut self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(held) = self.entry(owner).map(|entry| &entry.record) else {
            return Ok(false);
        };
        let mut ended = held.clone();
        let finished = ended.finish(owner.token, outcome, retention, now);
        if ended != *held {
            if !self.has_room(owner, weight(owner, &ended)) {
                ended = held.clone();
                ended.finish(owner.token, &Outcome::NotStored, retention, now);
            }
            self.take(owner);
            self.put(owner, ended);
        }
        Ok(finished)
    }

    /// See [`Record::releases`].
    pub(super) fn release(&mut self, owner: &Owner) -> bool {
        let released = self
            .entry(owner)
            .is_some_and(|entry| entry.record.releases(owner.token));
        if released {
            self.take(owner);
        }
        released
    }

    fn entry(&self, owner: &Owner) -> Option<&Entry> {
        self.callers.get(&owner.caller)?.records.get(&owner.key)
    }

    /// Whether a record of this weight has room in the place of the one under its key.
    fn has_room(&self, owner: &Owner, weight: usize) -> bool {
        let added = Load {
            records: 1,
            bytes: weight,
        };
        let freed = self.entry(owner).map_or_else(Load::default, |held| Load {
            records: 1,
            bytes: held.weight,
        });
        self.usage.has_room(added, freed) && self.has_share(&owner.caller, added, freed)
    }

    /// One caller may not fill the store for the others.
    fn has_share(&self, caller: &Caller, added: Load, freed: Load) -> bool {
        let (records, bytes) = self
            .callers
            .get(caller)
            .map_or((0, 0), |shelf| (shelf.records.len(), shelf.bytes));
        let share = (self.usage.records_allowed / SHARE).max(1);
        records + added.records <= share + freed.records
            && bytes + added.bytes <= self.usage.bytes_allowed / SHARE + freed.bytes
    }

    fn put(&mut self, owner: &Owner, record: Record) {
        let expiry = (record.expires(), self.entered);
        let weight = weight(owner, &record);
        self.entered += 1;
        self.usage.add(weight);
        self.expiries
            .insert(expiry, (owner.caller.clone(), owner.key.clone()));
        let shelf = self.callers.entry(owner.caller.clone()).or_default();
        shelf.bytes += weight;
        shelf.records.insert(
            owner.key.clone(),
            Entry {
                record,
                expiry,
                weight,
            },
        );
    }

    fn take(&mut self, owner: &Owner) -> Option<Record> {
        self.remove(&owner.caller, &owner.key)
    }

    fn remove(&mut self, caller: &Caller, key: &IdempotencyKey) -> Option<Record> {
        let shelf = self.callers.get_mut(caller)?;
        let Entry {
            record,
            expiry,
            weight,
        } = shelf.records.remove(key)?;
        shelf.bytes -= weight;
        if shelf.records.is_empty() {
            self.callers.remove(caller);
        }
        self.expiries.remove(&expiry);
        self.usage.subtract(weight);
        Some(record)
    }

    /// Forgets at most so many records whose time is over.
    pub(super) fn sweep(&mut self, now: Timestamp, most: usize) {
        for _ in 0..most {
            let Some(entry) = self.expiries.first_entry() else {
                return;
            };
            if entry.key().0 > now {
                return;
            }
            let (caller, key) = entry.get().clone();
            self.remove(&caller, &key);
        }
    }
}

/// What a record takes, with the three copies of its key's place.
fn weight(owner: &Owner, record: &Record) -> usize {
    record.weight() + owner.key.as_bytes().len() + size_of::<Entry>() + OVERHEAD
}

/// One caller may take a quarter of the store (contract §6).
const SHARE: usize = 4;

/// A claim makes room for itself and for one more, so the table shrinks after a peak.
const SWEPT_AT_ONCE: usize = 2;

/// Two maps' nodes and their hashes, measured roughly.
const OVERHEAD: usize = 128;
