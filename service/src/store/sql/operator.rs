//! What an operator does: look, retry, cancel, import.

use vestibule::clock::Timestamp;

use super::held::Held;
use super::row::message;
use super::{Row, Sql, alias, args, service_state};
use crate::delivery::Names;
use crate::message::{Failure, MessageId};
use crate::store::{Attempt, Entry, Filter, ImportedWindow, Steered};

/// The newest messages that match.
pub(in crate::store) async fn list(
    sql: &mut Sql<'_>,
    filter: &Filter,
) -> Result<Vec<Entry>, sqlx::Error> {
    let rows = sql
        .all(
            "SELECT id, account, agent_id, recipient, kind, state, wamid, failure_code,
                    failure_message, created_at, sent_at, delivered_at, read_at, failed_at,
                    phone_number_id, correlation_id, traceparent, policy, attempts, refusals,
                    not_before, expires_at, purged_at
             FROM message
             WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR correlation_id = $2)
               AND ($3 IS NULL OR id = $3) AND ($4 IS NULL OR recipient = $4)
             ORDER BY id DESC LIMIT $5",
            args![
                filter.state.map(crate::message::State::as_str),
                filter.correlation_id.as_deref(),
                filter.id.as_ref().map(MessageId::as_bytes),
                filter.to.as_deref(),
                filter.max,
            ],
        )
        .await?;
    rows.iter().map(entry).collect()
}

/// The attempts at a message, first to last.
pub(in crate::store) async fn attempts(
    sql: &mut Sql<'_>,
    id: MessageId,
) -> Result<Vec<Attempt>, sqlx::Error> {
    let rows = sql
        .all(
            "SELECT n, started_at, ended_at, outcome, code, http_status, fbtrace_id
             FROM attempt WHERE message_id = $1 ORDER BY n",
            args![&id],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Attempt {
                n: row.get("n")?,
                started_at: row.get("started_at")?,
                ended_at: row.maybe("ended_at")?,
                outcome: row.maybe("outcome")?,
                code: row.maybe("code")?,
                http_status: row.maybe("http_status")?,
                fbtrace_id: row.maybe("fbtrace_id")?,
            })
        })
        .collect()
}

/// Puts a message that has failed into the queue again.
pub(in crate::store) async fn retry(
    sql: &mut Sql<'_>,
    id: MessageId,
    even_twice: bool,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<Steered, sqlx::Error> {
    let Some(mut held) = Held::load(sql, id).await? else {
        return Ok(Steered::Unknown);
    };
    if held.recipient.is_empty() {
        return Ok(Steered::Purged);
    }
    if let Err(state) = held.progress.repeat(now, expires_at, even_twice) {
        return Ok(Steered::Refused(state));
    }
    held.save(sql, now).await?;
    Ok(Steered::Done)
}

/// Takes a message that waits out of the queue.
pub(in crate::store) async fn cancel(
    sql: &mut Sql<'_>,
    id: MessageId,
    now: Timestamp,
) -> Result<Steered, sqlx::Error> {
    let Some(mut held) = Held::load(sql, id).await? else {
        return Ok(Steered::Unknown);
    };
    if !held.progress.is_waiting() {
        return Ok(Steered::Refused(held.progress.state));
    }
    held.progress.give_up(cancelled(), now);
    held.save(sql, now).await?;
    Ok(Steered::Done)
}

/// Opens windows as another system knew them, and remembers that it was told.
pub(in crate::store) async fn import(
    sql: &mut Sql<'_>,
    windows: &[ImportedWindow],
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let mut opened = 0;
    for window in windows {
        let names = Names {
            phone: window.phone.clone(),
            id: window.user_id.clone(),
        };
        let number = &*window.phone_number_id;
        if let Some(key) = alias::learn(sql, number, None, &names, now).await? {
            // Nothing that was said in the future opens a window now.
            alias::open_window(sql, number, &key, window.opened_at.min(now)).await?;
            opened += 1;
        }
    }
    service_state::set(sql, service_state::IMPORTED_AT, now.as_unix_millis()).await?;
    Ok(opened)
}

fn entry(row: &Row) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        message: message(row)?,
        phone_number_id: row.get("phone_number_id")?,
        correlation_id: row.get("correlation_id")?,
        traceparent: row.maybe("traceparent")?,
        policy: row.get("policy")?,
        attempts: row.get("attempts")?,
        refusals: row.get("refusals")?,
        not_before: row.maybe("not_before")?,
        expires_at: row.get("expires_at")?,
        purged_at: row.maybe("purged_at")?,
    })
}

fn cancelled() -> Failure {
    Failure {
        code: "cancelled".into(),
        message: "An operator cancelled the message before it was sent.".into(),
    }
}
