//! The steps of the store in SQL, once for both engines.
//!
//! A step is a function over [`Sql`], one connection inside one transaction; who opens the
//! transaction, and how commits are shared, is the engine's. The two differ in how a row is
//! locked and in nothing else that matters here: SQLite has one writer, and whoever writes
//! has locked everything.

pub(super) mod accept;
pub(super) mod alias;
pub(super) mod attempt;
pub(super) mod held;
pub(super) mod hold;
pub(super) mod inbox;
mod many;
pub(super) mod operator;
pub(super) mod queue;
pub(super) mod reconcile;
pub(super) mod row;
pub(super) mod service_state;
pub(super) mod shape;
pub(super) mod status;
pub(super) mod sweep;

use std::collections::BTreeSet;

use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments as _, Executor as _};
use vestibule::clock::Timestamp;

pub(super) use self::row::Row;
use crate::message::MessageId;

/// A connection of either engine, inside a transaction.
#[derive(Debug)]
pub(super) enum Sql<'c> {
    Postgres(&'c mut PgConnection),
    Sqlite(&'c mut SqliteConnection),
}

/// A statement whose placeholders are `$1`, `$2`, …, which both engines read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement {
    postgres: &'static str,
    sqlite: &'static str,
}

/// A value for a placeholder. It knows its type even where it is null.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arg<'a> {
    Bytes(Option<&'a [u8]>),
    Int(Option<i64>),
    Text(Option<&'a str>),
}

/// The arguments of a statement.
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::sql::Arg::from($value)),*]
    };
}

/// A `SELECT` that locks the rows it reads until the transaction ends.
macro_rules! locking {
    ($select:literal) => {
        $crate::store::sql::Statement::either($select, concat!($select, " FOR UPDATE"))
    };
}

pub(super) use {args, locking};

// === impl Sql ===

impl Sql<'_> {
    /// Runs a statement; returns how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        statement: impl Into<Statement>,
        args: &[Arg<'_>],
    ) -> Result<u64, sqlx::Error> {
        let statement = statement.into();
        match self {
            Self::Postgres(connection) => {
                let query = sqlx::query_with(statement.postgres, postgres(args)?);
                let done = query.execute(&mut **connection).await?;
                Ok(done.rows_affected())
            }
            Self::Sqlite(connection) => {
                let query = sqlx::query_with(statement.sqlite, sqlite(args)?);
                let done = query.execute(&mut **connection).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// The first row, if there is one.
    pub(super) async fn optional(
        &mut self,
        statement: impl Into<Statement>,
        args: &[Arg<'_>],
    ) -> Result<Option<Row>, sqlx::Error> {
        let statement = statement.into();
        match self {
            Self::Postgres(connection) => {
                let query = sqlx::query_with(statement.postgres, postgres(args)?);
                let row = query.fetch_optional(&mut **connection).await?;
                Ok(row.map(Row::Postgres))
            }
            Self::Sqlite(connection) => {
                let query = sqlx::query_with(statement.sqlite, sqlite(args)?);
                let row = query.fetch_optional(&mut **connection).await?;
                Ok(row.map(Row::Sqlite))
            }
        }
    }

    /// Every row.
    pub(super) async fn all(
        &mut self,
        statement: impl Into<Statement>,
        args: &[Arg<'_>],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let statement = statement.into();
        match self {
            Self::Postgres(connection) => {
                let query = sqlx::query_with(statement.postgres, postgres(args)?);
                let rows = query.fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::Sqlite(connection) => {
                let query = sqlx::query_with(statement.sqlite, sqlite(args)?);
                let rows = query.fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
        }
    }

    /// Lets nobody else work under these names until the transaction ends: for what is not
    /// there yet, so that no row of it can be locked. SQLite has one writer anyway.
    pub(super) async fn lock_names(&mut self, names: &BTreeSet<&str>) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(_) if !names.is_empty() => {
                let names: Vec<&str> = names.iter().copied().collect();
                // In their order, so that two who do never wait for one another.
                let statement = "SELECT pg_advisory_xact_lock(hashtextextended(name, 0))
                     FROM jsonb_array_elements_text($1::jsonb) WITH ORDINALITY AS given (name, n)
                     ORDER BY n";
                let locked = self.execute(statement, args![&*many::rows(&names)?]).await;
                locked.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// Runs a statement that has no placeholders and returns nothing.
    pub(super) async fn command(&mut self, command: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Postgres(connection) => connection.execute(command).await.map(|_| ()),
            Self::Sqlite(connection) => connection.execute(command).await.map(|_| ()),
        }
    }
}

// === impl Statement ===

impl Statement {
    /// A statement that each engine has in its own words.
    pub(super) const fn either(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { postgres, sqlite }
    }
}

impl From<&'static str> for Statement {
    fn from(both: &'static str) -> Self {
        Self::either(both, both)
    }
}

// === impl Arg ===

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'a> From<Option<&'a [u8]>> for Arg<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a MessageId> for Arg<'a> {
    fn from(id: &'a MessageId) -> Self {
        Self::Bytes(Some(id.as_bytes()))
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Int(Some(number))
    }
}

impl From<Option<i64>> for Arg<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Int(number)
    }
}

impl From<u32> for Arg<'_> {
    fn from(number: u32) -> Self {
        Self::Int(Some(number.into()))
    }
}

impl From<u64> for Arg<'_> {
    fn from(number: u64) -> Self {
        Self::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<usize> for Arg<'_> {
    fn from(number: usize) -> Self {
        Self::Int(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<Option<u32>> for Arg<'_> {
    fn from(number: Option<u32>) -> Self {
        Self::Int(number.map(Into::into))
    }
}

impl From<bool> for Arg<'_> {
    fn from(flag: bool) -> Self {
        Self::Int(Some(flag.into()))
    }
}

impl From<Timestamp> for Arg<'_> {
    fn from(at: Timestamp) -> Self {
        Self::from(at.as_unix_millis())
    }
}

impl From<Option<Timestamp>> for Arg<'_> {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Int(None), Self::from)
    }
}

impl From<std::time::Duration> for Arg<'_> {
    fn from(duration: std::time::Duration) -> Self {
        Self::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Option<std::time::Duration>> for Arg<'_> {
    fn from(duration: Option<std::time::Duration>) -> Self {
        duration.map_or(Self::Int(None), Self::from)
    }
}

fn postgres(args: &[Arg<'_>]) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    for arg in args {
        let added = match arg {
            Arg::Bytes(bytes) => arguments.add(bytes),
            Arg::Int(number) => arguments.add(number),
            Arg::Text(text) => arguments.add(text),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn sqlite(args: &[Arg<'_>]) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    for arg in args {
        let added = match arg {
            Arg::Bytes(bytes) => arguments.add(*bytes),
            Arg::Int(number) => arguments.add(*number),
            Arg::Text(text) => arguments.add(*text),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
