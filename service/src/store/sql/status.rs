//! Statuses: what Meta says became of a message.

use std::collections::BTreeSet;

use vestibule::clock::Timestamp;

use super::held::Held;
use super::many::{many, rows};
use super::row::failure;
use super::{Row, Sql, alias, args};
use crate::cloud_api;
use crate::delivery::{Names, Status};
use crate::message::{MessageId, State};
use crate::store::{Applied, Change};

/// What a status is about.
struct Found {
    message: MessageId,
    attempt: u32,
    was_uncertain: bool,
    began: Timestamp,
}

/// Applies a status to the message it is about, or parks it until somebody knows that
/// message. One that came before changes nothing. Whoever calls has locked Meta's id: who
/// parks a status and who learns whose it is must not miss one another.
pub(in crate::store) async fn apply(
    sql: &mut Sql<'_>,
    status: &Status,
    applied: &mut Applied,
    now: Timestamp,
    draw: u128,
) -> Result<(), sqlx::Error> {
    alias::learn(sql, &status.phone_number_id, None, &status.recipient, now).await?;
    let Some(found) = find(sql, status).await? else {
        applied.orphans += park(sql, status, now).await?;
        return Ok(());
    };
    let Some(mut held) = Held::load(sql, found.message).await? else {
        return Ok(());
    };
    let mut is_new = false;
    if name(sql, &found, status, now).await? {
        // Others may have come under this id before anybody knew whose it is.
        for orphan in take_orphans(sql, &BTreeSet::from([&*status.wamid])).await? {
            adopt(sql, &mut held, found.attempt, &orphan).await?;
            is_new = true;
        }
    } else {
        applied.duplicates += u64::from(held.progress.is_known_as_other(&status.wamid));
    }
    is_new |= hear(sql, &mut held, found.attempt, status, applied, draw).await?;
    if !is_new {
        return Ok(());
    }
    if found.was_uncertain {
        applied.reconciled.push(now.since(found.began));
    }
    held.save(sql, now).await
}

/// Takes the statuses that came before their messages had these ids.
pub(in crate::store) async fn take_orphans(
    sql: &mut Sql<'_>,
    wamids: &BTreeSet<&str>,
) -> Result<Vec<Status>, sqlx::Error> {
    if wamids.is_empty() {
        return Ok(Vec::new());
    }
    let wamids: Vec<[&str; 1]> = wamids.iter().map(|wamid| [*wamid]).collect();
    let orphans = sql
        .all(
            many!(
                "DELETE FROM orphan_status WHERE wamid IN (SELECT value ->> 0 FROM " ROWS ")
                 RETURNING wamid, state, at, code, failure_code, failure_message, phone_number_id"
            ),
            args![&*rows(&wamids)?],
        )
        .await?;
    orphans.iter().map(orphan).collect()
}

/// The same for those that carry the token of an attempt.
pub(in crate::store) async fn take_orphans_of_token(
    sql: &mut Sql<'_>,
    token: &str,
) -> Result<Vec<Status>, sqlx::Error> {
    let orphans = sql
        .all(
            "DELETE FROM orphan_status WHERE token = $1
             RETURNING wamid, state, at, code, failure_code, failure_message, phone_number_id",
            args![token],
        )
        .await?;
    orphans.iter().map(orphan).collect()
}

/// Lets a message hear a status that came before. It is saved by whoever asks.
pub(in crate::store) async fn adopt(
    sql: &mut Sql<'_>,
    held: &mut Held,
    attempt: u32,
    orphan: &Status,
) -> Result<(), sqlx::Error> {
    hear(sql, held, attempt, orphan, &mut Applied::default(), 0).await?;
    Ok(())
}

fn orphan(row: &Row) -> Result<Status, sqlx::Error> {
    Ok(Status {
        phone_number_id: row.get("phone_number_id")?,
        wamid: row.get("wamid")?,
        token: None,
        recipient: Names::default(),
        state: row.get("state")?,
        at: row.get("at")?,
        code: row.maybe("code")?,
        failure: failure(row)?,
    })
}

