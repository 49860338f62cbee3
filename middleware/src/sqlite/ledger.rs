//! The tables, and one step at a time on a connection within its transaction.

use std::time::Duration;

use sqlx::{Row as _, Sqlite, SqliteConnection, Transaction};

use super::capacity::{Capacity, Load, Usage};
use crate::clock::Timestamp;
use crate::error::{StoreError, StoreErrorKind};
use crate::idempotency::{
    Attempt, Commit, Decision, FinishError, Outcome, Owner, Preview, Record, RecordsConnection,
};

/// The records, on a connection of yours and within its transaction.
///
/// For a service that has a writer of its own, which commits several steps at once: it takes
/// them with this, and implements [`Records`](crate::idempotency::Records) by it. A step
/// that fails has changed nothing. None is to be told before the transaction, begun with
/// `BEGIN IMMEDIATE`, is committed.
#[derive(Debug)]
pub struct Ledger<'c> {
    connection: &'c mut SqliteConnection,
}

/// A record as it lies in its table.
struct Held {
    record: Record,
    load: Load,
}

// === impl Ledger ===

impl<'c> Ledger<'c> {
    /// The records in the database of this connection.
    pub const fn on(connection: &'c mut SqliteConnection) -> Self {
        Self { connection }
    }

    /// Makes the tables where they are missing, and sets how much they may hold.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the database fails.
    pub async fn migrate(&mut self, capacity: Capacity) -> Result<(), StoreError> {
        sqlx::raw_sql(SCHEMA)
            .execute(&mut *self.connection)
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO vestibule_capacity VALUES (1, ?1, ?2)
             ON CONFLICT (one) DO UPDATE SET records = ?1, bytes = ?2",
        )
        .bind(integer(capacity.records))
        .bind(integer(capacity.bytes))
        .execute(&mut *self.connection)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// See [`Record::claim`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] where there is no room or the database fails.
    pub async fn claim(
        &mut self,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Decision, StoreError> {
        self.sweep(now, SWEPT_AT_ONCE).await?;
        match self.claim_in_room(attempt, now).await {
            Err(error)
                if error.kind() == StoreErrorKind::Full
                    && self.sweep(now, SWEPT_WHEN_FULL).await? > 0 =>
            {
                self.claim_in_room(attempt, now).await
            }
            answer => answer,
        }
    }

    /// See [`Record::preview`]. It writes nothing, and so needs no transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where a claim would have no room or the database fails.
    pub async fn preview(
        &mut self,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Preview, StoreError> {
        let owner = &attempt.owner;
        let held = self.held(owner).await?;
        let record = held.as_ref().map(|held| &held.record);
        let (preview, kept) = Record::preview(record, attempt, now);
        let Some(record) = kept else {
            return Ok(preview);
        };
        let added = load(owner, &record.encode());
        let freed = held.map_or_else(Load::default, |held| held.load);
        let usage = self.usage(owner.caller.as_str()).await?;
        if usage.has_room(added, freed) || self.has_over(now).await? {
            Ok(preview)
        } else {
            Err(StoreError::full())
        }
    }

    /// See [`Record::renew`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the database fails.
    pub async fn renew(
        &mut self,
        owner: &Owner,
        lease: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(held) = self.held(owner).await? else {
            return Ok(false);
        };
        let mut renewed = held.record.clone();
        if !renewed.renew(owner.token, lease, now) {
            return Ok(false);
        }
        self.write(owner, Some(&held), &renewed).await
    }

    /// See [`Record::finish`]. Where there is no room for the response, it is noted that
    /// it could not be kept: the claim must not lapse into *unknown* for that.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the database fails.
    pub async fn finish(
        &mut self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(held) = self.held(owner).await? else {
            return Ok(false);
        };
        let mut ended = held.record.clone();
        let finished = ended.finish(owner.token, outcome, retention, now);
        if ended != held.record && !self.write(owner, Some(&held), &ended).await? {
            ended = held.record.clone();
            ended.finish(owner.token, &Outcome::NotStored, retention, now);
            self.write(owner, Some(&held), &ended).await?;
        }
        Ok(finished)
    }

    /// See [`Record::releases`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the database fails.
    pub async fn release(&mut self, owner: &Owner) -> Result<bool, StoreError> {
        let held = self.held(owner).await?;
        let releases = held.is_some_and(|held| held.record.releases(owner.token));
        if releases {
            sqlx::query("DELETE FROM vestibule_record WHERE caller = ? AND key = ?")
                .bind(owner.caller.as_str())
                .bind(&owner.key.as_bytes()[..])
                .execute(&mut *self.connection)
                .await
                .map_err(failed)?;
        }
        Ok(releases)
    }

    /// Whether this owner's execution has ended already, as one has that ended in its
    /// transaction.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the database fails.
    pub async fn has_ended(&mut self, owner: &Owner) -> Result<bool, StoreError> {
        let held = self.held(owner).await?;
        Ok(held.is_some_and(|held| held.record.has_ended(owner.token)))
    }

    /// See [`Record::commit`].
    ///
    /// # Errors
    ///
    /// [`FinishError`] where the claim is not this owner's to end, or the database fails.
    pub async fn commit(&mut self, commit: &Commit) -> Result<(), FinishError> {
        let owner = &commit.owner;
        let held = self.held(owner).await?;
        let ended = Record::commit(held.as_ref().map(|held| &held.record), commit)?;
        if !self.write(owner, held.as_ref(), &ended).await? {
            let (outcome, retention) = (&Outcome::NotStored, commit.retention);
            self.finish(owner, outcome, retention, commit.now).await?;
        }
        Ok(())
    }

    async fn claim_in_room(
        &mut self,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Decision, StoreError> {
        let owner = &attempt.owner;
        let held = self.held(owner).await?;
        let record = held.as_ref().map(|held| &held.record);
        let (decision, kept) = Record::claim(record, attempt, now);
        if let Some(record) = kept
            && !self.write(owner, held.as_ref(), &record).await?
        {
            return Err(StoreError::full());
        }
        Ok(decision)
    }

    async fn held(&mut self, owner: &Owner) -> Result<Option<Held>, StoreError> {
        let row =
            sqlx::query("SELECT bytes, record FROM vestibule_record WHERE caller = ? AND key = ?")
                .bind(owner.caller.as_str())
                .bind(&owner.key.as_bytes()[..])
                .fetch_optional(&mut *self.connection)
                .await
                .map_err(failed)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let bytes: &[u8] = row.try_get("record").map_err(failed)?;
        let record =
            Record::decode(bytes).map_err(|fault| StoreError::not_sent().because(fault))?;
        let load = Load::of(natural(row.try_get("bytes").map_err(failed)?));
        Ok(Some(Held { record, load }))
    }

    /// Writes a record down in the place of the one that lies there; false where it has
    /// no room.
    async fn write(
        &mut self,
        owner: &Owner,
        held: Option<&Held>,
        record: &Record,
    ) -> Result<bool, StoreError> {
        let (caller, key, bytes) = (owner.caller.as_str(), owner.key.as_bytes(), record.encode());
        let added = load(owner, &bytes);
        let freed = held.map_or_else(Load::default, |held| held.load);
        if !self.usage(caller).await?.has_room(added, freed) {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO vestibule_record VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (caller, key) DO UPDATE SET expires = ?3, bytes = ?4, record = ?5",
        )
        .bind(caller)
        .bind(&key[..])
        .bind(integer(record.expires().as_unix_millis()))
        .bind(integer(added.bytes))
        .bind(bytes)
        .execute(&mut *self.connection)
        .await
        .map_err(failed)?;
        Ok(true)
    }

    async fn usage(&mut self, caller: &str) -> Result<Usage, StoreError> {
        let row = sqlx::query(
            "SELECT may.records, may.bytes, whole.records, whole.bytes, own.records, own.bytes
             FROM vestibule_capacity AS may
             LEFT JOIN vestibule_usage AS whole ON whole.caller = ''
             LEFT JOIN vestibule_usage AS own ON own.caller = ?",
        )
        .bind(caller)
        .fetch_one(&mut *self.connection)
        .await
        .map_err(failed)?;
        let number = |index: usize| -> Result<u64, StoreError> {
            let number: Option<i64> = row.try_get(index).map_err(failed)?;
            Ok(natural(number.unwrap_or_default()))
        };
        let load = |index| -> Result<Load, StoreError> {
            let (records, bytes) = (number(index)?, number(index + 1)?);
            Ok(Load { records, bytes })
        };
        let (records, bytes) = (number(0)?, number(1)?);
        Ok(Usage {
            capacity: Capacity { records, bytes },
            all: load(2)?,
            own: load(4)?,
        })
    }

    /// Whether there is a record whose time is over.
    async fn has_over(&mut self, now: Timestamp) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT 1 FROM vestibule_record WHERE expires <= ? LIMIT 1")
            .bind(integer(now.as_unix_millis()))
            .fetch_optional(&mut *self.connection)
            .await
            .map_err(failed)?;
        Ok(found.is_some())
    }

    /// Forgets at most so many records whose time is over; returns how many.
    async fn sweep(&mut self, now: Timestamp, most: u32) -> Result<u64, StoreError> {
        let swept = sqlx::query(
            "DELETE FROM vestibule_record WHERE rowid IN
             (SELECT rowid FROM vestibule_record WHERE expires <= ? ORDER BY expires LIMIT ?)",
        )
        .bind(integer(now.as_unix_millis()))
        .bind(most)
        .execute(&mut *self.connection)
        .await
        .map_err(failed)?;
        Ok(swept.rows_affected())
    }
}

// === impl SqliteConnection ===

impl RecordsConnection for SqliteConnection {
    async fn commit(&mut self, commit: &Commit) -> Result<(), FinishError> {
        Ledger::on(self).commit(commit).await
    }
}

// === impl Transaction ===

impl RecordsConnection for Transaction<'_, Sqlite> {
    async fn commit(&mut self, commit: &Commit) -> Result<(), FinishError> {
        Ledger::on(self).commit(commit).await
    }
}

/// What a record takes.
fn load(owner: &Owner, record: &[u8]) -> Load {
    let place = owner.caller.as_str().len() + owner.key.as_bytes().len();
    Load::of((record.len() + 2 * place) as u64 + OVERHEAD)
}

/// A statement that failed has changed nothing, and no step writes twice.
pub(super) fn failed(cause: sqlx::Error) -> StoreError {
    StoreError::not_sent().because(cause)
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// The statements that make the tables; run again, they change nothing.
pub const SCHEMA: &str = include_str!("schema.sql");

/// A claim makes room for itself and for one more, so the table shrinks after a peak.
const SWEPT_AT_ONCE: u32 = 2;

/// Some milliseconds, which only a claim that has no room pays.
const SWEPT_WHEN_FULL: u32 = 1024;

/// A record's part of a table's and two indexes' pages, roughly.
const OVERHEAD: u64 = 64;
