//! Webhooks: appended as they come, and done afterwards what they say.

use std::time::Duration;

use bytes::Bytes;
use sqlx::{Executor as _, SqliteConnection};
use tracing::error;
use vestibule::clock::Timestamp;

use super::row::{column, failure, millis, webhook};
use super::{Sqlite, unread};
use crate::delivery::{Status, Update};
use crate::message::{MessageId, State};
use crate::store::{Intake, StoreError, Webhook};

impl Intake for Sqlite {
    async fn append(&self, body: Bytes) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.writer
            .write("the webhook could not be kept", move |connection| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO webhook (body, received_at) VALUES (?, ?)")
                        .bind(&*body)
                        .bind(millis(now))
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn backlog(&self, max: u32) -> Result<Vec<Webhook>, StoreError> {
        sqlx::query(
            "SELECT seq, body, received_at FROM webhook WHERE processed_at IS NULL
             ORDER BY seq LIMIT ?",
        )
        .bind(max)
        .fetch_all(&self.readers)
        .await
        .and_then(|rows| rows.iter().map(webhook).collect())
        .map_err(unread)
    }

    async fn apply(&self, seq: i64, updates: Vec<Update>) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.writer
            .write_in_turn("a webhook could not be worked off", move |connection| {
                Box::pin(async move {
                    for update in updates {
                        apply_alone(connection, &update, now).await?;
                    }
                    sqlx::query("UPDATE webhook SET processed_at = ? WHERE seq = ?")
                        .bind(millis(now))
                        .bind(seq)
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        self.writer
            .write_in_turn("what is over could not be dropped", move |connection| {
                Box::pin(sweep(connection, now))
            })
            .await
    }
}

/// Applies the statuses that came before their message had its id.
pub(super) async fn adopt_orphans(
    connection: &mut SqliteConnection,
    wamid: &str,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(
        "DELETE FROM orphan_status WHERE wamid = ?
         RETURNING state, at, failure_code, failure_message",
    )
    .bind(wamid)
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let status = Status {
            wamid: wamid.into(),
            token: None,
            state: column(&row, "state")?,
            at: column(&row, "at")?,
            failure: failure(&row)?,
        };
        if let Some(id) = find(connection, &status).await? {
            advance(connection, id, &status).await?;
        }
    }
    Ok(())
}

/// Applies one update in a savepoint: if it cannot be, the others still are.
async fn apply_alone(
    connection: &mut SqliteConnection,
    update: &Update,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    connection.execute("SAVEPOINT one").await?;
    if let Err(cause) = apply(connection, update, now).await {
        error!(?cause, "an update could not be applied");
        connection.execute("ROLLBACK TO one").await?;
    }
    connection.execute("RELEASE one").await?;
    Ok(())
}

async fn apply(
    connection: &mut SqliteConnection,
    update: &Update,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    match update {
        Update::Inbound {
            phone_number_id,
            user,
            opened,
        } => open_window(connection, phone_number_id, user, opened.at).await,
        Update::Status(status) => match find(connection, status).await? {
            Some(id) => {
                adopt(connection, status, now).await?;
                advance(connection, id, status).await
            }
            None => park(connection, status, now).await,
        },
    }
}

async fn open_window(
    connection: &mut SqliteConnection,
    phone_number_id: &str,
    user: &str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO customer_window VALUES (?, ?, ?)
         ON CONFLICT DO UPDATE SET opened_at = MAX(opened_at, excluded.opened_at)",
    )
    .bind(phone_number_id)
    .bind(user)
    .bind(millis(at))
    .execute(connection)
    .await?;
    Ok(())
}

/// The message that a status is about: by the token of its attempt, else by Meta's id.
async fn find(
    connection: &mut SqliteConnection,
    status: &Status,
) -> Result<Option<MessageId>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT message_id FROM attempt WHERE token = ?1
         UNION ALL SELECT message_id FROM attempt WHERE wamid = ?2 LIMIT 1",
    )
    .bind(status.token.as_deref())
    .bind(&*status.wamid)
    .fetch_optional(connection)
    .await?;
    row.map(|row| column(&row, "message_id")).transpose()
}

