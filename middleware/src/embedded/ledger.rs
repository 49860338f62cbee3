//! The file: its tables, and one step at a time inside a transaction.

use std::path::Path;
use std::time::Duration;

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, Table,
    TableDefinition, WriteTransaction,
};

use super::error::{OpenError, WriteError};
use super::file;
use super::usage::{Capacity, Load, Usage};
use crate::clock::Timestamp;
use crate::codec::Malformed;
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Record};

/// An open file, and how much it holds.
#[derive(Debug)]
pub(super) struct Ledger {
    database: Database,
    usage: Usage,
}

/// The tables within one transaction.
pub(super) struct Page<'a> {
    records: Table<'a, &'static [u8], &'static [u8]>,
    expiries: Table<'a, (u64, &'static [u8]), u64>,
    counters: Table<'a, u64, &'static [u8]>,
    usage: &'a mut Usage,
    changed: bool,
}

/// Why a step has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// There is no room; nothing was changed.
    #[error("full")]
    Full,
    /// What is kept cannot be read; nothing was changed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The file failed: no step of the transaction counts.
    #[error(transparent)]
    File(#[from] redb::Error),
}

/// A record as it lies in the file.
struct Held {
    record: Record,
    load: Load,
}

/// Where a record lies: its caller, a zero byte and its key. A key is printable, so the
/// last zero byte ends the caller, whatever that is made of.
struct Place(Vec<u8>);

// === impl Ledger ===

impl Ledger {
    /// Opens the file, or makes one that nobody else may read.
    pub(super) fn open(path: &Path, capacity: Capacity) -> Result<Self, OpenError> {
        file::create(path).map_err(|cause| OpenError::unusable(path, cause))?;
        let database = Builder::new().set_cache_size(CACHE_BYTES).create(path);
        Self::read(path, capacity, database)
    }

    /// Opens the file that was there before. One that has gone is not replaced: live
    /// records would be forgotten.
    pub(super) fn reopen(path: &Path, capacity: Capacity) -> Result<Self, OpenError> {
        let database = Builder::new().set_cache_size(CACHE_BYTES).open(path);
        Self::read(path, capacity, database)
    }

    /// How many records are kept.
    pub(super) fn records_held(&self) -> usize {
        self.usage.all.records
    }

    /// The counters as they were written down last.
    pub(super) fn counters(&self) -> Result<Vec<Vec<u8>>, redb::Error> {
        let counters = self.database.begin_read()?.open_table(COUNTERS)?;
        let values = counters.iter()?;
        values.map(|entry| Ok(entry?.1.value().to_vec())).collect()
    }

    /// Does some work in one transaction, which is on the disk when this returns; says
    /// whether there was anything to write.
    pub(super) fn transact(
        &mut self,
        work: impl FnOnce(&mut Page<'_>) -> Result<(), redb::Error>,
    ) -> Result<bool, WriteError> {
        let transaction = self.begin().map_err(WriteError::not_applied)?;
        let changed = {
            let mut page =
                Page::open(&transaction, &mut self.usage).map_err(WriteError::not_applied)?;
            work(&mut page).map_err(WriteError::not_applied)?;
            page.changed
        };
        if changed {
            let committed = transaction.commit();
            committed.map_err(|cause| WriteError::unknown(cause.into()))?;
        } else {
            let aborted = transaction.abort();
            aborted.map_err(WriteError::not_applied)?;
        }
        Ok(changed)
    }

    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction)
    }

    fn read(
        path: &Path,
        capacity: Capacity,
        database: Result<Database, DatabaseError>,
    ) -> Result<Self, OpenError> {
        let mut ledger = Self {
            database: database.map_err(|cause| OpenError::database(path, cause))?,
            usage: Usage::new(capacity),
        };
        match ledger.read_in() {
            Ok(FORMAT) => Ok(ledger),
            Ok(other) => Err(OpenError::format(path, other)),
            Err(cause) => Err(OpenError::unusable(path, cause)),
        }
    }

    /// Counts what is kept, and says in which format; a new file gets this one.
    fn read_in(&mut self) -> Result<u64, redb::Error> {
        let transaction = self.begin()?;
        let format = {
            let mut about = transaction.open_table(ABOUT)?;
            let format = about.get("format")?.map(|found| found.value());
            if format.is_none() {
                about.insert("format", FORMAT)?;
            }
            format.unwrap_or(FORMAT)
        };
        if format == FORMAT {
            let page = Page::open(&transaction, &mut self.usage)?;
            for entry in page.expiries.iter()? {
                let (expiry, weight) = entry?;
                let load = Load::of(usize::try_from(weight.value()).unwrap_or(usize::MAX));
                page.usage
                    .exchange(caller(expiry.value().1), load, Load::default());
            }
        }
        transaction.commit()?;
        Ok(format)
    }
}

