//! One step at a time inside a transaction.

use std::time::Duration;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::key_tables::KeyTables;
use super::place::{self, Place};
use super::ring::{Edits, Ring};
use super::usage::{Load, Usage};
use crate::api_key::{KeyChange, KeyWriteError};
use crate::clock::Timestamp;
use crate::codec::Malformed;
use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Record};

/// The tables within one transaction.
pub(super) struct Page<'a> {
    transaction: &'a WriteTransaction,
    records: Table<'a, &'static [u8], &'static [u8]>,
    expiries: Table<'a, (u64, &'static [u8]), u64>,
    counters: Table<'a, u64, &'static [u8]>,
    /// Opened where a step asks for them: most transactions are of records alone.
    keys: Option<KeyTables<'a>>,
    ring: &'a Ring,
    edits: Edits,
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

// === impl Page ===

impl<'a> Page<'a> {
    pub(super) fn open(
        transaction: &'a WriteTransaction,
        ring: &'a Ring,
        usage: &'a mut Usage,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            transaction,
            records: transaction.open_table(RECORDS)?,
            expiries: transaction.open_table(EXPIRIES)?,
            counters: transaction.open_table(COUNTERS)?,
            keys: None,
            ring,
            edits: Edits::default(),
            usage,
            changed: false,
        })
    }

    /// Counts every record that is kept.
    pub(super) fn count(&mut self) -> Result<(), redb::Error> {
        for entry in self.expiries.iter()? {
            let (expiry, weight) = entry?;
            let load = Load::of(usize::try_from(weight.value()).unwrap_or(usize::MAX));
            let caller = place::caller(expiry.value().1);
            self.usage.exchange(caller, load, Load::default());
        }
        Ok(())
    }

    /// What is to be committed: nothing, or something and the keys in it.
    pub(super) fn close(self) -> Option<Edits> {
        self.changed.then_some(self.edits)
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

    /// See [`Record::preview`]. What is over counts as gone: a claim would sweep it.
    pub(super) fn peek(&self, attempt: &Attempt, now: Timestamp) -> Result<Preview, StepError> {
        let place = Place::of(&attempt.owner);
        let held = self.held(&place)?;
        let record = held.as_ref().map(|held| &held.record);
        let (preview, kept) = Record::preview(record, attempt, now);
        let has_room = kept.is_none_or(|record| {
            let added = place.load(record.encode().len());
            let freed = held.map_or_else(Load::default, |held| held.load);
            self.usage.has_room(place.caller(), added, freed)
        });
        let is_over = |(expires, ..): (u64, _, _)| expires <= now.as_unix_millis();
        if has_room || self.first_expiry()?.is_some_and(is_over) {
            Ok(preview)
        } else {
            Err(StepError::Full)
        }
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
                (held.record.expires().as_unix_millis(), place.as_bytes()),
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

    /// See [`KeyStore::write`](crate::api_key::KeyStore::write).
    pub(super) fn write_keys(
        &mut self,
        changes: &[KeyChange],
    ) -> Result<Result<(), KeyWriteError>, StepError> {
        let judged = match self.ring.judge(&self.edits, changes) {
            Ok(judged) => judged,
            Err(refused) => return Ok(Err(refused)),
        };
        for record in judged.records() {
            self.keys()?.write(record)?;
            self.changed = true;
        }
        self.edits.extend(judged);
        Ok(Ok(()))
    }

    /// Writes down when keys were last seen, as far as the file does not know it.
    pub(super) fn keep_uses(&mut self) -> Result<(), redb::Error> {
        for (id, at) in self.ring.take_unwritten() {
            self.keys()?.note_use(&id, at)?;
            self.changed = true;
        }
        Ok(())
    }

    pub(super) fn keys(&mut self) -> Result<&mut KeyTables<'a>, redb::Error> {
        let keys = match self.keys.take() {
            Some(keys) => keys,
            None => KeyTables::open(self.transaction)?,
        };
        Ok(self.keys.insert(keys))
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
        let Some(found) = self
            .records
            .get(place.as_bytes())
            .map_err(redb::Error::from)?
        else {
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
            self.expiries.remove((expires, place.as_bytes()))?;
        }
        let expires = record.expires().as_unix_millis();
        self.expiries
            .insert((expires, place.as_bytes()), added.bytes as u64)?;
        self.records.insert(place.as_bytes(), &*bytes)?;
        self.usage.exchange(place.caller(), added, freed);
        Ok(true)
    }

    fn remove(&mut self, (expires, at): (u64, &[u8]), freed: Load) -> Result<(), redb::Error> {
        self.changed = true;
        self.expiries.remove((expires, at))?;
        self.records.remove(at)?;
        let caller = place::caller(at);
        self.usage.exchange(caller, Load::default(), freed);
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

/// Place to record.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Every record once, under the moment at which it may be forgotten, with its bytes.
const EXPIRIES: TableDefinition<'_, (u64, &[u8]), u64> = TableDefinition::new("expiries");

/// The counters of a shard in one value: written whole, so nothing of it needs sweeping.
pub(super) const COUNTERS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("counters");

/// A claim makes room for itself and for one more, so the file's content shrinks after a peak.
const SWEPT_AT_ONCE: usize = 2;

/// Some milliseconds, which only a claim that has no room pays.
const SWEPT_WHEN_FULL: usize = 1024;
