//! How far the tables of a database are behind.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

/// How many of these steps a database has still to take.
pub(super) async fn steps_to_take(
    connection: &mut impl Migrate,
    steps: &Migrator,
) -> Result<usize, MigrateError> {
    connection.ensure_migrations_table(MIGRATIONS_TABLE).await?;
    let taken = connection.list_applied_migrations(MIGRATIONS_TABLE).await?;
    Ok(steps.iter().count().saturating_sub(taken.len()))
}

/// Where sqlx writes down the steps that were taken.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";
