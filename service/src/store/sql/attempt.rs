//! Attempts: what came of them, and who is gone in the middle of one.

use std::time::Duration;

use vestibule::clock::Timestamp;

use super::row::failure;
use super::{Row, Sql, alias, args, hold, locking, service_state, shape, status};
use crate::delivery::{Departure, Settlement};
use crate::message::{MessageId, Next, Progress, State};
use crate::store::{Settings, Settled};

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
                locking!(
                    "SELECT id, phone_number_id, recipient, in_order, correlation_id, traceparent,
                            state, policy, attempts, refusals, not_before, expires_at,
                            reconcile_at, lasts, earlier, wamid, failure_code, failure_message,
                            sent_at, delivered_at, read_at, failed_at
                     FROM message WHERE id = $1"
                ),
                args![&id],
            )
            .await?;
        row.as_ref().map(Self::read).transpose()
    }

    fn read(row: &Row) -> Result<Self, sqlx::Error> {
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

    /// Writes back what became of it. Where others wait for their turn after it, and it is
    /// no longer in their way, they are due.
    pub(in crate::store) async fn save(
        &self,
        sql: &mut Sql<'_>,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let progress = &self.progress;
        let failure = progress.failure.as_ref();
        sql.execute(
            "UPDATE message
             SET state = $1, attempts = $2, refusals = $3, not_before = $4, expires_at = $5,
                 deadline = $6, reconcile_at = $7, earlier = $8, wamid = $9, failure_code = $10,
                 failure_message = $11, sent_at = $12, delivered_at = $13, read_at = $14,
                 failed_at = $15
             WHERE id = $16",
            args![
                progress.state.as_str(),
                progress.attempts,
                progress.refusals,
                progress.not_before,
                progress.expires_at,
                progress.deadline(),
                progress.reconcile_at,
                progress.earlier.map(State::as_str),
                progress.wamid.as_deref(),
                failure.map(|failure| &*failure.code),
                failure.map(|failure| &*failure.message),
                progress.sent_at,
                progress.delivered_at,
                progress.read_at,
                progress.failed_at,
                &self.id,
            ],
        )
        .await?;
        if self.in_order && progress.is_out_of_the_way() {
            sql.execute(
                "UPDATE message SET not_before = $1
                 WHERE phone_number_id = $2 AND recipient = $3 AND in_order = 1
                   AND state = 'queued' AND not_before > $1",
                args![now, &*self.phone_number_id, &*self.recipient],
            )
            .await?;
        }
        Ok(())
    }
}

/// Writes down that scopes wait and that a number is too fast; before the outcome itself, so
/// that no other message of the scope leaves in between.
pub(in crate::store) async fn strike(
    sql: &mut Sql<'_>,
    departure: &Departure,
    settlement: &Settlement,
    now: Timestamp,
    draw: u128,
) -> Result<(), sqlx::Error> {
    let line = &departure.line;
    if settlement.is_too_fast {
        shape::slow_down(sql, &line.phone_number_id, now).await?;
    }
    if let Some(strike) = &settlement.strike {
        hold::strike(sql, strike, now, draw).await?;
    }
    if let Some(until) = settlement.pair_until {
        let to = departure.to.digits();
        shape::hold_pair(sql, &line.phone_number_id, to, until, now).await?;
    }
    Ok(())
}

