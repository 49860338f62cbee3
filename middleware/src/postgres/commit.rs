//! Claims that end in a transaction of a handler's own.

use std::sync::LazyLock;

use sqlx::postgres::{PgConnection, PgTransaction};
use sqlx::query;

use super::Store;
use super::connection::Step as _;
use super::records::{Finish, Place, caller, held};
use super::statements::Statements;
use crate::error::StoreError;
use crate::idempotency::{Commit, FinishError, Record, RecordsConnection};

/// A connection of a handler's own, to the database in which a [`Store`] keeps its records.
///
/// For a store whose schema is not called `vestibule`; otherwise the connection, or the
/// transaction, is itself what [`Claim::finish`](crate::Claim::finish) asks for.
#[derive(Debug)]
pub struct Within<'a> {
    place: Place<'a>,
    connection: &'a mut PgConnection,
}

// === impl Store ===

impl Store {
    /// The records of this store, within a transaction on this connection.
    ///
    /// The transaction must be of the isolation level `READ COMMITTED`, which is the
    /// default: one of a stricter level fails as soon as the layers have renewed the lease.
    pub fn within<'a>(&'a self, connection: &'a mut PgConnection) -> Within<'a> {
        Within {
            place: self.place(),
            connection,
        }
    }
}

// === impl Within ===

impl RecordsConnection for Within<'_> {
    async fn commit(&mut self, commit: &Commit) -> Result<(), FinishError> {
        end(self.place, self.connection, commit).await
    }
}

/// Records in the schema `vestibule`.
impl RecordsConnection for PgConnection {
    async fn commit(&mut self, commit: &Commit) -> Result<(), FinishError> {
        end(usual(), self, commit).await
    }
}

/// Records in the schema `vestibule`.
impl RecordsConnection for PgTransaction<'_> {
    async fn commit(&mut self, commit: &Commit) -> Result<(), FinishError> {
        end(usual(), self, commit).await
    }
}

/// Judges what is held, under a lock that lasts as long as the transaction, and ends it.
async fn end(
    place: Place<'_>,
    connection: &mut PgConnection,
    commit: &Commit,
) -> Result<(), FinishError> {
    let row = query(place.statements.lock.text())
        .bind(caller(&commit.owner.caller))
        .bind(&commit.owner.key.as_bytes()[..])
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    let held = row.as_ref().map(held).transpose().map_err(failed)?;
    Record::commit(held.flatten().as_ref(), commit)?;
    let finish = Finish {
        place,
        owner: &commit.owner,
        outcome: &commit.outcome,
        retention: commit.retention,
    };
    let ended = finish.take(connection).await.map_err(failed)?;
    // It was locked, so nobody can have come in between.
    ended.then_some(()).ok_or(FinishError::Gone)
}

fn usual() -> Place<'static> {
    static STATEMENTS: LazyLock<Statements> = LazyLock::new(|| Statements::new("vestibule"));
    Place {
        statements: &STATEMENTS,
        offset: 0,
    }
}

/// A failed statement has ended the transaction, and with it whatever it did.
fn failed(cause: sqlx::Error) -> StoreError {
    StoreError::not_sent().because(cause)
}
