//! The store in a PostgreSQL database that several replicas share.
//!
//! PostgreSQL commits in groups by itself: connections that wait for the disk at the same
//! time are served by one write. Rows are locked by the steps that change them, and who
//! takes messages passes over what another replica is at.

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::Notify;
use tracing::{debug, warn};
use vestibule::postgres::Store as Records;

use super::StoreError;
use super::database::Step;
use super::schema::steps_to_take;
use super::sql::Sql;

/// A handle to the database; clones share the connections.
#[derive(Clone, Debug)]
pub(super) struct Postgres {
    pool: PgPool,
    records: Records,
    queued: Arc<Notify>,
    taken_in: Arc<Notify>,
}

/// What the other replicas are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bell {
    /// Messages wait that did not.
    Queued,
    /// A webhook was taken in.
    TakenIn,
}

// === impl Postgres ===

impl Postgres {
    pub(super) async fn open(address: &str) -> Result<Self, StoreError> {
        let (pool, records, _) = connected(address).await?;
        let (queued, taken_in) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        for (rung, channel) in [(&queued, QUEUED), (&taken_in, TAKEN_IN)] {
            tokio::spawn(pass_on(pool.clone(), Arc::clone(rung), channel));
        }
        Ok(Self {
            pool,
            records,
            queued,
            taken_in,
        })
    }

    /// Brings the tables up to date; returns how many steps that took.
    pub(super) async fn migrate(address: &str) -> Result<usize, StoreError> {
        let (pool, _, steps) = connected(address).await?;
        pool.close().await;
        Ok(steps)
    }

    /// What became of keyed requests.
    pub(super) const fn records(&self) -> &Records {
        &self.records
    }

    pub(super) async fn read<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T>,
    {
        let step = "the database could not be read";
        let mut connection = self
            .pool
            .acquire()
            .await
            .map_err(|cause| lost(step, cause))?;
        run(Sql::Postgres(&mut connection))
            .await
            .map_err(|cause| lost(step, cause))
    }

    pub(super) async fn write<T, F>(&self, step: &'static str, run: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T>,
    {
        let mut transaction = self.pool.begin().await.map_err(|cause| lost(step, cause))?;
        let value = run(Sql::Postgres(&mut transaction))
            .await
            .map_err(|cause| lost(step, cause))?;
        transaction
            .commit()
            .await
            .map_err(|cause| lost(step, cause))?;
        Ok(value)
    }

    /// A step of one statement, which is a transaction by itself.
    pub(super) async fn write_one<T, F>(&self, step: &'static str, run: F) -> Result<T, StoreError>
    where
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T>,
    {
        let connection = self.pool.acquire().await;
        let mut connection = connection.map_err(|cause| lost(step, cause))?;
        run(Sql::Postgres(&mut connection))
            .await
            .map_err(|cause| lost(step, cause))
    }

    /// Tells the other replicas, soon.
    pub(super) fn ring(&self, bell: Bell) {
        match bell {
            Bell::Queued => self.queued.notify_one(),
            Bell::TakenIn => self.taken_in.notify_one(),
        }
    }

    /// Tells the other replicas of waiting messages now: for a process that ends before
    /// [`pass_on`] would have.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT pg_notify($1, '')")
            .bind(QUEUED)
            .execute(&self.pool)
            .await
            .map_err(|cause| lost("the service could not be told", cause))?;
        Ok(())
    }

    /// Listens to the other replicas. A connection that is lost is made again, and whoever
    /// waits is told, since something may have been missed.
    pub(super) async fn listen(&self, queued: &Notify, taken_in: &Notify) {
        loop {
            if let Err(cause) = self.hear(queued, taken_in).await {
                warn!(?cause, "other replicas cannot be heard");
            }
            tokio::time::sleep(LISTEN_PAUSE).await;
            queued.notify_one();
            taken_in.notify_one();
        }
    }

    async fn hear(&self, queued: &Notify, taken_in: &Notify) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen_all([QUEUED, TAKEN_IN]).await?;
        // Nothing comes back from `try_recv` where the connection was lost.
        while let Some(heard) = listener.try_recv().await? {
            match heard.channel() {
                QUEUED => queued.notify_one(),
                _ => taken_in.notify_one(),
            }
        }
        Ok(())
    }
}

