//! Webhooks: appended as they come, and done afterwards what they say.

use std::collections::{BTreeMap, BTreeSet};

use tracing::error;
use vestibule::clock::Timestamp;

use super::alias::Acquaintance;
use super::many::{many, rows};
use super::row::webhook;
use super::{Sql, alias, args, shape, status};
use crate::delivery::{Inbound, Lines, Renamed, Status, Update};
use crate::store::{Applied, Told, Webhook};

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

/// Appends bodies, each with the time at which it came: one statement, which is given the
/// bodies in one piece, and where each begins and how long it is.
pub(in crate::store) async fn append_all<'b>(
    sql: &mut Sql<'_>,
    bodies: impl IntoIterator<Item = (&'b [u8], Timestamp)>,
) -> Result<(), sqlx::Error> {
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    for (body, at) in bodies {
        parts.push((whole.len() + 1, body.len(), at.as_unix_millis()));
        whole.extend_from_slice(body);
    }
    sql.execute(
        many!(
            "INSERT INTO webhook (body, received_at)
             SELECT COALESCE(SUBSTR($2, CAST(value ->> 0 AS INT), CAST(value ->> 1 AS INT)), $3),
                    CAST(value ->> 2 AS BIGINT)
             FROM " ROWS
        ),
        // SQLite calls a piece of nothing NULL.
        args![&*rows(&parts)?, &*whole, b"".as_slice()],
    )
    .await?;
    Ok(())
}

/// The oldest bodies that were not worked off, at most so many, and no more once they are
/// longer than this together.
pub(in crate::store) async fn backlog(
    sql: &mut Sql<'_>,
    max: u32,
    bytes: u32,
) -> Result<Vec<Webhook>, sqlx::Error> {
    let rows = sql
        .all(
            "SELECT seq, body, received_at
             FROM (SELECT seq, body, received_at, LENGTH(body) AS length,
                          SUM(LENGTH(body)) OVER (ORDER BY seq) AS whole
                   FROM webhook WHERE processed_at IS NULL ORDER BY seq LIMIT $1) AS oldest
             WHERE whole - length < $2 ORDER BY seq",
            args![max, bytes],
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

/// Does what bodies say, each update for itself, and marks them as worked off. A body that
/// another replica has worked off, or is at, is left alone.
pub(in crate::store) async fn apply(
    sql: &mut Sql<'_>,
    told: &[Told],
    lines: &Lines,
    now: Timestamp,
    draw: u128,
) -> Result<Applied, sqlx::Error> {
    let mut applied = Applied::default();
    let mine = mine(sql, told).await?;
    let is_mine = |told: &&Told| mine.contains(&told.seq);
    let updates: Vec<&Update> = told
        .iter()
        .filter(is_mine)
        .flat_map(|told| &told.updates)
        .collect();
    hear(sql, &updates, lines, now).await?;
    sql.command("SAVEPOINT one").await?;
    let locked = lock(sql, &statuses(&updates), now).await;
    let are_locked = locked.is_ok();
    // Those of which one cannot be kept are locked, and told, each when its own turn comes.
    end_savepoint(sql, locked).await?;
    // What follows in a row is done together where all of it are statuses.
    let is_status = |update: &&Update| matches!(update, Update::Status(_));
    for several in updates.chunk_by(|one, next| is_status(one) && is_status(next)) {
        if several.len() > 1 && safely(sql, several, are_locked, &mut applied, (now, draw)).await? {
            continue;
        }
        for one in several {
            safely(sql, &[one], are_locked, &mut applied, (now, draw)).await?;
        }
    }
    applied.bodies = mine.len() as u64;
    let mine: Vec<[i64; 1]> = mine.into_iter().map(|seq| [seq]).collect();
    sql.execute(
        many!("UPDATE webhook SET processed_at = $2 WHERE seq" IN_NUMBERS),
        args![&*rows(&mine)?, now],
    )
    .await?;
    Ok(applied)
}

/// Those bodies that nobody else has worked off or is at; they are locked.
async fn mine(sql: &mut Sql<'_>, told: &[Told]) -> Result<BTreeSet<i64>, sqlx::Error> {
    let told: Vec<[i64; 1]> = told.iter().map(|told| [told.seq]).collect();
    let mine = sql
        .all(
            many!(
                "SELECT seq FROM webhook WHERE seq" IN_NUMBERS " AND processed_at IS NULL
                 ORDER BY seq" LOCK_FREE
            ),
            args![&*rows(&told)?],
        )
        .await?;
    mine.iter().map(|row| row.get("seq")).collect()
}

/// Charges numbers for what they heard: Meta counts that against their throughput.
async fn hear(
    sql: &mut Sql<'_>,
    updates: &[&Update],
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

/// Locks what statuses are about, in the order in which whoever writes down outcomes does:
/// the customers, then Meta's ids.
async fn lock(sql: &mut Sql<'_>, statuses: &[&Status], now: Timestamp) -> Result<(), sqlx::Error> {
    if statuses.is_empty() {
        return Ok(());
    }
    meet(sql, statuses, now).await?;
    let wamids = statuses.iter().map(|status| &*status.wamid).collect();
    sql.lock_names(&wamids).await
}

/// Applies updates in a savepoint: if they cannot be, others still are. False where it was
/// taken back.
async fn safely(
    sql: &mut Sql<'_>,
    updates: &[&Update],
    are_locked: bool,
    applied: &mut Applied,
    (now, draw): (Timestamp, u128),
) -> Result<bool, sqlx::Error> {
    let mut done = Applied::default();
    sql.command("SAVEPOINT one").await?;
    let result = match updates {
        [Update::Inbound(inbound)] => take_in(sql, inbound, &mut done, now).await,
        [Update::Renamed(renamed)] => rename(sql, renamed, &mut done, now).await,
        updates => {
            let statuses = statuses(updates);
            let locked = match are_locked {
                true => Ok(()),
                false => lock(sql, &statuses, now).await,
            };
            match locked {
                Ok(()) => status::apply(sql, &statuses, &mut done, now, draw).await,
                Err(cause) => Err(cause),
            }
        }
    };
    let is_kept = result.is_ok();
    end_savepoint(sql, result).await?;
    if is_kept {
        applied.add(done);
    }
    Ok(is_kept)
}

fn statuses<'u>(updates: &[&'u Update]) -> Vec<&'u Status> {
    let statuses = updates.iter().filter_map(|update| match update {
        Update::Status(status) => Some(status),
        Update::Inbound(_) | Update::Renamed(_) => None,
    });
    statuses.collect()
}

/// Learns the names of customers that statuses tell.
async fn meet(sql: &mut Sql<'_>, statuses: &[&Status], now: Timestamp) -> Result<(), sqlx::Error> {
    let met: Vec<Acquaintance<'_>> = statuses
        .iter()
        .map(|status| Acquaintance {
            phone_number_id: &status.phone_number_id,
            dialled: None,
            names: &status.recipient,
        })
        .collect();
    alias::learn_all(sql, &met, now).await
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

async fn rename(
    sql: &mut Sql<'_>,
    renamed: &Renamed,
    applied: &mut Applied,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let (number, id) = (&*renamed.phone_number_id, &*renamed.id);
    match is_first(sql, number, id, applied, now).await? {
        true => alias::rename(sql, renamed, now).await,
        false => Ok(()),
    }
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
