//! Accepting: the message and the claim on its key, in one transaction.

use std::time::Duration;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use tracing::warn;
use vestibule::clock::Timestamp;
use vestibule::idempotency::FinishError;

use super::row::{column, kept, message, millis};
use super::{Sqlite, unread};
use crate::message::{Message, MessageId};
use crate::store::{Insertion, Kept, Ledger, NewMessage, Once, StoreError};
use crate::window::Window;

impl Ledger for Sqlite {
    async fn kept(&self, caller: &str, key: &[u8]) -> Result<Option<Kept>, StoreError> {
        sqlx::query(
            "SELECT fingerprint, status, body, correlation_id FROM deduplication
             WHERE caller = ? AND key = ? AND expires_at > ?",
        )
        .bind(caller)
        .bind(key)
        .bind(millis(self.clock.now()))
        .fetch_optional(&self.readers)
        .await
        .and_then(|row| row.as_ref().map(kept).transpose())
        .map_err(unread)
    }

    async fn insert(
        &self,
        message: NewMessage,
        once: Option<Once>,
    ) -> Result<Insertion, StoreError> {
        let clock = self.clock.clone();
        self.writer
            .write("the message could not be kept", move |connection| {
                Box::pin(async move {
                    if let Some(once) = once {
                        // Read here, inside the transaction: waiting for it may have
                        // outlasted the lease, and then somebody else may hold the key.
                        let taken = take_key(connection, &once, clock.now()).await?;
                        if taken != Insertion::Inserted {
                            return Ok(taken);
                        }
                    }
                    insert(connection, &message).await?;
                    Ok(Insertion::Inserted)
                })
            })
            .await
    }

    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        sqlx::query(
            "SELECT id, account, agent_id, recipient, kind, state, wamid, failure_code,
                    failure_message, created_at, sent_at, failed_at
             FROM message WHERE id = ?",
        )
        .bind(id.as_uuid().as_bytes().as_slice())
        .fetch_optional(&self.readers)
        .await
        .and_then(|row| row.as_ref().map(message).transpose())
        .map_err(unread)
    }

    async fn window(
        &self,
        phone_number_id: &str,
        user: &str,
    ) -> Result<Option<Window>, StoreError> {
        sqlx::query("SELECT opened_at FROM customer_window WHERE phone_number_id = ? AND user = ?")
            .bind(phone_number_id)
            .bind(user)
            .fetch_optional(&self.readers)
            .await
            .and_then(|row| row.as_ref().map(window).transpose())
            .map_err(unread)
    }
}

/// Reads a window.
pub(super) fn window(row: &SqliteRow) -> Result<Window, sqlx::Error> {
    column(row, "opened_at").map(Window::opened_at)
}

/// Writes the claim on a key, unless it is taken or the right to it has ended.
async fn take_key(
    connection: &mut SqliteConnection,
    once: &Once,
    now: Timestamp,
) -> Result<Insertion, sqlx::Error> {
    let (caller, key) = (&*once.caller, &*once.claim.idempotency_key);
    sqlx::query("DELETE FROM deduplication WHERE caller = ? AND key = ? AND expires_at <= ?")
        .bind(caller)
        .bind(key)
        .bind(millis(now))
        .execute(&mut *connection)
        .await?;
    let first = sqlx::query(
        "SELECT fingerprint, status, body, correlation_id FROM deduplication
         WHERE caller = ? AND key = ?",
    )
    .bind(caller)
    .bind(key)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(first) = first {
        return kept(&first).map(Insertion::Repeated);
    }
    if !is_held(connection, once, now).await? {
        return Ok(Insertion::LeaseEnded);
    }
    sqlx::query("INSERT INTO deduplication VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(caller)
        .bind(key)
        .bind(once.response.fingerprint.as_bytes().as_slice())
        .bind(once.response.status)
        .bind(&*once.response.body)
        .bind(&*once.response.correlation_id)
        .bind(millis(now + KEPT_FOR))
        .execute(&mut *connection)
        .await?;
    Ok(Insertion::Inserted)
}

/// Whether the caller may still execute under its claim. One that was made by the layers of
/// this process ends here, together with the message; of any other only the lease is known.
async fn is_held(
    connection: &mut SqliteConnection,
    once: &Once,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    if once.claim.is_vouched() {
        return Ok(once.claim.lease_ends > now);
    }
    match once
        .claim
        .finish(connection, &once.response.to_http())
        .await
    {
        Ok(()) => Ok(true),
        Err(FinishError::Store(cause)) => Err(sqlx::Error::AnyDriverError(cause.into())),
        Err(cause) => {
            warn!(%cause, "a claim was lost before its message was inserted");
            Ok(false)
        }
    }
}

async fn insert(connection: &mut SqliteConnection, new: &NewMessage) -> Result<(), sqlx::Error> {
    let message = &new.message;
    let content =
        serde_json::to_string(&new.content).map_err(|cause| sqlx::Error::Encode(cause.into()))?;
    sqlx::query(
        "INSERT INTO message (id, account, agent_id, phone_number_id, recipient, kind, content,
                              correlation_id, state, not_before, expires_at, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(message.id.as_uuid().as_bytes().as_slice())
    .bind(&*message.account)
    .bind(message.agent_id.as_bytes().as_slice())
    .bind(&*new.phone_number_id)
    .bind(message.to.as_str())
    .bind(message.kind.as_str())
    .bind(content)
    .bind(&*new.correlation_id)
    .bind(message.state.as_str())
    .bind(millis(message.created_at))
    .bind(millis(new.expires_at))
    .bind(millis(message.created_at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Longer than the 24 h for which the layer in front keeps its record, so that no repeat
/// falls between the two (contract §6).
const KEPT_FOR: Duration = Duration::from_secs(25 * 60 * 60);