// === impl Page ===

impl<'a> Page<'a> {
    fn open(transaction: &'a WriteTransaction, usage: &'a mut Usage) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            expiries: transaction.open_table(EXPIRIES)?,
            counters: transaction.open_table(COUNTERS)?,
            usage,
            changed: false,
        })
    }

    /// See [`Record::claim`].
    pub(super) fn claim(
        &mut self,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Decision, StepError> {
        self.sweep(now, SWEPT_AT_ONCE)?;
        match self.claim_in_room(attempt, now) {
            Err(StepError::Full) if self.sweep(now, SWEPT_WHEN_FULL)? > 0 => {
                self.claim_in_room(attempt, now)
            }
            answer => answer,
        }
    }

    fn claim_in_room(&mut self, attempt: &Attempt, now: Timestamp) -> Result<Decision, StepError> {
        let place = Place::of(&attempt.owner);
        let held = self.held(&place)?;
        let (decision, kept) = Record::claim(held.as_ref().map(|held| &held.record), attempt, now);
        if let Some(record) = kept
            && !self.write(&place, held.as_ref(), &record)?
        {
            return Err(StepError::Full);
        }
        Ok(decision)
    }

    /// See [`Record::renew`].
    pub(super) fn renew(
        &mut self,
        owner: &Owner,
        lease: Duration,
        now: Timestamp,
    ) -> Result<bool, StepError> {
        let place = Place::of(owner);
        let Some(held) = self.held(&place)? else {
            return Ok(false);
        };
        let mut renewed = held.record.clone();
        Ok(renewed.renew(owner.token, lease, now) && self.write(&place, Some(&held), &renewed)?)
    }

    /// See [`Record::finish`]. Where there is no room for the response, it is noted that
    /// it could not be kept: the claim must not lapse into *unknown* for that.
    pub(super) fn finish(
        &mut self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
        now: Timestamp,
    ) -> Result<bool, StepError> {
        let place = Place::of(owner);
        let Some(held) = self.held(&place)? else {
            return Ok(false);
        };
        for outcome in [outcome, &Outcome::NotStored] {
            let mut ended = held.record.clone();
            let finished = ended.finish(owner.token, outcome, retention, now);
            if ended == held.record || self.write(&place, Some(&held), &ended)? {
                return Ok(finished);
            }
        }
        Err(StepError::Full)
    }

    /// See [`Record::releases`].
    pub(super) fn release(&mut self, owner: &Owner) -> Result<bool, StepError> {
        let place = Place::of(owner);
        let Some(held) = self.held(&place)? else {
            return Ok(false);
        };
        let released = held.record.releases(owner.token);
        if released {
            self.remove(
                (held.record.expires().as_unix_millis(), &place.0),
                held.load,
            )?;
        }
        Ok(released)
    }

    /// Forgets at most so many records whose time is over, and says how many.
    pub(super) fn sweep(&mut self, now: Timestamp, most: usize) -> Result<usize, redb::Error> {
        for swept in 0..most {
            let Some((expires, place, weight)) = self.first_expiry()? else {
                return Ok(swept);
            };
            if expires > now.as_unix_millis() {
                return Ok(swept);
            }
            self.remove((expires, &place), Load::of(weight))?;
        }
        Ok(most)
    }

    /// Writes down the counters of a shard.
    pub(super) fn keep_counters(&mut self, shard: u64, bytes: &[u8]) -> Result<(), redb::Error> {
        self.counters.insert(shard, bytes)?;
        self.changed = true;
        Ok(())
    }

    fn first_expiry(&self) -> Result<Option<(u64, Vec<u8>, usize)>, redb::Error> {
        let first = self.expiries.first()?;
        Ok(first.map(|(expiry, weight)| {
            let (expires, place) = expiry.value();
            let weight = usize::try_from(weight.value()).unwrap_or(usize::MAX);
            (expires, place.to_vec(), weight)
        }))
    }

    fn held(&self, place: &Place) -> Result<Option<Held>, StepError> {
        let Some(found) = self.records.get(&*place.0).map_err(redb::Error::from)? else {
            return Ok(None);
        };
        let record = Record::decode(found.value())?;
        let load = place.load(found.value().len());
        Ok(Some(Held { record, load }))
    }

    /// Writes a record down in the place of the one that lies there; false where it has
    /// no room.
    fn write(
        &mut self,
        place: &Place,
        held: Option<&Held>,
        record: &Record,
    ) -> Result<bool, redb::Error> {
        let bytes = record.encode();
        let added = place.load(bytes.len());
        let freed = held.map_or_else(Load::default, |held| held.load);
        // Asked before the record that this one replaces is touched: it may be live.
        if !self.usage.has_room(place.caller(), added, freed) {
            return Ok(false);
        }
        self.changed = true;
        if let Some(held) = held {
            let expires = held.record.expires().as_unix_millis();
            self.expiries.remove((expires, &*place.0))?;
        }
        let expires = record.expires().as_unix_millis();
        self.expiries
            .insert((expires, &*place.0), added.bytes as u64)?;
        self.records.insert(&*place.0, &*bytes)?;
        self.usage.exchange(place.caller(), added, freed);
        Ok(true)
    }

    fn remove(&mut self, (expires, place): (u64, &[u8]), freed: Load) -> Result<(), redb::Error> {
        self.changed = true;
        self.expiries.remove((expires, place))?;
        self.records.remove(place)?;
        self.usage.exchange(caller(place), Load::default(), freed);
        Ok(())
    }
}

