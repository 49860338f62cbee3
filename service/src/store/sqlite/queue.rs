//! Sending: attempts are written before they are made, and settled afterwards.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use vestibule::clock::Timestamp;

use super::intake::adopt_orphans;
use super::ledger::window;
use super::row::{column, millis};
use super::{Sqlite, unread};
use crate::delivery::{Departure, Settlement, may_depart, settled_state};
use crate::message::{Content, Failure, Kind, MessageId, State};
use crate::recipient::PhoneNumber;
use crate::store::{Queue, StoreError};

impl Queue for Sqlite {
    async fn recover(&self) -> Result<u64, StoreError> {
        let now = self.clock.now();
        self.writer
            .write_in_turn("open attempts could not be found", move |connection| {
                Box::pin(recover(connection, now))
            })
            .await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        sqlx::query(
            "SELECT not_before FROM message WHERE not_before IS NOT NULL
             ORDER BY not_before LIMIT 1",
        )
        .fetch_optional(&self.readers)
        .await
        .and_then(|row| row.map(|row| column(&row, "not_before")).transpose())
        .map_err(unread)
    }

    async fn take(&self, max: usize) -> Result<Vec<Departure>, StoreError> {
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        self.writer
            .write_in_turn("no attempt could be recorded", move |connection| {
                Box::pin(async move {
                    let now = clock.now();
                    let mut departures = Vec::new();
                    for row in due(connection, now, max).await? {
                        let waiting = Waiting::read(&row)?;
                        if let Err(failure) = waiting.may_depart(connection, now).await? {
                            fail(connection, waiting.id, &failure, now).await?;
                        } else {
                            let tag = tag(entropy.draw());
                            departures.push(waiting.depart(connection, &tag, now).await?);
                        }
                    }
                    Ok(departures)
                })
            })
            .await
    }

    async fn settle(
        &self,
        departure: &Departure,
        settlement: &Settlement,
    ) -> Result<(), StoreError> {
        let (id, attempt) = (departure.message, departure.attempt);
        let (settlement, now) = (settlement.clone(), self.clock.now());
        self.writer
            .write_in_turn("an outcome could not be kept", move |connection| {
                Box::pin(async move {
                    if !close_attempt(connection, id, attempt, &settlement, now).await? {
                        return Ok(());
                    }
                    settle(connection, id, &settlement, now).await?;
                    match &settlement.wamid {
                        Some(wamid) => adopt_orphans(connection, wamid).await,
                        None => Ok(()),
                    }
                })
            })
            .await
    }
}

/// A due message, as far as sending it needs to know it.
struct Waiting {
    id: MessageId,
    phone_number_id: Box<str>,
    to: PhoneNumber,
    kind: Kind,
    content: Content,
    expires_at: Timestamp,
    attempts: u32,
    refusals: u32,
}

// === impl Waiting ===

impl Waiting {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let content: String = column(row, "content")?;
        Ok(Self {
            id: column(row, "id")?,
            phone_number_id: column(row, "phone_number_id")?,
            to: column(row, "recipient")?,
            kind: column(row, "kind")?,
            content: serde_json::from_str(&content)
                .map_err(|cause| sqlx::Error::Decode(cause.into()))?,
            expires_at: column(row, "expires_at")?,
            attempts: row.try_get("attempts")?,
            refusals: row.try_get("refusals")?,
        })
    }

    /// Looks at the window once more: the message may have waited.
    async fn may_depart(
        &self,
        connection: &mut SqliteConnection,
        now: Timestamp,
    ) -> Result<Result<(), Failure>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT opened_at FROM customer_window WHERE phone_number_id = ? AND user = ?",
        )
        .bind(&*self.phone_number_id)
        .bind(self.to.digits())
        .fetch_optional(connection)
        .await?;
        let window = row.as_ref().map(window).transpose()?;
        Ok(may_depart(self.kind, self.expires_at, window, now))
    }

    /// Records the attempt.
    async fn depart(
        self,
        connection: &mut SqliteConnection,
        tag: &str,
        now: Timestamp,
    ) -> Result<Departure, sqlx::Error> {
        let attempt = self.attempts + 1;
        let id = self.id.as_uuid();
        let token = format!("m1.{id}.{attempt}.{tag}");
        sqlx::query("INSERT INTO attempt (message_id, n, token, started_at) VALUES (?, ?, ?, ?)")
            .bind(id.as_bytes().as_slice())
            .bind(attempt)
            .bind(&token)
            .bind(millis(now))
            .execute(&mut *connection)
            .await?;
        sqlx::query("UPDATE message SET state = ?, not_before = NULL, attempts = ? WHERE id = ?")
            .bind(State::Dispatching.as_str())
            .bind(attempt)
            .bind(id.as_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
        Ok(Departure {
            message: self.id,
            attempt,
            refusals: self.refusals,
            token: token.into(),
            phone_number_id: self.phone_number_id,
            to: self.to,
            content: self.content,
        })
    }
}