/// Writes down what came of an attempt (T3 to T8).
pub(in crate::store) async fn settle(
    sql: &mut Sql<'_>,
    settings: &Settings,
    departure: &Departure,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<Settled, sqlx::Error> {
    let mut settled = Settled::default();
    let number = &*departure.line.phone_number_id;
    let dialled = departure.to.digits();
    if settlement.recipient != Default::default() {
        alias::learn(sql, number, Some(dialled), &settlement.recipient, now).await?;
    }
    if settlement.closes_window {
        alias::refuse_window(sql, number, dialled, now).await?;
    }
    if let Some(wamid) = &settlement.wamid {
        // Before the message, as whoever applies a status does.
        sql.lock_name(wamid).await?;
    }
    let Some(mut held) = Held::load(sql, departure.message).await? else {
        return Ok(settled);
    };
    let reconcile_at = match settlement.next {
        Next::Uncertain => reconcile_at(sql, settings, now).await?,
        _ => Duration::ZERO,
    };
    close(sql, departure, settlement, now).await?;
    let (attempt, next) = (departure.attempt, &settlement.next);
    held.progress.settle(attempt, next, now, reconcile_at);
    if let Some(wamid) = &settlement.wamid {
        settled.is_duplicate = held.progress.is_known_as_other(wamid);
        held.progress.wamid.get_or_insert_with(|| wamid.clone());
    }
    settled.state = Some(held.progress.state);
    if let Some(wamid) = &settlement.wamid {
        // Statuses may have overtaken the answer.
        status::adopt_orphans(sql, &mut held, departure.attempt, wamid).await?;
    }
    held.save(sql, now).await?;
    if settlement.proves_a_way() {
        settled.lifted = hold::lift(sql, &departure.line, departure.began).await?;
    } else if settlement.strike.is_none() {
        hold::probe_again(sql, &departure.line, departure.began, now).await?;
    }
    Ok(settled)
}

/// Makes every attempt uncertain whose owner is gone: its lease is over, or, where one
/// process owns the database, it is not this one's (T9).
pub(in crate::store) async fn recover(
    sql: &mut Sql<'_>,
    settings: &Settings,
    owner: &str,
    is_alone: bool,
    now: Timestamp,
) -> Result<u64, sqlx::Error> {
    let open = sql
        .all(
            "SELECT message_id, n FROM attempt
             WHERE outcome IS NULL AND (lease_until < $1 OR ($2 = 1 AND owner <> $3))
             ORDER BY message_id LIMIT 1000",
            args![now, is_alone, owner],
        )
        .await?;
    if open.is_empty() {
        return Ok(0);
    }
    let reconcile_at = reconcile_at(sql, settings, now).await?;
    let mut found = 0;
    for row in open {
        let (id, n) = (row.get::<MessageId>("message_id")?, row.get::<u32>("n")?);
        let held = Held::load(sql, id).await?;
        // Asked again under the lock: its owner may have told just now.
        let closed = sql
            .execute(
                "UPDATE attempt SET outcome = 'unknown', ended_at = $1
                 WHERE message_id = $2 AND n = $3 AND outcome IS NULL",
                args![now, &id, n],
            )
            .await?;
        found += closed;
        if let Some(mut held) = held
            && closed > 0
            && held.progress.attempts == n
        {
            held.progress.abandon(reconcile_at);
            held.save(sql, now).await?;
        }
    }
    Ok(found)
}

/// When an attempt that becomes uncertain now is given up, on the clock of the intake.
async fn reconcile_at(
    sql: &mut Sql<'_>,
    settings: &Settings,
    now: Timestamp,
) -> Result<Duration, sqlx::Error> {
    // What the clock shows by now: it may not have been looked at for a moment.
    let clock = service_state::clock(sql)
        .await?
        .observed(now, Duration::ZERO);
    Ok(clock.healthy + settings.confirm_within)
}

/// Closes an attempt that is open, or whose outcome nobody knew until its owner told it.
async fn close(
    sql: &mut Sql<'_>,
    departure: &Departure,
    settlement: &Settlement,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let refusal = settlement.refusal.as_ref();
    sql.execute(
        "UPDATE attempt SET outcome = $1, code = $2, http_status = $3, fbtrace_id = $4,
                            wamid = $5, ended_at = $6
         WHERE message_id = $7 AND n = $8 AND (outcome IS NULL OR outcome = 'unknown')",
        args![
            settlement.outcome,
            refusal.map(|refusal| refusal.code),
            refusal.map(|refusal| u32::from(refusal.http_status)),
            refusal.and_then(|refusal| refusal.fbtrace_id.as_deref()),
            settlement.wamid.as_deref(),
            now,
            &departure.message,
            departure.attempt,
        ],
    )
    .await?;
    Ok(())
}
