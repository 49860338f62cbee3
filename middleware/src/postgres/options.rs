//! How a database is opened: connected to, checked, and its tables brought up to date.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Connection as _};

use super::Store;
use super::connection::Connections;
use super::room::{Bounds, Room};
use super::statements::Statements;

/// How a [`Store`] uses its database.
///
/// # Example
///
/// ```no_run
/// # async fn open() -> Result<(), vestibule::postgres::OpenError> {
/// use vestibule::postgres::Options;
///
/// let options = Options::new().schema("door").connections(20);
/// let store = options.open("postgres://door@127.0.0.1/shop").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    schema: Arc<str>,
    connections: u32,
    wait: Duration,
}

/// A database that cannot be a store.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct OpenError {
    fault: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

// === impl Options ===

impl Options {
    /// The schema `vestibule`, at most ten connections, and 150 ms to get one of them.
    pub fn new() -> Self {
        Self {
            schema: "vestibule".into(),
            connections: CONNECTIONS,
            wait: WAIT,
        }
    }

    /// The schema that the tables are in, so that several deployments can share a
    /// database: lower-case letters, digits and `_`. It is made if it is not there.
    pub fn schema(mut self, name: &str) -> Self {
        self.schema = name.into();
        self
    }

    /// How many connections there may be at one time.
    pub const fn connections(mut self, most: u32) -> Self {
        self.connections = most;
        self
    }

    /// How long a step of a request waits for a connection. Below the 200 ms that a claim
    /// has in all, it is known of a step without one that nothing was done.
    pub const fn wait(mut self, time: Duration) -> Self {
        self.wait = time;
        self
    }

    /// Connects to the database at this address,
    /// `postgres://user:password@host:port/database?sslmode=…`.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where it cannot be reached, or its tables cannot be made.
    pub async fn open(self, address: &str) -> Result<Store, OpenError> {
        self.checked()?;
        // The fault of a parser may quote a password, and says no more than this does.
        let options = PgConnectOptions::from_str(address).map_err(|_| {
            OpenError::new("it is no address like \"postgres://user@host/database\"")
        })?;
        // That a table is there already is no news to an operator, and is told at each start.
        let quiet = [("client_min_messages", "warning")];
        let options = options.application_name("vestibule").options(quiet);
        let connecting = PgConnection::connect_with(&options);
        let connected = tokio::time::timeout(OPENED, connecting).await;
        let mut connection = connected
            .map_err(|late| OpenError::because("it cannot be reached", late))?
            .map_err(|cause| OpenError::because("it cannot be reached", cause))?;
        self.migrate(&mut connection).await?;
        let _ended = connection.close().await;
        let store = self.store(Connections::open(options, self.connections, self.wait));
        // The first request, which waits no longer than any other, finds one there.
        let first = store.pool().acquire().await;
        first.map_err(|cause| OpenError::because("it cannot be reached", cause))?;
        Ok(store)
    }

    /// The same over a pool that somebody else has made: its settings are kept, and
    /// [`connections`](Self::connections) is not asked.
    ///
    /// # Errors
    ///
    /// [`OpenError`] where it gives no connection, or the tables cannot be made.
    pub async fn over(self, pool: PgPool) -> Result<Store, OpenError> {
        self.checked()?;
        let connection = pool
            .acquire()
            .await
            .map_err(|cause| OpenError::because("it cannot be reached", cause))?;
        // It is not given back: it looks for tables in our schema first.
        let mut connection = connection.detach();
        self.migrate(&mut connection).await?;
        let _ended = connection.close().await;
        Ok(self.store(Connections::over(pool, self.wait)))
    }

    fn store(&self, connections: Connections) -> Store {
        Store {
            connections,
            statements: Arc::new(Statements::new(&self.schema)),
            room: Arc::new(Room::new(Bounds {
                share: SHARE,
                whole: None,
            })),
            #[cfg(test)]
            offset: Arc::default(),
        }
    }

    fn checked(&self) -> Result<(), OpenError> {
        let is_name = (1..=NAME_MAX).contains(&self.schema.len())
            && self
                .schema
                .starts_with(|first: char| !first.is_ascii_digit())
            && self
                .schema
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_name {
            return Ok(());
        }
        Err(OpenError::new(format!(
            "its schema {:?} must be 1 to {NAME_MAX} lower-case letters, digits and \"_\"",
            self.schema
        )))
    }

    /// Makes the schema and its tables, or brings them up to date. Of several processes
    /// that start at once, one does it and the others wait.
    async fn migrate(&self, connection: &mut PgConnection) -> Result<(), OpenError> {
        let schema = &self.schema;
        let make = format!(
            "BEGIN; SELECT pg_advisory_xact_lock({LOCK}); \
             CREATE SCHEMA IF NOT EXISTS \"{schema}\"; COMMIT; \
             SET search_path TO \"{schema}\""
        );
        sqlx::raw_sql(AssertSqlSafe(make))
            .execute(&mut *connection)
            .await
            .map_err(|cause| OpenError::because("its schema cannot be made", cause))?;
        // `run` takes whatever gives a connection, so generally that its future cannot be sent.
        MIGRATIONS
            .run_direct(None, connection, false)
            .await
            .map_err(|cause| OpenError::because("its tables cannot be brought up to date", cause))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

// === impl OpenError ===

impl OpenError {
    fn new(fault: impl Into<String>) -> Self {
        Self {
            fault: fault.into(),
            source: None,
        }
    }

    fn because(fault: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self {
            fault: format!("{fault}: {source}"),
            source: Some(source),
        }
    }
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/postgres/migrations");

/// What all who make a schema lock: "vestibul" in ASCII.
const LOCK: i64 = 0x7665_7374_6962_756c;

/// As many steps as a small database server works on at one time.
const CONNECTIONS: u32 = 10;

/// Less than a claim has in all (contract §7).
const WAIT: Duration = Duration::from_millis(150);

/// Somebody waits for the process to start.
const OPENED: Duration = Duration::from_secs(5);

/// A caller that sends one keyed request a second has this many in a day.
const SHARE: u64 = 100_000;

/// A name in PostgreSQL has 63 bytes at most.
const NAME_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_plain_name() {
        for (name, want) in [
            ("vestibule", true),
            ("_a1", true),
            ("", false),
            ("1a", false),
            ("A", false),
            ("a-b", false),
            ("a\"; DROP TABLE keys; --", false),
            (&"a".repeat(64), false),
        ] {
            let checked = Options::new().schema(name).checked();
            assert_eq!(checked.is_ok(), want, "{name}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_not_shown() {
        let opened = Options::new()
            .open("postgres://user:canary@host:port/x")
            .await;
        let fault = opened.unwrap_err().to_string();
        assert_eq!(
            fault,
            "it is no address like \"postgres://user@host/database\""
        );
    }
}
