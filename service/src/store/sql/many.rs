//! Statements over many rows at once: one round trip for a batch, instead of one for each row.
//!
//! The rows are the statement's first argument, as JSON, which both engines unfold: an
//! array of arrays, whose columns are read by their position. PostgreSQL keeps the plan of
//! a statement, perhaps one that it made while a table was empty; so each is written such
//! that it can only go from the given rows to theirs in a table, by an index.

use std::time::Duration;

use serde::Serialize;

use crate::message::MessageId;

/// A statement in which `ROWS` is the table of the rows that are given, `value` each of
/// them, and `ID` the message's id in its first column; `(HEX n)` are the bytes in column
/// `n`. `IN_IDS` asks for one of these ids, `IN_NAMES` and `IN_NUMBERS` for one of the names
/// or numbers in the first column. `MESSAGE` are the columns that a message under lock is
/// read from; `LOCK` and `SKIP_LOCKED` lock what is read of messages, `LOCK_FREE` rows that
/// nobody else has locked.
macro_rules! many {
    // Rows in SQLite's own form: as text, each column would be looked for in it anew.
    (@sqlite ROWS) => { "jsonb_each($1)" };
    (@sqlite ID) => { "unhex(value ->> 0)" };
    (@postgres ROWS) => { "jsonb_array_elements($1::jsonb)" };
    (@postgres ID) => { "decode(value ->> 0, 'hex')" };
    (@sqlite (HEX $column:literal)) => { concat!("unhex(value ->> ", $column, ")") };
    (@postgres (HEX $column:literal)) => { concat!("decode(value ->> ", $column, ", 'hex')") };
    (@sqlite IN_IDS) => { " IN (SELECT unhex(value ->> 0) FROM jsonb_each($1))" };
    (@postgres IN_IDS) => {
        " = ANY (ARRAY(SELECT decode(value ->> 0, 'hex') FROM jsonb_array_elements($1::jsonb)))"
    };
    (@sqlite IN_NAMES) => { " IN (SELECT value ->> 0 FROM jsonb_each($1))" };
    (@postgres IN_NAMES) => {
        " = ANY (ARRAY(SELECT value ->> 0 FROM jsonb_array_elements($1::jsonb)))"
    };
    (@sqlite IN_NUMBERS) => { " IN (SELECT value ->> 0 FROM jsonb_each($1))" };
    (@postgres IN_NUMBERS) => {
        " = ANY (ARRAY(SELECT CAST(value ->> 0 AS BIGINT) FROM jsonb_array_elements($1::jsonb)))"
    };
    (@sqlite LOCK_FREE) => { "" };
    (@postgres LOCK_FREE) => { " FOR UPDATE SKIP LOCKED" };
    (@sqlite LOCK) => { "" };
    (@postgres LOCK) => { " FOR UPDATE OF message" };
    (@sqlite SKIP_LOCKED) => { "" };
    (@postgres SKIP_LOCKED) => { " FOR UPDATE OF message SKIP LOCKED" };
    (@$engine:ident MESSAGE) => {
        "message.id, message.phone_number_id, message.recipient, in_order, correlation_id, \
         traceparent, state, policy, attempts, refusals, not_before, expires_at, reconcile_at, \
         lasts, earlier, wamid, failure_code, failure_message, sent_at, delivered_at, read_at, \
         failed_at"
    };
    (@$engine:ident $text:tt) => { $text };
    ($($part:tt)+) => {
        $crate::store::sql::Statement::either(
            concat!($($crate::store::sql::many::many!(@sqlite $part)),+),
            concat!($($crate::store::sql::many::many!(@postgres $part)),+),
        )
    };
}

pub(super) use many;

/// The rows of a batch, as an argument.
pub(super) fn rows<T: Serialize>(rows: &[T]) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|cause| sqlx::Error::Encode(cause.into()))
}

/// An id as a column of [`rows`].
pub(super) fn hex(id: MessageId) -> String {
    id.as_uuid().simple().to_string()
}

/// A duration as a column of [`rows`].
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
