//! The store in one SQLite file.
//!
//! Write-ahead logging lets readers go on while the one writer commits, and
//! `synchronous=FULL` makes a commit outlive a power cut. One process owns the file.

mod records;
mod writer;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqliteConnection, SqlitePool};
use vestibule::clock::SharedClock;
use vestibule::sqlite::{Capacity, Ledger as Records};

use self::writer::{Statements, Writer};
use super::StoreError;
use super::database::Step;
use super::schema::steps_to_take;
use super::sql::Sql;

/// A handle to the file; the clones share one writer and a few readers.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    readers: SqlitePool,
    writer: Writer,
    clock: SharedClock,
}

// === impl Sqlite ===

impl Sqlite {
    /// Opens the file, or makes it, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the file cannot be opened or is no database of ours.
    pub(super) async fn open(path: &Path, clock: &SharedClock) -> Result<Self, StoreError> {
        let step = "the database could not be opened";
        let options = options(path);
        let mut connection = options
            .connect()
            .await
            .map_err(|cause| StoreError::failed(step, cause))?;
        migrate(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            .connect_with(options.read_only(true))
            .await
            .map_err(|cause| StoreError::failed(step, cause))?;
        Ok(Self {
            readers,
            writer: Writer::start(connection),
            clock: clock.clone(),
        })
    }

    /// Brings the tables of the file up to date, and makes it where it is not there; returns
    /// how many steps that took.
    pub(super) async fn migrate(path: &Path) -> Result<usize, StoreError> {
        let mut connection = options(path)
            .connect()
            .await
            .map_err(|cause| StoreError::failed("the database could not be opened", cause))?;
        let steps = migrate(&mut connection).await?;
        let _ = connection.close().await;
        Ok(steps)
    }

    pub(super) async fn read<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T>,
    {
        let mut reader = self.readers.acquire().await.map_err(unread)?;
        run(Sql::Sqlite(&mut reader)).await.map_err(unread)
    }

    /// A step that is refused at once where too many wait.
    pub(super) async fn write<T, F>(&self, step: &'static str, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send + 'static,
    {
        self.writer
            .write(step, Statements::Several, |connection| {
                run(Sql::Sqlite(connection))
            })
            .await
    }

    /// A step that waits for its turn.
    pub(super) async fn write_in_turn<T, F>(
        &self,
        step: &'static str,
        run: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send + 'static,
    {
        self.writer
            .write_in_turn(step, Statements::Several, |connection| {
                run(Sql::Sqlite(connection))
            })
            .await
    }

    /// A step of one statement that waits for its turn.
    pub(super) async fn write_one<T, F>(&self, step: &'static str, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send + 'static,
    {
        self.writer
            .write_in_turn(step, Statements::One, |connection| {
                run(Sql::Sqlite(connection))
            })
            .await
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        // A statement over many rows notes what it would have to take back.
        .pragma("temp_store", "MEMORY")
}

async fn migrate(connection: &mut SqliteConnection) -> Result<usize, StoreError> {
    let step = "the database could not be migrated";
    let steps = steps_to_take(connection, &MIGRATIONS)
        .await
        .map_err(|cause| StoreError::failed(step, cause))?;
    MIGRATIONS
        .run(&mut *connection)
        .await
        .map_err(|cause| StoreError::failed(step, cause))?;
    Records::on(connection)
        .migrate(Capacity::default())
        .await
        .map_err(|cause| StoreError::failed(step, cause))?;
    Ok(steps)
}

/// What a failed read is called, for those who would otherwise each say it.
fn unread(cause: sqlx::Error) -> StoreError {
    match cause {
        sqlx::Error::PoolTimedOut => StoreError::overloaded("no reader was free"),
        cause => StoreError::failed("the database could not be read", cause),
    }
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/migrations/sqlite");

/// Reads take microseconds; more readers than cores only fight for them.
const READERS: u32 = 4;

/// Nothing holds the file for longer, unless another process has it.
const BUSY: Duration = Duration::from_secs(2);