// === impl StepError ===

impl From<redb::StorageError> for StepError {
    fn from(cause: redb::StorageError) -> Self {
        Self::File(cause.into())
    }
}

impl StepError {
    /// What the asker of this step is told; the failure of the file is everybody's.
    pub(super) fn into_own(self) -> Result<StoreError, redb::Error> {
        match self {
            Self::Full => Ok(StoreError::full()),
            Self::Malformed(cause) => Ok(StoreError::not_sent().because(cause)),
            Self::File(cause) => Err(cause),
        }
    }
}

// === impl Place ===

impl Place {
    fn of(owner: &Owner) -> Self {
        let (caller, key) = (owner.caller.as_str().as_bytes(), owner.key.as_bytes());
        Self([caller, &[0], key].concat())
    }

    fn caller(&self) -> &[u8] {
        caller(&self.0)
    }

    /// What a record of so many bytes takes here.
    fn load(&self, bytes: usize) -> Load {
        Load::of(bytes + 2 * self.0.len() + OVERHEAD)
    }
}

/// The caller whose place this is.
fn caller(place: &[u8]) -> &[u8] {
    let end = place.iter().rposition(|byte| *byte == 0);
    &place[..end.unwrap_or(place.len())]
}

/// Place to record.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Every record once, under the moment at which it may be forgotten, with its bytes.
const EXPIRIES: TableDefinition<'_, (u64, &[u8]), u64> = TableDefinition::new("expiries");

/// The counters of a shard in one value: written whole, so nothing of it needs sweeping.
const COUNTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("counters");

/// What is said of the file itself.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// Of the tables. A file of another format is not opened.
const FORMAT: u64 = 1;

/// A claim makes room for itself and for one more, so the file's content shrinks after a peak.
const SWEPT_AT_ONCE: usize = 2;

/// Some milliseconds, which only a claim that has no room pays.
const SWEPT_WHEN_FULL: usize = 1024;

/// A record's part of two tables' pages, roughly.
const OVERHEAD: usize = 64;

/// The inner pages of a full store and its records of the last minutes; redb's own
/// default is a gibibyte.
const CACHE_BYTES: usize = 32 << 20;