/// Brings the tables up to date, those of the layers' records too, and keeps connections to
/// them; tells how many steps that took.
async fn connected(address: &str) -> Result<(PgPool, Records, usize), StoreError> {
    let step = "the database could not be opened";
    let options: PgConnectOptions = address
        .parse()
        .map_err(|cause: sqlx::Error| StoreError::failed(step, cause))?;
    let options = options.options(SESSION);
    let mut connection = options
        .connect()
        .await
        .map_err(|cause| StoreError::failed(step, cause))?;
    let steps = migrate(&mut connection)
        .await
        .map_err(|cause| StoreError::failed("the database could not be migrated", cause))?;
    let _ = connection.close().await;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(WAIT)
        .test_before_acquire(false)
        .before_acquire(|connection, kept| {
            Box::pin(async move {
                // One that was good a moment ago is good, and asking it is a round trip.
                if kept.idle_for > TRUSTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .connect_with(options)
        .await
        .map_err(|cause| StoreError::failed(step, cause))?;
    let records = Records::over(pool.clone())
        .await
        .map_err(|cause| StoreError::failed(step, cause))?;
    Ok((pool, records, steps))
}

/// Makes the schema and its tables. Replicas start together, so one at a time: the
/// migrations lock, but the schema has to be there before they can.
async fn migrate(connection: &mut PgConnection) -> Result<usize, MigrateError> {
    connection
        .execute(AssertSqlSafe(format!(
            "SELECT pg_advisory_lock({MIGRATION_LOCK}); CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
        )))
        .await?;
    let steps = steps_to_take(connection, &MIGRATIONS).await?;
    MIGRATIONS.run(&mut *connection).await?;
    connection
        .execute(AssertSqlSafe(format!(
            "SELECT pg_advisory_unlock({MIGRATION_LOCK})"
        )))
        .await?;
    Ok(steps)
}

/// Rings a channel, once for all who rang within a moment. A notification inside each
/// transaction would make every commit wait for every other.
async fn pass_on(pool: PgPool, rung: Arc<Notify>, channel: &'static str) {
    loop {
        rung.notified().await;
        let notified = sqlx::query("SELECT pg_notify($1, '')")
            .bind(channel)
            .execute(&pool)
            .await;
        if pool.is_closed() {
            return;
        }
        if let Err(cause) = notified {
            debug!(?cause, channel, "other replicas were not told");
        }
        tokio::time::sleep(RING_EVERY).await;
    }
}

fn lost(step: &'static str, cause: sqlx::Error) -> StoreError {
    match cause {
        sqlx::Error::PoolTimedOut => StoreError::overloaded(step),
        cause => StoreError::failed(step, cause),
    }
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/store/migrations/postgres");

/// The tables' own place in a database that others may use too.
const SCHEMA: &str = "messaging";

/// What every session is set to, whatever the role is set to.
///
/// What was accepted is on disk. And every statement looks rows up by an index, in tables
/// that are empty at one moment and full at the next: a planner that goes by their size
/// reads or sorts the whole queue for each batch, until it has counted anew.
const SESSION: [(&str, &str); 9] = [
    ("search_path", SCHEMA),
    ("synchronous_commit", "on"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_material", "off"),
    // A plan that cannot do without what is off looks dear enough to be compiled.
    ("jit", "off"),
];

/// Any number, as long as nobody else locks it.
const MIGRATION_LOCK: i64 = 0x6d65_7373_6167_6531;

/// As many as wait for the disk together; a small server takes a hundred in all.
const CONNECTIONS: u32 = 24;

/// How long a connection is believed in that nobody used.
const TRUSTED: Duration = Duration::from_secs(1);

/// Past this the answer is 503.
const WAIT: Duration = Duration::from_secs(2);

const QUEUED: &str = "messaging_queued";
const TAKEN_IN: &str = "messaging_taken_in";

/// How often the others are told, at most.
const RING_EVERY: Duration = Duration::from_millis(20);

const LISTEN_PAUSE: Duration = Duration::from_secs(1);
