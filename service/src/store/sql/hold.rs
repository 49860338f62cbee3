//! Holds: struck by refusals, asked before a message is taken, lifted by a success.

use std::time::Duration;

use vestibule::clock::Timestamp;

use super::{Row, Sql, args, locking};
use crate::delivery::{Hold, Line, Strike};

/// Whether a number may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Gate {
    /// Nothing holds it.
    Open,
    /// One message may go, to see.
    Probe,
    /// Nothing may go.
    Shut,
}

/// Every hold.
pub(in crate::store) async fn all(sql: &mut Sql<'_>) -> Result<Vec<Hold>, sqlx::Error> {
    let rows = sql
        .all(
            "SELECT scope, code, since, struck_at, until, strikes FROM hold ORDER BY scope",
            args![],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Asks the holds of a number. A probe that may leave is written down, so that it is one.
pub(in crate::store) async fn pass(
    sql: &mut Sql<'_>,
    line: &Line,
    now: Timestamp,
) -> Result<Gate, sqlx::Error> {
    let [number, account, app, token] = line.names();
    let rows = sql
        .all(
            locking!(
                "SELECT scope, code, since, struck_at, until, strikes FROM hold
                 WHERE scope IN ($1, $2, $3, $4) ORDER BY scope"
            ),
            args![&*number, &*account, &*app, &*token],
        )
        .await?;
    let holds: Vec<Hold> = rows.iter().map(read).collect::<Result<_, _>>()?;
    if holds.is_empty() {
        return Ok(Gate::Open);
    }
    let Some(probed) = holds
        .iter()
        .map(|hold| hold.probed(now))
        .collect::<Option<Vec<_>>>()
    else {
        return Ok(Gate::Shut);
    };
    for hold in &probed {
        keep(sql, hold).await?;
    }
    Ok(Gate::Probe)
}

/// Strikes a scope.
pub(in crate::store) async fn strike(
    sql: &mut Sql<'_>,
    strike: &Strike,
    now: Timestamp,
    draw: u128,
) -> Result<(), sqlx::Error> {
    let row = sql
        .optional(
            locking!(
                "SELECT scope, code, since, struck_at, until, strikes FROM hold WHERE scope = $1"
            ),
            args![&*strike.scope],
        )
        .await?;
    let before = row.as_ref().map(read).transpose()?;
    keep(sql, &Hold::struck(before.as_ref(), strike, now, draw)).await
}

/// Lifts the holds of a number from which Meta took a message whose attempt began then.
pub(in crate::store) async fn lift(
    sql: &mut Sql<'_>,
    line: &Line,
    began: Timestamp,
) -> Result<u64, sqlx::Error> {
    let [number, account, app, token] = line.names();
    sql.execute(
        "DELETE FROM hold WHERE scope IN ($1, $2, $3, $4) AND struck_at <= $5",
        args![&*number, &*account, &*app, &*token, began],
    )
    .await
}

/// A probe has told nothing: the next one need not wait until it would have.
pub(in crate::store) async fn probe_again(
    sql: &mut Sql<'_>,
    line: &Line,
    began: Timestamp,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let [number, account, app, token] = line.names();
    sql.execute(
        "UPDATE hold SET until = $6
         WHERE scope IN ($1, $2, $3, $4) AND struck_at <= $5 AND until > $6",
        args![&*number, &*account, &*app, &*token, began, now + NEXT_PROBE,],
    )
    .await?;
    Ok(())
}

/// Lifts one hold, or all of them: an operator has acted.
pub(in crate::store) async fn release(
    sql: &mut Sql<'_>,
    scope: Option<&str>,
) -> Result<u64, sqlx::Error> {
    sql.execute(
        "DELETE FROM hold WHERE scope = $1 OR $1 IS NULL",
        args![scope],
    )
    .await
}

async fn keep(sql: &mut Sql<'_>, hold: &Hold) -> Result<(), sqlx::Error> {
    sql.execute(
        "INSERT INTO hold VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (scope) DO UPDATE
         SET code = excluded.code, since = excluded.since, struck_at = excluded.struck_at,
             until = excluded.until, strikes = excluded.strikes",
        args![
            &*hold.scope,
            hold.code,
            hold.since,
            hold.struck_at,
            hold.until,
            hold.strikes,
        ],
    )
    .await?;
    Ok(())
}

fn read(row: &Row) -> Result<Hold, sqlx::Error> {
    Ok(Hold {
        scope: row.get("scope")?,
        code: row.get("code")?,
        since: row.get("since")?,
        struck_at: row.get("struck_at")?,
        until: row.maybe("until")?,
        strikes: row.get("strikes")?,
    })
}

/// Soon, but not at the pace at which connections fail.
const NEXT_PROBE: Duration = Duration::from_secs(1);