/// Gives the attempt with this token Meta's id, and its outcome if it had none: that a
/// status came proves that Meta took it.
async fn adopt(
    connection: &mut SqliteConnection,
    status: &Status,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE attempt SET wamid = ?1, outcome = 'adopted', ended_at = COALESCE(ended_at, ?2)
         WHERE token = ?3 AND wamid IS NULL",
    )
    .bind(&*status.wamid)
    .bind(millis(now))
    .bind(status.token.as_deref())
    .execute(connection)
    .await?;
    Ok(())
}

async fn advance(
    connection: &mut SqliteConnection,
    id: MessageId,
    status: &Status,
) -> Result<(), sqlx::Error> {
    let id = id.as_uuid();
    let row = sqlx::query("SELECT state FROM message WHERE id = ?")
        .bind(id.as_bytes().as_slice())
        .fetch_one(&mut *connection)
        .await?;
    let state = column::<State>(&row, "state")?.advanced_to(status.state);
    let (sent_at, failed_at) = match status.state {
        State::Failed => (None, Some(millis(status.at))),
        _ => (Some(millis(status.at)), None),
    };
    sqlx::query(
        "UPDATE message SET state = ?1, not_before = NULL, wamid = COALESCE(wamid, ?2),
                sent_at = COALESCE(MIN(sent_at, ?3), sent_at, ?3),
                failed_at = COALESCE(MIN(failed_at, ?4), failed_at, ?4),
                failure_code = COALESCE(failure_code, ?5),
                failure_message = COALESCE(failure_message, ?6)
         WHERE id = ?7",
    )
    .bind(state.as_str())
    .bind(&*status.wamid)
    .bind(sent_at)
    .bind(failed_at)
    .bind(status.failure.as_ref().map(|failure| &*failure.code))
    .bind(status.failure.as_ref().map(|failure| &*failure.message))
    .bind(id.as_bytes().as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

async fn park(
    connection: &mut SqliteConnection,
    status: &Status,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO orphan_status VALUES (?, ?, ?, ?, ?, ?)")
        .bind(&*status.wamid)
        .bind(status.state.as_str())
        .bind(millis(status.at))
        .bind(status.failure.as_ref().map(|failure| &*failure.code))
        .bind(status.failure.as_ref().map(|failure| &*failure.message))
        .bind(millis(now))
        .execute(connection)
        .await?;
    Ok(())
}

async fn sweep(connection: &mut SqliteConnection, now: Timestamp) -> Result<u64, sqlx::Error> {
    let before = |age: Duration| {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        millis(Timestamp::from_unix_millis(
            now.as_unix_millis().saturating_sub(age),
        ))
    };
    let mut dropped = 0;
    for (statement, until) in [
        (
            "DELETE FROM deduplication WHERE (caller, key) IN
             (SELECT caller, key FROM deduplication WHERE expires_at <= ?1 LIMIT 1000)",
            millis(now),
        ),
        (
            "DELETE FROM orphan_status WHERE (wamid, state) IN
             (SELECT wamid, state FROM orphan_status WHERE received_at <= ?1 LIMIT 1000)",
            before(ORPHANS_FOR),
        ),
        (
            "DELETE FROM webhook WHERE seq IN
             (SELECT seq FROM webhook WHERE processed_at <= ?1 LIMIT 1000)",
            before(WEBHOOKS_FOR),
        ),
    ] {
        let gone = sqlx::query(statement)
            .bind(until)
            .execute(&mut *connection)
            .await?;
        dropped += gone.rows_affected();
    }
    Ok(dropped)
}

/// Meta repeats a webhook for up to seven days.
const ORPHANS_FOR: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Long enough to look into what went wrong yesterday; bodies hold what customers wrote.
const WEBHOOKS_FOR: Duration = Duration::from_secs(24 * 60 * 60);
