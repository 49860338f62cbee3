//! Attempts: what came of them, and who is gone in the middle of one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vestibule::clock::Timestamp;

use super::alias::Acquaintance;
use super::held::Held;
use super::many::{hex, many, rows};
use super::{Sql, alias, args, hold, service_state, shape, status};
use crate::delivery::{Departure, Ended, Names, Settlement, Status};
use crate::message::{MessageId, Next};
use crate::store::{Settings, Settled};

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

/// Writes down what came of attempts (T3 to T8), of all or of none.
///
/// Names, ids of Meta's and messages are locked in this order, each sorted: so does whoever
/// applies statuses.
pub(in crate::store) async fn settle(
    sql: &mut Sql<'_>,
    settings: &Settings,
    ended: &[Ended],
    now: Timestamp,
) -> Result<Vec<Settled>, sqlx::Error> {
    learn(sql, ended, now).await?;
    let wamids: BTreeSet<&str> = ended.iter().filter_map(Ended::wamid).collect();
    sql.lock_names(&wamids).await?;
    let ids = ended.iter().map(|one| one.departure.message);
    let held = Held::load_all(sql, ids).await?;
    let mut held: BTreeMap<MessageId, Held> = held.into_iter().map(|one| (one.id, one)).collect();
    let is_doubtful = |one: &Ended| one.settlement.next == Next::Uncertain;
    let reconcile_at = match ended.iter().any(is_doubtful) {
        true => reconcile_at(sql, settings, now).await?,
        false => Duration::ZERO,
    };
    close(sql, ended, now).await?;
    // Statuses may have overtaken the answer.
    let orphans = status::take_orphans(sql, &wamids).await?;
    let mut by_wamid = BTreeMap::<&str, Vec<&Status>>::new();
    for orphan in &orphans {
        by_wamid.entry(&orphan.wamid).or_default().push(orphan);
    }
    let mut settled = Vec::with_capacity(ended.len());
    for one in ended {
        let mut came_to = Settled::default();
        if let Some(held) = held.get_mut(&one.departure.message) {
            came_to.is_duplicate = settle_one(held, one, now, reconcile_at);
            came_to.state = Some(held.progress.state);
            let overtaken = one.wamid().and_then(|wamid| by_wamid.get(wamid));
            if let Some(orphans) = overtaken {
                status::adopt(sql, held, one.departure.attempt, orphans).await?;
            }
        }
        settled.push(came_to);
    }
    let held: Vec<Held> = held.into_values().collect();
    Held::save_all(sql, &held, now).await?;
    lift(sql, ended, &mut settled, now).await?;
    Ok(settled)
}

/// The transition of one message; whether Meta has it twice.
fn settle_one(held: &mut Held, one: &Ended, now: Timestamp, reconcile_at: Duration) -> bool {
    let (attempt, next) = (one.departure.attempt, &one.settlement.next);
    held.progress.settle(attempt, next, now, reconcile_at);
    let Some(wamid) = one.wamid() else {
        return false;
    };
    let is_duplicate = held.progress.is_known_as_other(wamid);
    held.progress.wamid.get_or_insert_with(|| wamid.into());
    is_duplicate
}

/// Learns the names that Meta gave customers, and which windows it called closed.
async fn learn(sql: &mut Sql<'_>, ended: &[Ended], now: Timestamp) -> Result<(), sqlx::Error> {
    let acquaintances: Vec<Acquaintance<'_>> = ended
        .iter()
        .filter(|one| one.settlement.recipient != Names::default())
        .map(|one| Acquaintance {
            phone_number_id: &one.departure.line.phone_number_id,
            dialled: Some(one.departure.to.digits()),
            names: &one.settlement.recipient,
        })
        .collect();
    alias::learn_all(sql, &acquaintances, now).await?;
    for one in ended.iter().filter(|one| one.settlement.closes_window) {
        let departure = &one.departure;
        let number = &departure.line.phone_number_id;
        alias::refuse_window(sql, number, departure.to.digits(), now).await?;
    }
    Ok(())
}

