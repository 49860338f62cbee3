//! What became of keyed requests, for the layers of a service that takes API keys itself: in
//! the database that its messages are in, so that one transaction ends both.

use std::time::Duration;

use vestibule::error::StoreError;
use vestibule::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};

use super::{Database, Engine};

impl Records for Database {
    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        match &self.engine {
            Engine::Postgres(postgres) => postgres.records().claim(attempt).await,
            Engine::Sqlite(sqlite) => sqlite.claim(attempt).await,
        }
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        match &self.engine {
            Engine::Postgres(postgres) => postgres.records().peek_claim(attempt).await,
            Engine::Sqlite(sqlite) => sqlite.peek_claim(attempt).await,
        }
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Postgres(postgres) => postgres.records().renew(owner, lease).await,
            Engine::Sqlite(sqlite) => sqlite.renew(owner, lease).await,
        }
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Postgres(postgres) => {
                postgres.records().finish(owner, outcome, retention).await
            }
            Engine::Sqlite(sqlite) => sqlite.finish(owner, outcome, retention).await,
        }
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Postgres(postgres) => postgres.records().release(owner).await,
            Engine::Sqlite(sqlite) => sqlite.release(owner).await,
        }
    }
}
