//! Accepting: the message and the claim on its key, in one transaction.

use std::time::Duration;

use tracing::warn;
use vestibule::clock::Timestamp;
use vestibule::idempotency::FinishError;

use super::many::{hex, many, millis, rows};
use super::row::{kept, message, window};
use super::{Sql, args};
use crate::message::{Message, MessageId, Progress, State};
use crate::store::{Insertion, Kept, NewMessage, Once};
use crate::window::Window;

/// The first response to a key, while it is kept.
pub(in crate::store) async fn first(
    sql: &mut Sql<'_>,
    caller: &str,
    key: &[u8],
    now: Timestamp,
) -> Result<Option<Kept>, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT fingerprint, status, body, correlation_id FROM deduplication
             WHERE caller = $1 AND key = $2 AND expires_at > $3",
            args![caller, key, now],
        )
        .await?;
    row.as_ref().map(kept).transpose()
}

/// The message of this id.
pub(in crate::store) async fn find(
    sql: &mut Sql<'_>,
    id: MessageId,
) -> Result<Option<Message>, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT id, account, agent_id, recipient, kind, state, wamid, failure_code,
                    failure_message, created_at, sent_at, delivered_at, read_at, failed_at
             FROM message WHERE id = $1",
            args![&id],
        )
        .await?;
    row.as_ref().map(message).transpose()
}

/// The window of a customer under any of the customer's names.
pub(in crate::store) async fn window_of(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    name: &str,
) -> Result<Option<Window>, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT opened_at, refused_at FROM alias JOIN customer_window
                 ON customer_window.phone_number_id = alias.phone_number_id
                AND customer_window.user_key = alias.user_key
             WHERE alias.phone_number_id = $1 AND alias.name = $2",
            args![phone_number_id, name],
        )
        .await?;
    row.as_ref().map(window).transpose()
}

/// Inserts a message and the claim on its key (T1).
pub(in crate::store) async fn insert(
    sql: &mut Sql<'_>,
    new: &NewMessage,
    once: &Once,
    now: Timestamp,
) -> Result<Insertion, sqlx::Error> {
    let taken = take_key(sql, once, now).await?;
    if taken == Insertion::Inserted {
        insert_messages(sql, [new]).await?;
    }
    Ok(taken)
}

/// Writes the claim on a key, unless it is taken or the right to it has ended.
async fn take_key(
    sql: &mut Sql<'_>,
    once: &Once,
    now: Timestamp,
) -> Result<Insertion, sqlx::Error> {
    let (caller, key) = (&*once.caller, &*once.claim.idempotency_key);
    let written = sql
        .execute(
            "INSERT INTO deduplication VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (caller, key) DO UPDATE
             SET fingerprint = excluded.fingerprint, status = excluded.status,
                 body = excluded.body, correlation_id = excluded.correlation_id,
                 expires_at = excluded.expires_at
             WHERE deduplication.expires_at <= $8",
            args![
                caller,
                key,
                once.response.fingerprint.as_bytes().as_slice(),
                u32::from(once.response.status),
                &*once.response.body,
                &*once.response.correlation_id,
                now + KEPT_FOR,
                now,
            ],
        )
        .await?;
    if written == 0 {
        let first = first(sql, caller, key, now).await?;
        return first
            .map(Insertion::Repeated)
            .ok_or(sqlx::Error::RowNotFound);
    }
    if !is_held(sql, once, now).await? {
        // Who may not insert leaves no trace: the row that was just written goes again.
        sql.execute(
            "DELETE FROM deduplication WHERE caller = $1 AND key = $2",
            args![caller, key],
        )
        .await?;
        return Ok(Insertion::LeaseEnded);
    }
    Ok(Insertion::Inserted)
}

/// Whether the caller may still execute under its claim. One that was made by the layers of
/// this process ends here, together with the message; of any other only the lease is known.
///
/// The time was read inside the transaction: waiting for it may have outlasted the lease,
/// and then somebody else may hold the key.
async fn is_held(sql: &mut Sql<'_>, once: &Once, now: Timestamp) -> Result<bool, sqlx::Error> {
    if once.claim.is_vouched() {
        return Ok(once.claim.lease_ends > now);
    }
    let response = once.response.to_http();
    let finished = match sql {
        Sql::Postgres(connection) => once.claim.finish(*connection, &response).await,
        Sql::Sqlite(connection) => once.claim.finish(*connection, &response).await,
    };
    match finished {
        Ok(()) => Ok(true),
        Err(FinishError::Store(cause)) => Err(sqlx::Error::AnyDriverError(cause.into())),
        Err(cause) => {
            warn!(%cause, "a claim was lost before its message was inserted");
            Ok(false)
        }
    }
}

/// Inserts messages (T1): one statement.
pub(in crate::store) async fn insert_messages(
    sql: &mut Sql<'_>,
    new: impl IntoIterator<Item = &NewMessage>,
) -> Result<(), sqlx::Error> {
    let mut inserted = Vec::new();
    for new in new {
        let message = &new.message;
        let content = serde_json::to_string(&new.content)
            .map_err(|cause| sqlx::Error::Encode(cause.into()))?;
        let progress = Progress::queued(new.policy, message.created_at, new.expires_at, new.lasts);
        let at = Timestamp::as_unix_millis;
        inserted.push((
            hex(message.id),
            &*message.account,
            message.agent_id.simple().to_string(),
            &*new.phone_number_id,
            new.to.as_str(),
            message.kind.as_str(),
            content,
            &*new.correlation_id,
            new.traceparent.as_deref(),
            progress.policy.as_str(),
            u8::from(new.in_order),
            millis(progress.lasts),
            progress.not_before.map(at),
            at(progress.expires_at),
            progress.deadline().map(at),
            at(message.created_at),
        ));
    }
    sql.execute(
        many!(
            "INSERT INTO message (id, account, agent_id, phone_number_id, recipient, kind, content,
                                  correlation_id, traceparent, policy, in_order, lasts,
                                  not_before, expires_at, deadline, created_at, state)
             SELECT " ID ", value ->> 1, " (HEX 2) ", value ->> 3, value ->> 4, value ->> 5,
                    value ->> 6, value ->> 7, value ->> 8, value ->> 9,
                    CAST(value ->> 10 AS BIGINT), CAST(value ->> 11 AS BIGINT),
                    CAST(value ->> 12 AS BIGINT), CAST(value ->> 13 AS BIGINT),
                    CAST(value ->> 14 AS BIGINT), CAST(value ->> 15 AS BIGINT), $2
             FROM " ROWS
        ),
        args![&*rows(&inserted)?, State::Queued.as_str()],
    )
    .await?;
    Ok(())
}

/// Longer than the 24 h for which the layer in front keeps its record, so that no repeat
/// falls between the two (contract §6).
const KEPT_FOR: Duration = Duration::from_secs(25 * 60 * 60);
