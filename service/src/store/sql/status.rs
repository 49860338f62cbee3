//! Statuses: what Meta says became of messages.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use vestibule::clock::Timestamp;

use super::held::Held;
use super::many::{hex, many, rows};
use super::row::{failure, unreadable};
use super::{Row, Sql, alias, args};
use crate::cloud_api;
use crate::delivery::{Names, Status};
use crate::message::{MessageId, State};
use crate::store::{Applied, Change};

/// What a status is about.
#[derive(Clone, Copy)]
struct Found {
    message: MessageId,
    attempt: u32,
    was_uncertain: bool,
    has_wamid: bool,
    began: Timestamp,
}

/// Applies statuses to the messages they are about, or parks them until somebody knows that
/// message. One that came before changes nothing. Whoever calls has locked Meta's ids: who
/// parks a status and who learns whose it is must not miss one another.
pub(in crate::store) async fn apply(
    sql: &mut Sql<'_>,
    statuses: &[&Status],
    applied: &mut Applied,
    now: Timestamp,
    draw: u128,
) -> Result<(), sqlx::Error> {
    let mut found = find(sql, statuses).await?;
    let ids: BTreeSet<MessageId> = found.iter().flatten().map(|one| one.message).collect();
    let held = Held::load_all(sql, ids.into_iter()).await?;
    let mut held: BTreeMap<MessageId, Held> = held.into_iter().map(|one| (one.id, one)).collect();
    let named = name(sql, statuses, &found, now).await?;
    for (status, found) in statuses.iter().zip(&mut found) {
        // Another of them has just told whose this id is.
        if found.is_none() {
            *found = named.get(&*status.wamid).copied();
        }
    }
    let wamids: BTreeSet<&str> = named.keys().copied().collect();
    // Others may have come under these ids before anybody knew whose they are.
    let orphans = take_orphans(sql, &wamids).await?;
    let parked: Vec<&Status> = statuses
        .iter()
        .zip(&found)
        .filter_map(|(status, found)| found.is_none().then_some(*status))
        .collect();
    applied.orphans += park(sql, &parked, now).await?;
    let adopted = orphans
        .iter()
        .filter_map(|orphan| Some((orphan, *named.get(&*orphan.wamid)?)));
    let heard = statuses.iter().copied().zip(&found);
    let heard = heard.filter_map(|(status, found)| Some((status, (*found)?)));
    let told: Vec<(&Status, Found)> = adopted.chain(heard).collect();
    let mut news = note(
        sql,
        told.iter().map(|(status, found)| (*status, found.message)),
    )
    .await?;
    let mut changed = BTreeSet::new();
    let mut confirmed = BTreeSet::new();
    for (at, (status, found)) in told.iter().enumerate() {
        let Some(held) = held.get_mut(&found.message) else {
            continue;
        };
        // Those that were parked were counted when they came.
        let mut uncounted = Applied::default();
        let counted = match at < orphans.len() {
            true => &mut uncounted,
            false => &mut *applied,
        };
        let is_named_so = named.contains_key(&*status.wamid);
        counted.duplicates +=
            u64::from(!is_named_so && held.progress.is_known_as_other(&status.wamid));
        if !news.remove(&(&*status.wamid, status.state)) {
            counted.repeated += 1;
            continue;
        }
        let draw = draw.wrapping_add(at as u128);
        hear(sql, held, found.attempt, status, counted, draw).await?;
        changed.insert(found.message);
        if found.was_uncertain && confirmed.insert((found.message, found.attempt)) {
            applied.reconciled.push(now.since(found.began));
        }
    }
    held.retain(|id, _| changed.contains(id));
    let held: Vec<Held> = held.into_values().collect();
    Held::save_all(sql, &held, now).await
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
                "DELETE FROM orphan_status WHERE wamid" IN_NAMES "
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

/// Lets a message hear statuses that came before. It is saved by whoever asks.
pub(in crate::store) async fn adopt(
    sql: &mut Sql<'_>,
    held: &mut Held,
    attempt: u32,
    orphans: &[&Status],
) -> Result<(), sqlx::Error> {
    let told = orphans.iter().map(|orphan| (*orphan, held.id));
    let mut news = note(sql, told).await?;
    for orphan in orphans {
        if news.remove(&(&*orphan.wamid, orphan.state)) {
            hear(sql, held, attempt, orphan, &mut Applied::default(), 0).await?;
        }
    }
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

/// Keeps statuses; those that nobody has told before are returned.
async fn note<'a>(
    sql: &mut Sql<'_>,
    told: impl Iterator<Item = (&'a Status, MessageId)>,
) -> Result<HashSet<(&'a str, State)>, sqlx::Error> {
    let told: Vec<(&Status, MessageId)> = told.collect();
    if told.is_empty() {
        return Ok(HashSet::new());
    }
    let noted = told.iter().map(|(status, message)| {
        let (state, at) = (status.state.as_str(), status.at.as_unix_millis());
        (hex(*message), &*status.wamid, state, at, status.code)
    });
    let new = sql
        .all(
            many!(
                "INSERT INTO status_event (message_id, wamid, state, at, code)
                 SELECT " ID ", value ->> 1, value ->> 2, CAST(value ->> 3 AS BIGINT),
                        CAST(value ->> 4 AS BIGINT)
                 FROM " ROWS " WHERE true
                 ON CONFLICT (wamid, state) DO NOTHING RETURNING wamid, state"
            ),
            args![&*rows(&noted.collect::<Vec<_>>())?],
        )
        .await?;
    let mut states = HashMap::<String, Vec<State>>::new();
    for row in new {
        let wamid = row.get("wamid")?;
        states.entry(wamid).or_default().push(row.get("state")?);
    }
    let is_new = |status: &Status| {
        let states = states.get(&*status.wamid);
        states.is_some_and(|states| states.contains(&status.state))
    };
    let new = told.iter().filter(|(status, _)| is_new(status));
    Ok(new
        .map(|(status, _)| (&*status.wamid, status.state))
        .collect())
}

/// Lets a message hear a status that it has not heard before.
async fn hear(
    sql: &mut Sql<'_>,
    held: &mut Held,
    attempt: u32,
    status: &Status,
    applied: &mut Applied,
    draw: u128,
) -> Result<(), sqlx::Error> {
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
    Ok(())
}

/// The attempts that statuses are about: by their tokens, else by Meta's ids.
async fn find(sql: &mut Sql<'_>, statuses: &[&Status]) -> Result<Vec<Option<Found>>, sqlx::Error> {
    let mut found = vec![None; statuses.len()];
    let tokens = statuses.iter().enumerate();
    let tokens = tokens.filter_map(|(at, status)| Some((at, status.token.as_deref()?)));
    let tokens: Vec<(usize, &str)> = tokens.collect();
    if !tokens.is_empty() {
        let attempts = many!(
            "SELECT CAST(value ->> 0 AS BIGINT) AS at, message_id, n, outcome, started_at, wamid
             FROM " ROWS " LEFT JOIN attempt ON attempt.token = value ->> 1"
        );
        place(
            &sql.all(attempts, args![&*rows(&tokens)?]).await?,
            &mut found,
        )?;
    }
    let wamids = statuses.iter().enumerate().zip(&found);
    let wamids = wamids.filter_map(|((at, status), found)| match found {
        None => Some((at, &*status.wamid)),
        Some(_) => None,
    });
    let wamids: Vec<(usize, &str)> = wamids.collect();
    if !wamids.is_empty() {
        let attempts = many!(
            "SELECT CAST(value ->> 0 AS BIGINT) AS at, message_id, n, outcome, started_at, wamid
             FROM " ROWS " LEFT JOIN attempt ON attempt.wamid = value ->> 1"
        );
        place(
            &sql.all(attempts, args![&*rows(&wamids)?]).await?,
            &mut found,
        )?;
    }
    Ok(found)
}

/// Puts attempts where their statuses are.
fn place(attempts: &[Row], found: &mut [Option<Found>]) -> Result<(), sqlx::Error> {
    for row in attempts {
        let Some(message) = row.maybe("message_id")? else {
            continue;
        };
        let at = usize::try_from(row.get::<u64>("at")?).ok();
        let found = at.and_then(|at| found.get_mut(at));
        let outcome = row.maybe::<String>("outcome")?;
        *found.ok_or_else(|| unreadable("at"))? = Some(Found {
            message,
            attempt: row.get("n")?,
            was_uncertain: outcome.as_deref() == Some("unknown"),
            has_wamid: row.maybe::<String>("wamid")?.is_some(),
            began: row.get("started_at")?,
        });
    }
    Ok(())
}

/// Gives attempts that have none the ids of Meta's, and an outcome where they had none: that
/// a status came proves that Meta took it. Returns the attempts that have their id from this.
async fn name<'a>(
    sql: &mut Sql<'_>,
    statuses: &[&'a Status],
    found: &[Option<Found>],
    now: Timestamp,
) -> Result<BTreeMap<&'a str, Found>, sqlx::Error> {
    let mut nameless = BTreeMap::new();
    for (status, found) in statuses.iter().zip(found) {
        if let Some(found) = found
            && !found.has_wamid
        {
            let attempt = (found.message.as_uuid(), found.attempt);
            nameless.entry(attempt).or_insert((&*status.wamid, *found));
        }
    }
    if nameless.is_empty() {
        return Ok(BTreeMap::new());
    }
    let given = nameless
        .values()
        .map(|(wamid, found)| (hex(found.message), found.attempt, wamid));
    let named = sql
        .all(
            many!(
                "UPDATE attempt SET wamid = given.wamid, outcome = 'adopted',
                                    ended_at = COALESCE(ended_at, $2)
                 FROM (SELECT " ID " AS id, CAST(value ->> 1 AS BIGINT) AS n,
                              value ->> 2 AS wamid FROM " ROWS ") AS given
                 WHERE attempt.message_id = given.id AND attempt.n = given.n
                   AND attempt.n = CASE WHEN attempt.wamid IS NULL THEN given.n END
                 RETURNING attempt.message_id, attempt.n"
            ),
            args![&*rows(&given.collect::<Vec<_>>())?, now],
        )
        .await?;
    let mut by_wamid = BTreeMap::new();
    for row in named {
        let message: MessageId = row.get("message_id")?;
        if let Some((wamid, found)) = nameless.remove(&(message.as_uuid(), row.get("n")?)) {
            by_wamid.insert(wamid, found);
        }
    }
    Ok(by_wamid)
}

async fn park(sql: &mut Sql<'_>, statuses: &[&Status], now: Timestamp) -> Result<u64, sqlx::Error> {
    if statuses.is_empty() {
        return Ok(0);
    }
    let parked = statuses.iter().map(|status| {
        let failure = status.failure.as_ref();
        (
            &*status.wamid,
            status.state.as_str(),
            status.at.as_unix_millis(),
            failure.map(|failure| &*failure.code),
            failure.map(|failure| &*failure.message),
            status.token.as_deref(),
            &*status.phone_number_id,
            status.code,
        )
    });
    sql.execute(
        many!(
            "INSERT INTO orphan_status (wamid, state, at, failure_code, failure_message,
                                        token, phone_number_id, code, received_at)
             SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT), value ->> 3,
                    value ->> 4, value ->> 5, value ->> 6, CAST(value ->> 7 AS BIGINT), $2
             FROM " ROWS " WHERE true
             ON CONFLICT (wamid, state) DO NOTHING"
        ),
        args![&*rows(&parked.collect::<Vec<_>>())?, now],
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