/// Lifts the holds of numbers that Meta takes from again, and lets the others be probed.
async fn lift(
    sql: &mut Sql<'_>,
    ended: &[Ended],
    settled: &mut [Settled],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut proofs = BTreeMap::new();
    let mut silences = BTreeMap::new();
    for (at, one) in ended.iter().enumerate() {
        if settled[at].state.is_none() {
            continue;
        }
        let (line, began) = (&one.departure.line, one.departure.began);
        let told = match one.settlement.proves_a_way() {
            true => &mut proofs,
            false if one.settlement.strike.is_none() => &mut silences,
            false => continue,
        };
        let latest = told.entry(&*line.phone_number_id).or_insert((at, began));
        latest.1 = latest.1.max(began);
    }
    for (at, began) in proofs.into_values() {
        settled[at].lifted = hold::lift(sql, &ended[at].departure.line, began).await?;
    }
    for (at, began) in silences.into_values() {
        hold::probe_again(sql, &ended[at].departure.line, began, now).await?;
    }
    Ok(())
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
             ORDER BY lease_until LIMIT 1000",
            args![now, is_alone, owner],
        )
        .await?;
    if open.is_empty() {
        return Ok(0);
    }
    let reconcile_at = reconcile_at(sql, settings, now).await?;
    let mut found = 0;
    let open = open
        .iter()
        .map(|row| -> Result<(MessageId, u32), _> { Ok((row.get("message_id")?, row.get("n")?)) });
    // In the order in which messages are locked.
    for (id, n) in open.collect::<Result<BTreeSet<_>, sqlx::Error>>()? {
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

/// Closes attempts that are open, or whose outcome nobody knew until their owner told it.
async fn close(sql: &mut Sql<'_>, ended: &[Ended], now: Timestamp) -> Result<(), sqlx::Error> {
    let closed = ended.iter().map(|one| {
        let refusal = one.settlement.refusal.as_ref();
        (
            hex(one.departure.message),
            one.departure.attempt,
            one.settlement.outcome,
            refusal.map(|refusal| refusal.code),
            refusal.map(|refusal| refusal.http_status),
            refusal.and_then(|refusal| refusal.fbtrace_id.as_deref()),
            one.wamid(),
            OPEN,
        )
    });
    sql.execute(
        many!(
            "UPDATE attempt
             SET outcome = given.outcome, code = given.code, http_status = given.http_status,
                 fbtrace_id = given.fbtrace_id, wamid = given.wamid, ended_at = $2
             FROM (SELECT " ID " AS id, CAST(value ->> 1 AS BIGINT) AS n, value ->> 2 AS outcome,
                          CAST(value ->> 3 AS BIGINT) AS code,
                          CAST(value ->> 4 AS BIGINT) AS http_status,
                          value ->> 5 AS fbtrace_id, value ->> 6 AS wamid,
                          value ->> 7 AS open
                   FROM " ROWS ") AS given
             WHERE attempt.message_id = given.id AND attempt.n = given.n
               AND COALESCE(attempt.outcome, given.open) = given.open"
        ),
        args![&*rows(&closed.collect::<Vec<_>>())?, now],
    )
    .await?;
    Ok(())
}

/// Records attempts before they are made.
pub(in crate::store) async fn record(
    sql: &mut Sql<'_>,
    owner: &str,
    lease_until: Timestamp,
    departures: &[Departure],
) -> Result<(), sqlx::Error> {
    let Some(first) = departures.first() else {
        return Ok(());
    };
    let recorded = departures
        .iter()
        .map(|one| (hex(one.message), one.attempt, &*one.token));
    sql.execute(
        many!(
            "INSERT INTO attempt (message_id, n, token, owner, lease_until, started_at)
             SELECT " ID ", CAST(value ->> 1 AS BIGINT), value ->> 2, $2, $3, $4 FROM " ROWS
        ),
        args![
            &*rows(&recorded.collect::<Vec<_>>())?,
            owner,
            lease_until,
            first.began,
        ],
    )
    .await?;
    Ok(())
}

/// The outcome that nobody knew.
const OPEN: &str = "unknown";
