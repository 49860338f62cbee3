//! What is known of the deployment itself: since when it runs, and its intake's clock.

use std::time::Duration;

use vestibule::clock::Timestamp;

use super::{Sql, args, locking};
use crate::delivery::IntakeClock;
use crate::window::Knowledge;

/// Writes down a moment, unless it is there already.
pub(in crate::store) async fn begin(
    sql: &mut Sql<'_>,
    name: &'static str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sql.execute(
        "INSERT INTO service_state VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
        args![name, at],
    )
    .await?;
    Ok(())
}

/// Writes down a number.
pub(in crate::store) async fn set(
    sql: &mut Sql<'_>,
    name: &'static str,
    value: u64,
) -> Result<(), sqlx::Error> {
    sql.execute(
        "INSERT INTO service_state VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        args![name, value],
    )
    .await?;
    Ok(())
}

/// The clock of the intake, as last observed; locked where it is to be changed.
pub(in crate::store) async fn clock(sql: &mut Sql<'_>) -> Result<IntakeClock, sqlx::Error> {
    let rows = sql
        .all(
            locking!("SELECT name, value FROM service_state ORDER BY name"),
            args![],
        )
        .await?;
    let mut clock = IntakeClock::default();
    for row in rows {
        match &*row.get::<String>("name")? {
            HEALTHY => clock.healthy = row.get("value")?,
            DEBT => clock.debt = row.get("value")?,
            OBSERVED_AT => clock.observed_at = row.maybe("value")?,
            _ => {}
        }
    }
    Ok(clock)
}

/// Keeps the clock of the intake.
pub(in crate::store) async fn keep_clock(
    sql: &mut Sql<'_>,
    clock: &IntakeClock,
) -> Result<(), sqlx::Error> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    set(sql, HEALTHY, millis(clock.healthy)).await?;
    set(sql, DEBT, millis(clock.debt)).await?;
    match clock.observed_at {
        Some(at) => set(sql, OBSERVED_AT, at.as_unix_millis()).await,
        None => Ok(()),
    }
}

/// What the deployment can know of windows.
pub(in crate::store) async fn knowledge(sql: &mut Sql<'_>) -> Result<Knowledge, sqlx::Error> {
    let rows = sql
        .all("SELECT name, value FROM service_state", args![])
        .await?;
    let mut knowledge = Knowledge::default();
    for row in rows {
        match &*row.get::<String>("name")? {
            STARTED_AT => knowledge.started_at = row.maybe("value")?,
            IMPORTED_AT => knowledge.imported_at = row.maybe("value")?,
            DEBT => knowledge.is_lagging = row.get::<i64>("value")? > 0,
            _ => {}
        }
    }
    Ok(knowledge)
}

/// When the deployment was first started.
pub(in crate::store) const STARTED_AT: &str = "started_at";

/// When windows were last imported.
pub(in crate::store) const IMPORTED_AT: &str = "imported_at";

const HEALTHY: &str = "intake_healthy";
const DEBT: &str = "intake_debt";
const OBSERVED_AT: &str = "intake_observed_at";