/// Lets a message hear a status; false where it has heard it before.
async fn hear(
    sql: &mut Sql<'_>,
    held: &mut Held,
    attempt: u32,
    status: &Status,
    applied: &mut Applied,
    draw: u128,
) -> Result<bool, sqlx::Error> {
    let written = sql
        .execute(
            "INSERT INTO status_event VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (wamid, state) DO NOTHING",
            args![
                &*status.wamid,
                status.state.as_str(),
                &held.id,
                status.at,
                status.code,
            ],
        )
        .await?;
    if written == 0 {
        applied.repeated += 1;
        return Ok(false);
    }
    if status.code == Some(cloud_api::WINDOW_CLOSED) {
        let to = held.recipient.trim_start_matches('+');
        alias::refuse_window(sql, &held.phone_number_id, to, status.at).await?;
    }
    let before = held.progress.state;
    let retry_at = status
        .code
        .and_then(|code| cloud_api::retry_wait(code, held.progress.refusals + 1, draw))
        .map(|wait| status.at + wait);
    let (state, at) = (status.state, status.at);
    let failure = status.failure.as_ref();
    held.progress.hear(attempt, state, at, failure, retry_at);
    held.progress
        .wamid
        .get_or_insert_with(|| status.wamid.clone());
    if held.progress.state == before {
        applied.ignored += u64::from(state < before);
    } else {
        applied.changes.push(Change {
            message: held.id,
            state: held.progress.state,
            correlation_id: held.correlation_id.clone(),
            traceparent: held.traceparent.clone(),
        });
    }
    Ok(true)
}

/// The attempt that a status is about: by its token, else by Meta's id.
async fn find(sql: &mut Sql<'_>, status: &Status) -> Result<Option<Found>, sqlx::Error> {
    let columns = match status.token.as_deref() {
        Some(token) => {
            sql.optional(
                "SELECT message_id, n, outcome, started_at FROM attempt WHERE token = $1",
                args![token],
            )
            .await?
        }
        None => None,
    };
    let columns = match columns {
        Some(columns) => Some(columns),
        None => {
            sql.optional(
                "SELECT message_id, n, outcome, started_at FROM attempt
                 WHERE wamid = $1 LIMIT 1",
                args![&*status.wamid],
            )
            .await?
        }
    };
    columns
        .map(|row| {
            let outcome = row.maybe::<String>("outcome")?;
            Ok(Found {
                message: row.get("message_id")?,
                attempt: row.get("n")?,
                was_uncertain: outcome.as_deref() == Some("unknown"),
                began: row.get("started_at")?,
            })
        })
        .transpose()
}

/// Gives the attempt Meta's id, and its outcome if it had none: that a status came proves
/// that Meta took it. False where it had an id already.
async fn name(
    sql: &mut Sql<'_>,
    found: &Found,
    status: &Status,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let adopted = sql
        .execute(
            "UPDATE attempt SET wamid = $1, outcome = 'adopted', ended_at = COALESCE(ended_at, $2)
             WHERE message_id = $3 AND n = $4 AND wamid IS NULL",
            args![&*status.wamid, now, &found.message, found.attempt],
        )
        .await?;
    Ok(adopted > 0)
}

async fn park(sql: &mut Sql<'_>, status: &Status, now: Timestamp) -> Result<u64, sqlx::Error> {
    let failure = status.failure.as_ref();
    sql.execute(
        "INSERT INTO orphan_status (wamid, state, at, failure_code, failure_message,
                                    received_at, token, phone_number_id, code)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (wamid, state) DO NOTHING",
        args![
            &*status.wamid,
            status.state.as_str(),
            status.at,
            failure.map(|failure| &*failure.code),
            failure.map(|failure| &*failure.message),
            now,
            status.token.as_deref(),
            &*status.phone_number_id,
            status.code,
        ],
    )
    .await
}

/// How many statuses wait for a message that nobody knows.
pub(in crate::store) async fn orphans(sql: &mut Sql<'_>) -> Result<u64, sqlx::Error> {
    let row = sql
        .optional("SELECT COUNT(*) AS parked FROM orphan_status", args![])
        .await?;
    row.map_or(Ok(0), |row| row.get("parked"))
}

/// How many messages are in a state.
pub(in crate::store) async fn standing(
    sql: &mut Sql<'_>,
    state: State,
) -> Result<u64, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT COUNT(*) AS standing FROM message
             WHERE reconcile_at IS NOT NULL AND state = $1",
            args![state.as_str()],
        )
        .await?;
    row.map_or(Ok(0), |row| row.get("standing"))
}
