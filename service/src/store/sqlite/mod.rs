//! The store in one SQLite file.
//!
//! Write-ahead logging lets readers go on while the one writer commits, and
//! `synchronous=FULL` makes a commit outlive a power cut. One process owns the file.

mod intake;
mod ledger;
mod queue;
mod records;
mod row;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlitePool};
use vestibule::clock::SharedClock;
use vestibule::entropy::SharedEntropy;
use vestibule::sqlite::{Capacity, Ledger as Records};

use self::writer::Writer;
use super::StoreError;

/// A handle to the file; the clones share one writer and a few readers.
#[derive(Clone, Debug)]
pub struct Sqlite {
    readers: SqlitePool,
    writer: Writer,
    clock: SharedClock,
    entropy: SharedEntropy,
}

// === impl Sqlite ===

impl Sqlite {
    /// Opens the file, or makes it, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the file cannot be opened or is no database of ours.
    pub async fn open(
        path: &Path,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, StoreError> {
        let step = "the database could not be opened";
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let mut connection = options
            .connect()
            .await
            .map_err(|cause| StoreError::failed(step, cause))?;
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(|cause| StoreError::failed("the database could not be migrated", cause))?;
        Records::on(&mut connection)
            .migrate(Capacity::default())
            .await
            .map_err(|cause| StoreError::failed("the database could not be migrated", cause))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            .connect_with(options.read_only(true))
            .await
            .map_err(|cause| StoreError::failed(step, cause))?;
        Ok(Self {
            readers,
            writer: Writer::start(connection),
            clock,
            entropy,
        })
    }
}

/// What a failed read is called, for those who would otherwise each say it.
fn unread(cause: sqlx::Error) -> StoreError {
    match cause {
        sqlx::Error::PoolTimedOut => StoreError::overloaded("no reader was free"),
        cause => StoreError::failed("the database could not be read", cause),
    }
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/migrations");

/// Reads take microseconds; more readers than cores only fight for them.
const READERS: u32 = 4;

/// Nothing holds the file for longer, unless another process has it.
const BUSY: Duration = Duration::from_secs(2);
