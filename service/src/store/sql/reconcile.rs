//! What time alone brings about: attempts that nobody confirmed, messages that nobody got.

use std::collections::BTreeSet;
use std::time::Duration;

use vestibule::clock::Timestamp;

use super::held::Held;
use super::{Row, Sql, args, inbox, queue, service_state, status};
use crate::delivery::Status;
use crate::message::{MessageId, State};
use crate::store::{Change, Reconciled};

/// Looks at the clock of the intake, and gives up what its time is over for: attempts that
/// were to be confirmed (T12, T13), messages in the queue (T16) and at Meta (T17).
pub(in crate::store) async fn reconcile(
    sql: &mut Sql<'_>,
    now: Timestamp,
) -> Result<Reconciled, sqlx::Error> {
    let oldest = inbox::oldest(sql).await?;
    let lag = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
    let mut clock = service_state::clock(sql).await?;
    // A clock by which nobody waits need not be written every second.
    if clock.is_stale(now) || is_anything_uncertain(sql).await? {
        clock = clock.observed(now, lag);
        service_state::keep_clock(sql, &clock).await?;
    }
    let mut reconciled = Reconciled {
        lag,
        ..Reconciled::default()
    };
    let over = sql
        .all(
            "SELECT id FROM message WHERE reconcile_at <= $1 ORDER BY reconcile_at LIMIT 100",
            args![clock.healthy],
        )
        .await?;
    for id in sorted(&over)? {
        stop_confirming(sql, id, &mut reconciled, now).await?;
    }
    let over = sql
        .all(
            "SELECT id FROM message WHERE deadline <= $1 ORDER BY deadline LIMIT 100",
            args![now],
        )
        .await?;
    for id in sorted(&over)? {
        let Some(mut held) = Held::load(sql, id).await? else {
            continue;
        };
        held.progress.lapse(now);
        note(&held, &mut reconciled);
        held.save(sql, now).await?;
    }
    reconciled.uncertain = status::standing(sql, State::Uncertain).await?;
    reconciled.orphans = status::orphans(sql).await?;
    reconciled.waiting = queue::waiting(sql).await?;
    Ok(reconciled)
}

/// In the order in which messages are locked. The statement has them in that of its index:
/// in any other, PostgreSQL may go through all messages to find none.
fn sorted(rows: &[Row]) -> Result<BTreeSet<MessageId>, sqlx::Error> {
    rows.iter().map(|row| row.get("id")).collect()
}

async fn is_anything_uncertain(sql: &mut Sql<'_>) -> Result<bool, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT id FROM message WHERE reconcile_at IS NOT NULL LIMIT 1",
            args![],
        )
        .await?;
    Ok(row.is_some())
}

async fn stop_confirming(
    sql: &mut Sql<'_>,
    id: MessageId,
    reconciled: &mut Reconciled,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let Some(mut held) = Held::load(sql, id).await? else {
        return Ok(());
    };
    let attempts = sql
        .all(
            "SELECT n, token FROM attempt WHERE message_id = $1 ORDER BY n",
            args![&id],
        )
        .await?;
    // A last look: its status may have come while nobody knew the attempt.
    for row in attempts {
        let (n, token) = (row.get("n")?, row.get::<String>("token")?);
        let orphans = status::take_orphans_of_token(sql, &token).await?;
        let orphans: Vec<&Status> = orphans.iter().collect();
        status::adopt(sql, &mut held, n, &orphans).await?;
    }
    if held.progress.state == State::Uncertain {
        held.progress.stop_confirming(now);
        reconciled.given_up += 1;
    }
    note(&held, reconciled);
    held.save(sql, now).await
}

fn note(held: &Held, reconciled: &mut Reconciled) {
    reconciled.changes.push(Change {
        message: held.id,
        state: held.progress.state,
        correlation_id: held.correlation_id.clone(),
        traceparent: held.traceparent.clone(),
    });
}
