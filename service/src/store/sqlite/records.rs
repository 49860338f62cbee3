//! What became of keyed requests, for the layers of a service that takes API keys itself.
//!
//! The steps share the writer with everything else, and so its commits; and the transaction
//! that inserts a message ends the claim on its key. A step of theirs that fails has changed
//! nothing.

use std::time::Duration;

use vestibule::error::StoreError;
use vestibule::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};
use vestibule::sqlite::Ledger;

use super::Sqlite;
use super::writer::Statements;
use crate::store;

impl Records for Sqlite {
    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        let (attempt, clock) = (attempt.clone(), self.clock.clone());
        self.writer
            .write(
                "a key could not be claimed",
                Statements::One,
                move |connection| {
                    Box::pin(async move {
                        let mut ledger = Ledger::on(connection);
                        Ok(ledger.claim(&attempt, clock.now()).await)
                    })
                },
            )
            .await
            .map_err(lost)?
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        let reader = self.readers.acquire().await;
        let mut reader = reader.map_err(|cause| StoreError::not_sent().because(cause))?;
        let now = self.clock.now();
        Ledger::on(&mut reader).preview(attempt, now).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        let (owner, clock) = (owner.clone(), self.clock.clone());
        self.writer
            .write(
                "a lease could not be renewed",
                Statements::One,
                move |connection| {
                    Box::pin(async move {
                        let mut ledger = Ledger::on(connection);
                        Ok(ledger.renew(&owner, lease, clock.now()).await)
                    })
                },
            )
            .await
            .map_err(lost)?
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        // What ended with its message is only read.
        let reader = self.readers.acquire().await;
        let mut reader = reader.map_err(|cause| StoreError::not_sent().because(cause))?;
        if Ledger::on(&mut reader).has_ended(owner).await? {
            return Ok(true);
        }
        drop(reader);
        let (owner, outcome, clock) = (owner.clone(), outcome.clone(), self.clock.clone());
        self.writer
            .write(
                "a claim could not be ended",
                Statements::One,
                move |connection| {
                    Box::pin(async move {
                        let mut ledger = Ledger::on(connection);
                        let now = clock.now();
                        Ok(ledger.finish(&owner, &outcome, retention, now).await)
                    })
                },
            )
            .await
            .map_err(lost)?
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        let owner = owner.clone();
        self.writer
            .write(
                "a claim could not be released",
                Statements::One,
                move |connection| {
                    Box::pin(async move { Ok(Ledger::on(connection).release(&owner).await) })
                },
            )
            .await
            .map_err(lost)?
    }
}

/// A step that had no room in the queue was not taken; any other may have been.
fn lost(cause: store::StoreError) -> StoreError {
    let error = match cause.is_overload() {
        true => StoreError::not_sent(),
        false => StoreError::unanswered(),
    };
    error.because(cause)
}
