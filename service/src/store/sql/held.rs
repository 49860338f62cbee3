//! A message under lock: read, changed by its transitions, and written back.

use vestibule::clock::Timestamp;

use super::many::{hex, many, millis, rows};
use super::row::failure;
use super::{Row, Sql, args};
use crate::message::{MessageId, Progress, State};

/// A message as its transitions need it, locked until the transaction ends.
pub(in crate::store) struct Held {
    pub(in crate::store) id: MessageId,
    pub(in crate::store) phone_number_id: Box<str>,
    pub(in crate::store) recipient: Box<str>,
    pub(in crate::store) in_order: bool,
    pub(in crate::store) correlation_id: Box<str>,
    pub(in crate::store) traceparent: Option<Box<str>>,
    pub(in crate::store) progress: Progress,
}

// === impl Held ===

impl Held {
    /// Locks and reads a message.
    pub(in crate::store) async fn load(
        sql: &mut Sql<'_>,
        id: MessageId,
    ) -> Result<Option<Self>, sqlx::Error> {
        let row = sql
            .optional(
                many!("SELECT " MESSAGE " FROM message WHERE id = $1" LOCK),
                args![&id],
            )
            .await?;
        row.as_ref().map(Self::read).transpose()
    }

    /// Locks and reads messages, in the order of their ids, so that two who do never wait
    /// for one another.
    pub(in crate::store) async fn load_all(
        sql: &mut Sql<'_>,
        ids: impl Iterator<Item = MessageId>,
    ) -> Result<Vec<Self>, sqlx::Error> {
        let ids: Vec<[String; 1]> = ids.map(|id| [hex(id)]).collect();
        let rows = sql
            .all(
                many!("SELECT " MESSAGE " FROM message
                       WHERE id" IN_IDS " ORDER BY message.id" LOCK),
                args![&*rows(&ids)?],
            )
            .await?;
        rows.iter().map(Self::read).collect()
    }

    /// Reads one that was locked with it.
    pub(in crate::store) fn read(row: &Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.get("id")?,
            phone_number_id: row.get("phone_number_id")?,
            recipient: row.get("recipient")?,
            in_order: row.get("in_order")?,
            correlation_id: row.get("correlation_id")?,
            traceparent: row.maybe("traceparent")?,
            progress: Progress {
                state: row.get("state")?,
                policy: row.get("policy")?,
                attempts: row.get("attempts")?,
                refusals: row.get("refusals")?,
                not_before: row.maybe("not_before")?,
                expires_at: row.get("expires_at")?,
                reconcile_at: row.maybe("reconcile_at")?,
                lasts: row.get("lasts")?,
                earlier: row.maybe("earlier")?,
                wamid: row.maybe("wamid")?,
                failure: failure(row)?,
                sent_at: row.maybe("sent_at")?,
                delivered_at: row.maybe("delivered_at")?,
                read_at: row.maybe("read_at")?,
                failed_at: row.maybe("failed_at")?,
            },
        })
    }

    /// Writes back what became of it.
    pub(in crate::store) async fn save(
        &self,
        sql: &mut Sql<'_>,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        Self::save_all(sql, std::slice::from_ref(self), now).await
    }

    /// Writes back what became of them. Where others wait for their turn after one, and it is
    /// no longer in their way, they are due.
    pub(in crate::store) async fn save_all(
        sql: &mut Sql<'_>,
        held: &[Self],
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        if held.is_empty() {
            return Ok(());
        }
        let saved: Vec<_> = held.iter().map(Self::row).collect();
        sql.execute(
            many!(
                "UPDATE message
                 SET state = given.state, attempts = given.attempts, refusals = given.refusals,
                     not_before = given.not_before, expires_at = given.expires_at,
                     deadline = given.deadline, reconcile_at = given.reconcile_at,
                     earlier = given.earlier, wamid = given.wamid,
                     failure_code = given.failure_code, failure_message = given.failure_message,
                     sent_at = given.sent_at, delivered_at = given.delivered_at,
                     read_at = given.read_at, failed_at = given.failed_at
                 FROM (SELECT " ID " AS id, value ->> 1 AS state,
                              CAST(value ->> 2 AS BIGINT) AS attempts,
                              CAST(value ->> 3 AS BIGINT) AS refusals,
                              CAST(value ->> 4 AS BIGINT) AS not_before,
                              CAST(value ->> 5 AS BIGINT) AS expires_at,
                              CAST(value ->> 6 AS BIGINT) AS deadline,
                              CAST(value ->> 7 AS BIGINT) AS reconcile_at,
                              value ->> 8 AS earlier, value ->> 9 AS wamid,
                              value ->> 10 AS failure_code, value ->> 11 AS failure_message,
                              CAST(value ->> 12 AS BIGINT) AS sent_at,
                              CAST(value ->> 13 AS BIGINT) AS delivered_at,
                              CAST(value ->> 14 AS BIGINT) AS read_at,
                              CAST(value ->> 15 AS BIGINT) AS failed_at
                       FROM " ROWS ") AS given
                 WHERE message.id = given.id"
            ),
            args![&*rows(&saved)?],
        )
        .await?;
        for one in held {
            if one.in_order && one.progress.is_out_of_the_way() {
                one.let_others_go(sql, now).await?;
            }
        }
        Ok(())
    }

    fn row(&self) -> impl serde::Serialize + '_ {
        let progress = &self.progress;
        let failure = progress.failure.as_ref();
        let at = |at: Option<Timestamp>| at.map(Timestamp::as_unix_millis);
        (
            hex(self.id),
            progress.state.as_str(),
            progress.attempts,
            progress.refusals,
            at(progress.not_before),
            progress.expires_at.as_unix_millis(),
            at(progress.deadline()),
            progress.reconcile_at.map(millis),
            progress.earlier.map(State::as_str),
            progress.wamid.as_deref(),
            failure.map(|failure| &*failure.code),
            failure.map(|failure| &*failure.message),
            at(progress.sent_at),
            at(progress.delivered_at),
            at(progress.read_at),
            at(progress.failed_at),
        )
    }

    async fn let_others_go(&self, sql: &mut Sql<'_>, now: Timestamp) -> Result<(), sqlx::Error> {
        sql.execute(
            "UPDATE message SET not_before = $1
             WHERE phone_number_id = $2 AND recipient = $3 AND in_order = 1
               AND state = 'queued' AND not_before > $1",
            args![now, &*self.phone_number_id, &*self.recipient],
        )
        .await?;
        Ok(())
    }
}
