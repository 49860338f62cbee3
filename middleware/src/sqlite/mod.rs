//! Records in a team's own SQLite database, so that a claim can end in its transactions.
//!
//! # Example
//!
//! ```
//! use http::Response;
//! use sqlx::SqlitePool;
//! use vestibule::clock::SystemClock;
//! use vestibule::{ApiError, Claim, Pair, memory, sqlite};
//!
//! # async fn store() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = SqlitePool::connect("sqlite:charges.db").await?;
//! let clock = SystemClock::shared();
//! let records = sqlite::Store::over(pool, clock.clone());
//! records.migrate().await?;
//! // What an `ApiLayer` is built on; limits are counted in memory.
//! let store = Pair::new(memory::Store::new(clock), records);
//! # Ok(()) }
//!
//! async fn charge(pool: &SqlitePool, claim: &Claim) -> Result<Response<&'static str>, ApiError> {
//!     let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(|_| ApiError::internal())?;
//!     let charged = sqlx::query("INSERT INTO charge VALUES (?)").bind(17).execute(&mut *tx).await;
//!     charged.map_err(|_| ApiError::internal())?;
//!     let response = Response::new("charged");
//!     claim.finish(&mut tx, &response).await?;
//!     tx.commit().await.map_err(|_| ApiError::internal())?;
//!     Ok(response)
//! }
//! ```
//!
//! A crash anywhere leaves the effect and the record, or neither. The route's policy is
//! [`transactional`](crate::route::Policy::transactional): a claim that was left behind is
//! taken over once its lease has ended.
//!
//! **A transaction that finishes a claim begins with `BEGIN IMMEDIATE`.** One that reads
//! first and writes later fails with "database is locked" as soon as another connection has
//! written in between, and the layers do write: they renew the lease. While a transaction
//! of yours holds the write lock, no step of the layers gets through, for this or any other
//! key; it is no place to wait for something else.
//!
//! A step of the store is a transaction of its own, and durable as the database is set to be:
//! write-ahead logging with `synchronous = FULL` outlives a power cut, and anything outlives
//! the end of the process. Steps and transactions of yours wait for one another as long as
//! the database's busy timeout; a step that waits longer than 200 ms counts as lost
//! (contract §7). A service that commits in groups takes the steps itself, with [`Ledger`].
//!
//! The tables are called `vestibule_…`; [`Store::migrate`] makes them, or the
//! statements in [`SCHEMA`] among your own migrations.

mod capacity;
mod ledger;

use std::time::Duration;

use sqlx::{Sqlite, SqlitePool, Transaction};

pub use self::capacity::Capacity;
use self::ledger::failed;
pub use self::ledger::{Ledger, SCHEMA};
use crate::clock::SharedClock;
use crate::error::{StoreError, StoreErrorKind};
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};

/// Records in the database of a pool.
///
/// See the [module docs](self) for an example. Clones share the pool.
#[derive(Clone, Debug)]
#[must_use]
pub struct Store {
    pool: SqlitePool,
    clock: SharedClock,
    capacity: Capacity,
}

// === impl Store ===

impl Store {
    /// Keeps records in the database of this pool. [`migrate`](Self::migrate) makes the tables.
    pub fn over(pool: SqlitePool, clock: SharedClock) -> Self {
        Self {
            pool,
            clock,
            capacity: Capacity::default(),
        }
    }

    /// Lets [`migrate`](Self::migrate) set how much may be kept.
    pub const fn capacity(mut self, capacity: Capacity) -> Self {
        self.capacity = capacity;
        self
    }

    /// Makes the tables where they are missing, and sets how much they may hold.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the database fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let made = Ledger::on(&mut transaction).migrate(self.capacity).await;
        commit(transaction, made).await
    }

    /// The lock comes first, so that what is read is what will be written over.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let begun = self.pool.begin_with("BEGIN IMMEDIATE").await;
        begun.map_err(failed)
    }
}

impl Records for Store {
    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        let mut transaction = self.begin().await?;
        let now = self.clock.now();
        let decision = Ledger::on(&mut transaction).claim(attempt, now).await;
        commit(transaction, decision).await
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        let mut reader = self.pool.acquire().await.map_err(failed)?;
        Ledger::on(&mut reader)
            .preview(attempt, self.clock.now())
            .await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let now = self.clock.now();
        let renewed = Ledger::on(&mut transaction).renew(owner, lease, now).await;
        commit(transaction, renewed).await
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let mut reader = self.pool.acquire().await.map_err(failed)?;
        // What has ended in its transaction is only read: it waits for no lock.
        if Ledger::on(&mut reader).has_ended(owner).await? {
            return Ok(true);
        }
        drop(reader);
        let mut transaction = self.begin().await?;
        let now = self.clock.now();
        let finished = Ledger::on(&mut transaction)
            .finish(owner, outcome, retention, now)
            .await;
        commit(transaction, finished).await
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let released = Ledger::on(&mut transaction).release(owner).await;
        commit(transaction, released).await
    }
}

/// Tells an answer once it is on the disk. A store that is full has swept all the same.
async fn commit<T>(
    transaction: Transaction<'_, Sqlite>,
    answer: Result<T, StoreError>,
) -> Result<T, StoreError> {
    match answer {
        Err(error) if error.kind() != StoreErrorKind::Full => Err(error),
        answer => {
            let committed = transaction.commit().await;
            committed.map_err(|cause| StoreError::unanswered().because(cause))?;
            answer
        }
    }
}

#[cfg(test)]
mod tests;
