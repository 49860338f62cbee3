//! Shaping: what numbers have sent and heard, so that every replica keeps the same pace.

use std::collections::BTreeMap;

use vestibule::clock::Timestamp;

use super::many::{many, rows};
use super::{Row, Sql, Statement, args, locking};
use crate::delivery::Line;
use crate::delivery::shaper::{Number, Pair};

/// The pace of a number, locked for whoever takes its messages.
#[derive(Debug)]
pub(in crate::store) struct NumberTurn {
    number: Number,
    per_second: u32,
}

// === impl NumberTurn ===

impl NumberTurn {
    /// Counts one message, if it may leave.
    pub(in crate::store) fn depart(&mut self, now: Timestamp) {
        if let Some(next) = self.number.depart(self.per_second, now) {
            self.number = next;
        }
    }

    /// How many messages may leave, up to so many.
    pub(in crate::store) fn room(&self, now: Timestamp, most: usize) -> usize {
        let next = |number: &Number| number.depart(self.per_second, now);
        std::iter::successors(next(&self.number), next)
            .take(most)
            .count()
    }

    /// Whether a message may leave.
    pub(in crate::store) fn may_depart(&self, now: Timestamp) -> bool {
        self.number.depart(self.per_second, now).is_some()
    }

    /// Keeps what was counted.
    pub(in crate::store) async fn keep(
        self,
        sql: &mut Sql<'_>,
        line: &Line,
    ) -> Result<(), sqlx::Error> {
        keep_number(sql, &line.phone_number_id, self.number).await
    }
}

/// From when a number may send.
pub(in crate::store) async fn opens_at(
    sql: &mut Sql<'_>,
    line: &Line,
    now: Timestamp,
) -> Result<Timestamp, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT tat_us, factor, factor_at FROM number_shape WHERE phone_number_id = $1",
            args![&*line.phone_number_id],
        )
        .await?;
    let number = row.as_ref().map(number).transpose()?;
    Ok(number.map_or(now, |number| number.opens_at(line.per_second, now)))
}

/// Takes the turn of a number; nothing where another replica has it.
pub(in crate::store) async fn lock_number(
    sql: &mut Sql<'_>,
    line: &Line,
    now: Timestamp,
) -> Result<Option<NumberTurn>, sqlx::Error> {
    make(sql, &line.phone_number_id, now).await?;
    let row = sql
        .optional(
            Statement::either(
                "SELECT tat_us, factor, factor_at FROM number_shape WHERE phone_number_id = $1",
                "SELECT tat_us, factor, factor_at FROM number_shape WHERE phone_number_id = $1
                 FOR UPDATE SKIP LOCKED",
            ),
            args![&*line.phone_number_id],
        )
        .await?;
    row.map(|row| {
        Ok(NumberTurn {
            number: number(&row)?,
            per_second: line.per_second,
        })
    })
    .transpose()
}

/// What a number has sent to a customer, from a row that was joined to it.
pub(in crate::store) fn pair(row: &Row) -> Result<Option<Pair>, sqlx::Error> {
    let Some(tat) = row.maybe("tat")? else {
        return Ok(None);
    };
    Ok(Some(Pair {
        tat,
        burst_start: row.get("burst_start")?,
        burst_n: row.get("burst_n")?,
    }))
}

/// Keeps what was counted for customers.
pub(in crate::store) async fn keep_pairs(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    pairs: &BTreeMap<Box<str>, Pair>,
) -> Result<(), sqlx::Error> {
    if pairs.is_empty() {
        return Ok(());
    }
    let kept = pairs.iter().map(|(customer, pair)| {
        let at = Timestamp::as_unix_millis;
        (customer, at(pair.tat), at(pair.burst_start), pair.burst_n)
    });
    sql.execute(
        many!(
            "INSERT INTO pair_shape (phone_number_id, recipient, tat, burst_start, burst_n)
             SELECT $2, value ->> 0, CAST(value ->> 1 AS BIGINT), CAST(value ->> 2 AS BIGINT),
                    CAST(value ->> 3 AS BIGINT)
             FROM " ROWS " WHERE true
             ON CONFLICT (phone_number_id, recipient) DO UPDATE
             SET tat = excluded.tat, burst_start = excluded.burst_start,
                 burst_n = excluded.burst_n"
        ),
        args![&*rows(&kept.collect::<Vec<_>>())?, phone_number_id],
    )
    .await?;
    Ok(())
}

/// Meta refuses a number's messages to a customer until then.
pub(in crate::store) async fn hold_pair(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    customer: &str,
    until: Timestamp,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let pair = (customer.into(), Pair::refused(until, now));
    keep_pairs(sql, phone_number_id, &BTreeMap::from([pair])).await
}

/// Meta says that a number is too fast.
pub(in crate::store) async fn slow_down(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let number = locked(sql, phone_number_id, now).await?;
    keep_number(sql, phone_number_id, number.throttled(now)).await
}

/// Customers have written to a number.
pub(in crate::store) async fn hear(
    sql: &mut Sql<'_>,
    line: &Line,
    messages: u32,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let number = locked(sql, &line.phone_number_id, now).await?;
    let number = number.heard(messages, line.per_second, now);
    keep_number(sql, &line.phone_number_id, number).await
}

async fn locked(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    now: Timestamp,
) -> Result<Number, sqlx::Error> {
    make(sql, phone_number_id, now).await?;
    let row = sql
        .optional(
            locking!(
                "SELECT tat_us, factor, factor_at FROM number_shape WHERE phone_number_id = $1"
            ),
            args![phone_number_id],
        )
        .await?;
    number(&row.ok_or(sqlx::Error::RowNotFound)?)
}

/// Makes the row of a number that has none: only what is there can be locked.
async fn make(sql: &mut Sql<'_>, phone_number_id: &str, now: Timestamp) -> Result<(), sqlx::Error> {
    let idle = Number::idle(now);
    sql.execute(
        "INSERT INTO number_shape VALUES ($1, $2, $3, $4)
         ON CONFLICT (phone_number_id) DO NOTHING",
        args![phone_number_id, idle.tat_us, idle.factor, idle.factor_at],
    )
    .await?;
    Ok(())
}

async fn keep_number(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    number: Number,
) -> Result<(), sqlx::Error> {
    sql.execute(
        "UPDATE number_shape SET tat_us = $1, factor = $2, factor_at = $3
         WHERE phone_number_id = $4",
        args![
            number.tat_us,
            number.factor,
            number.factor_at,
            phone_number_id,
        ],
    )
    .await?;
    Ok(())
}

fn number(row: &Row) -> Result<Number, sqlx::Error> {
    Ok(Number {
        tat_us: row.get("tat_us")?,
        factor: row.get("factor")?,
        factor_at: row.get("factor_at")?,
    })
}
