//! What has outlived its use, and what people would rather see forgotten.

use std::time::Duration;

use vestibule::clock::Timestamp;

use super::{Sql, args};
use crate::store::Settings;

/// Drops a part of what is over; returns how many rows were dropped or emptied.
///
/// Of a message whose time is over its row remains, with its id, its owner, its state, its
/// times and the request that caused it; what it said, to whom, and the ids of Meta's that
/// spell out a number are gone.
pub(in crate::store) async fn sweep(
    sql: &mut Sql<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let mut gone = purge(sql, before(now, settings.keep_content), now).await?;
    for (statement, until) in [
        (
            "DELETE FROM deduplication WHERE (caller, key) IN
             (SELECT caller, key FROM deduplication WHERE expires_at <= $1 LIMIT 1000)",
            now,
        ),
        (
            "DELETE FROM orphan_status WHERE (wamid, state) IN
             (SELECT wamid, state FROM orphan_status WHERE received_at <= $1 LIMIT 1000)",
            before(now, REPEATS_FOR),
        ),
        (
            "DELETE FROM inbound_seen WHERE (phone_number_id, id) IN
             (SELECT phone_number_id, id FROM inbound_seen WHERE received_at <= $1 LIMIT 1000)",
            before(now, REPEATS_FOR),
        ),
        (
            "DELETE FROM webhook WHERE seq IN
             (SELECT seq FROM webhook WHERE processed_at <= $1 LIMIT 1000)",
            before(now, WEBHOOKS_FOR),
        ),
        (
            "DELETE FROM pair_shape WHERE (phone_number_id, recipient) IN
             (SELECT phone_number_id, recipient FROM pair_shape WHERE tat <= $1 LIMIT 1000)",
            before(now, SHAPES_FOR),
        ),
    ] {
        gone += sql.execute(statement, args![until]).await?;
    }
    gone += forget_customers(sql, before(now, settings.keep_content)).await?;
    Ok(gone)
}

/// Empties messages that came to an end this long ago; one that may still be sent, or is
/// being confirmed, keeps what it needs.
async fn purge(sql: &mut Sql<'_>, until: Timestamp, now: Timestamp) -> Result<u64, sqlx::Error> {
    let rows = sql
        .all(
            "SELECT id FROM message
             WHERE purged_at IS NULL AND created_at <= $1 AND not_before IS NULL
               AND state NOT IN ('dispatching', 'uncertain')
             ORDER BY created_at LIMIT 200",
            args![until],
        )
        .await?;
    for row in &rows {
        let id = row.get::<crate::message::MessageId>("id")?;
        for statement in [
            "UPDATE message SET content = '', recipient = '', wamid = NULL, purged_at = $2
             WHERE id = $1",
            "UPDATE attempt SET wamid = NULL WHERE message_id = $1 AND $2 > 0",
            "DELETE FROM status_event WHERE message_id = $1 AND $2 > 0",
        ] {
            sql.execute(statement, args![&id, now]).await?;
        }
    }
    Ok(rows.len() as u64)
}

/// Forgets the windows that closed long ago, and the names that lead to none.
async fn forget_customers(sql: &mut Sql<'_>, until: Timestamp) -> Result<u64, sqlx::Error> {
    let rows = sql
        .all(
            "SELECT phone_number_id, user_key FROM customer_window
             WHERE opened_at <= $1 AND COALESCE(refused_at, 0) <= $1 LIMIT 200",
            args![until],
        )
        .await?;
    for row in &rows {
        let (number, key): (String, String) = (row.get("phone_number_id")?, row.get("user_key")?);
        for statement in [
            "DELETE FROM alias WHERE phone_number_id = $1 AND user_key = $2",
            "DELETE FROM customer_window WHERE phone_number_id = $1 AND user_key = $2",
        ] {
            sql.execute(statement, args![&*number, &*key]).await?;
        }
    }
    // Customers who never wrote have names and no window.
    let nameless = sql
        .execute(
            "DELETE FROM alias WHERE (phone_number_id, name) IN
             (SELECT phone_number_id, name FROM alias
              WHERE seen_at <= $1 AND NOT EXISTS
                  (SELECT 1 FROM customer_window
                   WHERE customer_window.phone_number_id = alias.phone_number_id
                     AND customer_window.user_key = alias.user_key)
              LIMIT 200)",
            args![until],
        )
        .await?;
    Ok(rows.len() as u64 + nameless)
}

fn before(now: Timestamp, age: Duration) -> Timestamp {
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_unix_millis(now.as_unix_millis().saturating_sub(age))
}

/// Meta repeats a webhook for up to seven days.
const REPEATS_FOR: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// Long enough to look into what went wrong yesterday; bodies hold what customers wrote.
const WEBHOOKS_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A pair that may send at any time is as good as a new one.
const SHAPES_FOR: Duration = Duration::from_secs(60);
