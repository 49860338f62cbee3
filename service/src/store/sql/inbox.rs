//! Webhooks: appended as they come, and done afterwards what they say.

use std::collections::{BTreeMap, BTreeSet};

use tracing::error;
use vestibule::clock::Timestamp;

use super::alias::Acquaintance;
use super::row::webhook;
use super::{Sql, alias, args, shape, status};
use crate::delivery::{Inbound, Lines, Update};
use crate::store::{Applied, Webhook};

/// Appends a body.
pub(in crate::store) async fn append(
    sql: &mut Sql<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sql.execute(
        "INSERT INTO webhook (body, received_at) VALUES ($1, $2)",
        args![body, now],
    )
    .await?;
    Ok(())
}

/// The oldest bodies that were not worked off.
pub(in crate::store) async fn backlog(
    sql: &mut Sql<'_>,
    max: u32,
) -> Result<Vec<Webhook>, sqlx::Error> {
    let rows = sql
        .all(
            "SELECT seq, body, received_at FROM webhook WHERE processed_at IS NULL
             ORDER BY seq LIMIT $1",
            args![max],
        )
        .await?;
    rows.iter().map(webhook).collect()
}

/// When the oldest body came that was not worked off.
pub(in crate::store) async fn oldest(sql: &mut Sql<'_>) -> Result<Option<Timestamp>, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT received_at FROM webhook WHERE processed_at IS NULL ORDER BY seq LIMIT 1",
            args![],
        )
        .await?;
    row.map(|row| row.get("received_at")).transpose()
}

/// Does what a body says, each update for itself, and marks the body as worked off. A body
/// that another replica has worked off, or is at, is left alone.
pub(in crate::store) async fn apply(
    sql: &mut Sql<'_>,
    seq: i64,
    updates: &[Update],
    lines: &Lines,
    now: Timestamp,
    draw: u128,
) -> Result<Applied, sqlx::Error> {
    let mut applied = Applied::default();
    let mine = sql
        .optional(
            super::Statement::either(
                "SELECT seq FROM webhook WHERE seq = $1 AND processed_at IS NULL",
                "SELECT seq FROM webhook WHERE seq = $1 AND processed_at IS NULL
                 FOR UPDATE SKIP LOCKED",
            ),
            args![seq],
        )
        .await?;
    if mine.is_none() {
        return Ok(applied);
    }
    hear(sql, updates, lines, now).await?;
    prepare(sql, updates, now).await?;
    for update in updates {
        alone(sql, update, &mut applied, now, draw).await?;
    }
    sql.execute(
        "UPDATE webhook SET processed_at = $1 WHERE seq = $2",
        args![now, seq],
    )
    .await?;
    Ok(applied)
}

/// Charges numbers for what they heard: Meta counts that against their throughput.
async fn hear(
    sql: &mut Sql<'_>,
    updates: &[Update],
    lines: &Lines,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut heard = BTreeMap::<&str, u32>::new();
    for update in updates {
        if let Update::Inbound(inbound) = update {
            *heard.entry(&inbound.phone_number_id).or_default() += 1;
        }
    }
    for (number, count) in heard {
        shape::hear(sql, &lines.line(number), count, now).await?;
    }
    Ok(())
}

/// Locks what the statuses of a body are about, in the order in which whoever writes down
/// outcomes does: the customers whom nobody knows yet, then Meta's ids.
async fn prepare(sql: &mut Sql<'_>, updates: &[Update], now: Timestamp) -> Result<(), sqlx::Error> {
    let statuses = updates.iter().filter_map(|update| match update {
        Update::Status(status) => Some(status),
        Update::Inbound(_) | Update::Renamed(_) => None,
    });
    let (mut met, mut wamids) = (Vec::new(), BTreeSet::new());
    for status in statuses {
        met.push(Acquaintance {
            phone_number_id: &status.phone_number_id,
            dialled: None,
            names: &status.recipient,
        });
        wamids.insert(&*status.wamid);
    }
    if met.is_empty() {
        return Ok(());
    }
    sql.command("SAVEPOINT one").await?;
    let learnt = alias::learn_new(sql, &met, now).await.map(|_| ());
    // One that cannot be kept is met again, and told, when its own turn comes.
    end_savepoint(sql, learnt).await?;
    sql.lock_names(&wamids).await
}

/// Applies one update in a savepoint: if it cannot be, the others still are.
async fn alone(
    sql: &mut Sql<'_>,
    update: &Update,
    applied: &mut Applied,
    now: Timestamp,
    draw: u128,
) -> Result<(), sqlx::Error> {
    sql.command("SAVEPOINT one").await?;
    let done = match update {
        Update::Inbound(inbound) => take_in(sql, inbound, applied, now).await,
        Update::Renamed(renamed) => {
            match is_first(sql, &renamed.phone_number_id, &renamed.id, applied, now).await {
                Ok(true) => alias::rename(sql, renamed, now).await,
                other => other.map(|_| ()),
            }
        }
        Update::Status(update) => status::apply(sql, update, applied, now, draw).await,
    };
    end_savepoint(sql, done).await
}

/// Keeps what was done in the savepoint, or takes it back where it could not be done.
async fn end_savepoint(
    sql: &mut Sql<'_>,
    done: Result<(), sqlx::Error>,
) -> Result<(), sqlx::Error> {
    if let Err(cause) = done {
        // What cannot be applied is not what the engine says when it is gone.
        if !matches!(
            cause,
            sqlx::Error::Database(_) | sqlx::Error::ColumnDecode { .. }
        ) {
            return Err(cause);
        }
        if is_conflict(&cause) {
            return Err(cause);
        }
        error!(?cause, "an update could not be applied");
        sql.command("ROLLBACK TO one").await?;
    }
    sql.command("RELEASE one").await
}

async fn take_in(
    sql: &mut Sql<'_>,
    inbound: &Inbound,
    applied: &mut Applied,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let number = &*inbound.phone_number_id;
    if !is_first(sql, number, &inbound.id, applied, now).await? {
        return Ok(());
    }
    let key = alias::learn(sql, number, None, &inbound.user, now).await?;
    if let (Some(key), Some(opened)) = (key, inbound.opened) {
        alias::open_window(sql, number, &key, opened.at).await?;
        applied.opened += 1;
    }
    Ok(())
}

/// Whether an event has not come before; Meta repeats what it is not sure of.
async fn is_first(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    id: &str,
    applied: &mut Applied,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let written = sql
        .execute(
            "INSERT INTO inbound_seen VALUES ($1, $2, $3)
             ON CONFLICT (phone_number_id, id) DO NOTHING",
            args![phone_number_id, id, now],
        )
        .await?;
    applied.repeated += u64::from(written == 0);
    Ok(written > 0)
}

/// Two replicas were in each other's way: the whole body is done again, which is harmless.
fn is_conflict(cause: &sqlx::Error) -> bool {
    let code = cause.as_database_error().and_then(|cause| cause.code());
    matches!(code.as_deref(), Some("40001" | "40P01"))
}
