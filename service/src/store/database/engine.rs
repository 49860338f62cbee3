//! Either engine, and how each runs a step.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use vestibule::clock::Timestamp;

use crate::store::postgres::{Bell, Postgres};
use crate::store::sql::{Sql, accept, inbox};
use crate::store::sqlite::Sqlite;
use crate::store::{NewMessage, StoreError};

/// What keeps the tables.
#[derive(Clone, Debug)]
pub(in crate::store) enum Engine {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

/// A step's future, bound to the connection it runs on.
pub(in crate::store) type Step<'c, T> =
    Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

// === impl Engine ===

impl Engine {
    /// A step that changes nothing.
    pub(super) async fn read<T, F>(&self, run: F) -> Result<T, StoreError>
    where
        T: Send,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send,
    {
        match self {
            Self::Postgres(postgres) => postgres.read(run).await,
            Self::Sqlite(sqlite) => sqlite.read(run).await,
        }
    }

    /// A step that has somebody to refuse: it is refused at once where too many wait.
    pub(super) async fn write<T, F>(&self, step: &'static str, run: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send + 'static,
    {
        match self {
            Self::Postgres(postgres) => postgres.write(step, run).await,
            Self::Sqlite(sqlite) => sqlite.write(step, run).await,
        }
    }

    /// A step that has nobody to refuse: it waits for its turn.
    pub(super) async fn write_in_turn<T, F>(
        &self,
        step: &'static str,
        run: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, T> + Send + 'static,
    {
        match self {
            Self::Postgres(postgres) => postgres.write(step, run).await,
            Self::Sqlite(sqlite) => sqlite.write_in_turn(step, run).await,
        }
    }

    /// A step of one statement that waits for its turn.
    async fn write_one<F>(&self, step: &'static str, run: F) -> Result<(), StoreError>
    where
        F: for<'c> FnOnce(Sql<'c>) -> Step<'c, ()> + Send + 'static,
    {
        match self {
            Self::Postgres(postgres) => postgres.write_one(step, run).await,
            Self::Sqlite(sqlite) => sqlite.write_one(step, run).await,
        }
    }

    /// Inserts messages, all of them or none.
    pub(super) async fn insert(self, new: Vec<Arc<NewMessage>>) -> Result<(), StoreError> {
        self.write_one(UNKEPT_MESSAGE, move |mut sql| {
            Box::pin(async move {
                let new = new.iter().map(|new| &**new);
                accept::insert_messages(&mut sql, new).await
            })
        })
        .await
    }

    /// Appends bodies of webhooks, all of them or none.
    pub(super) async fn append(
        self,
        bodies: Vec<Arc<(Bytes, Timestamp)>>,
    ) -> Result<(), StoreError> {
        self.write_one(UNKEPT_WEBHOOK, move |mut sql| {
            Box::pin(async move {
                let bodies = bodies.iter().map(|one| (&*one.0, one.1));
                inbox::append_all(&mut sql, bodies).await
            })
        })
        .await
    }

    /// Appends one that would make a statement too long.
    pub(super) async fn append_long(&self, body: Bytes, now: Timestamp) -> Result<(), StoreError> {
        self.write(UNKEPT_WEBHOOK, move |mut sql| {
            Box::pin(async move { inbox::append(&mut sql, &body, now).await })
        })
        .await
    }

    /// Tells the other replicas, where there can be any.
    pub(super) fn ring(&self, bell: Bell) {
        if let Self::Postgres(postgres) = self {
            postgres.ring(bell);
        }
    }
}

/// What a message is called that was not inserted.
pub(super) const UNKEPT_MESSAGE: &str = "the message could not be kept";

/// What a webhook is called that was not appended.
pub(super) const UNKEPT_WEBHOOK: &str = "the webhook could not be kept";
