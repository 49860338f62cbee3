//! What an operator asks for.

use super::super::postgres::Bell;
use super::super::sql::{hold, operator};
use super::Database;
use crate::delivery::{Hold, QUEUE_MAX};
use crate::message::MessageId;
use crate::store::{Attempt, Entry, Filter, ImportedWindow, Operator, Steered, StoreError};

impl Operator for Database {
    async fn list(&self, filter: Filter) -> Result<Vec<Entry>, StoreError> {
        self.read(move |mut sql| Box::pin(async move { operator::list(&mut sql, &filter).await }))
            .await
    }

    async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>, StoreError> {
        self.read(move |mut sql| Box::pin(async move { operator::attempts(&mut sql, id).await }))
            .await
    }

    async fn retry(&self, id: MessageId, even_twice: bool) -> Result<Steered, StoreError> {
        let now = self.clock.now();
        let steered = self
            .write_in_turn(
                "the message could not be put into the queue",
                move |mut sql| {
                    Box::pin(async move {
                        operator::retry(&mut sql, id, even_twice, now, now + QUEUE_MAX).await
                    })
                },
            )
            .await?;
        self.engine.ring(Bell::Queued);
        Ok(steered)
    }

    async fn cancel(&self, id: MessageId) -> Result<Steered, StoreError> {
        let now = self.clock.now();
        self.write_in_turn("the message could not be cancelled", move |mut sql| {
            Box::pin(async move { operator::cancel(&mut sql, id, now).await })
        })
        .await
    }

    async fn import(&self, windows: Vec<ImportedWindow>) -> Result<u64, StoreError> {
        let now = self.clock.now();
        self.write_in_turn("the windows could not be imported", move |mut sql| {
            Box::pin(async move { operator::import(&mut sql, &windows, now).await })
        })
        .await
    }

    async fn holds(&self) -> Result<Vec<Hold>, StoreError> {
        self.read(|mut sql| Box::pin(async move { hold::all(&mut sql).await }))
            .await
    }

    async fn release(&self, scope: Option<Box<str>>) -> Result<u64, StoreError> {
        let released = self
            .write_in_turn("the hold could not be lifted", move |mut sql| {
                Box::pin(async move { hold::release(&mut sql, scope.as_deref()).await })
            })
            .await?;
        self.engine.ring(Bell::Queued);
        Ok(released)
    }
}