async fn recover(connection: &mut SqliteConnection, now: Timestamp) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "UPDATE message SET state = ? WHERE state = ? AND id IN
                 (SELECT message_id FROM attempt WHERE outcome IS NULL)",
    )
    .bind(State::Uncertain.as_str())
    .bind(State::Dispatching.as_str())
    .execute(&mut *connection)
    .await?;
    let found =
        sqlx::query("UPDATE attempt SET outcome = 'unknown', ended_at = ? WHERE outcome IS NULL")
            .bind(millis(now))
            .execute(connection)
            .await?;
    Ok(found.rows_affected())
}

async fn due(
    connection: &mut SqliteConnection,
    now: Timestamp,
    max: usize,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query(
        "SELECT id, phone_number_id, recipient, kind, content, expires_at, attempts, refusals
         FROM message WHERE not_before <= ? ORDER BY not_before LIMIT ?",
    )
    .bind(millis(now))
    .bind(i64::try_from(max).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
}

async fn fail(
    connection: &mut SqliteConnection,
    id: MessageId,
    failure: &Failure,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE message SET state = ?, not_before = NULL, failed_at = ?, failure_code = ?,
                            failure_message = ?
         WHERE id = ?",
    )
    .bind(State::Failed.as_str())
    .bind(millis(now))
    .bind(&*failure.code)
    .bind(&*failure.message)
    .bind(id.as_uuid().as_bytes().as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

/// Closes the attempt; `false` where a webhook or a restart has closed it before.
async fn close_attempt(
    connection: &mut SqliteConnection,
    id: MessageId,
    attempt: u32,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let closed = sqlx::query(
        "UPDATE attempt SET outcome = ?, code = ?, wamid = ?, ended_at = ?
         WHERE message_id = ? AND n = ? AND outcome IS NULL",
    )
    .bind(settlement.outcome)
    .bind(settlement.code)
    .bind(settlement.wamid.as_deref())
    .bind(millis(now))
    .bind(id.as_uuid().as_bytes().as_slice())
    .bind(attempt)
    .execute(connection)
    .await?;
    Ok(closed.rows_affected() > 0)
}

async fn settle(
    connection: &mut SqliteConnection,
    id: MessageId,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let id = id.as_uuid();
    let row = sqlx::query("SELECT state FROM message WHERE id = ?")
        .bind(id.as_bytes().as_slice())
        .fetch_one(&mut *connection)
        .await?;
    let state = settled_state(column(&row, "state")?, settlement.state);
    let is_applied = state == settlement.state;
    let failure = settlement.failure.as_ref().filter(|_| is_applied);
    sqlx::query(
        "UPDATE message SET state = ?, not_before = ?, refusals = refusals + ?,
                wamid = COALESCE(wamid, ?), sent_at = COALESCE(sent_at, ?),
                failed_at = COALESCE(?, failed_at), failure_code = COALESCE(?, failure_code),
                failure_message = COALESCE(?, failure_message)
         WHERE id = ?",
    )
    .bind(state.as_str())
    .bind(settlement.not_before.filter(|_| is_applied).map(millis))
    .bind(i64::from(
        settlement.code.is_some() && state == State::RetryWait,
    ))
    .bind(settlement.wamid.as_deref())
    .bind(settlement.wamid.as_ref().map(|_| millis(now)))
    .bind(failure.map(|_| millis(now)))
    .bind(failure.map(|failure| &*failure.code))
    .bind(failure.map(|failure| &*failure.message))
    .bind(id.as_bytes().as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

/// Ten characters that nobody can guess: a token of somebody else's matches no attempt.
fn tag(entropy: u128) -> String {
    (0..TAG_LENGTH)
        .map(|place| char::from(BASE32[(entropy >> (5 * place)) as usize & 31]))
        .collect()
}

const TAG_LENGTH: u32 = 10;
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
