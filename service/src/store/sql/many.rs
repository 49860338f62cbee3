//! Statements over many rows at once: one round trip for a batch, instead of one for each row.
//!
//! The rows are the statement's first argument, as JSON, which both engines unfold: an
//! array of arrays, whose columns are read by their position.

use serde::Serialize;

use crate::message::MessageId;

/// A statement in which `ROWS` is the table of the rows that are given, `value` each of
/// them, and `ID` the message's id in its first column. `MESSAGE` are the columns that a
/// message under lock is read from; `LOCK` and `SKIP_LOCKED` lock what is read of messages.
macro_rules! many {
    (@sqlite ROWS) => { "json_each($1)" };
    (@sqlite ID) => { "unhex(value ->> 0)" };
    (@postgres ROWS) => { "jsonb_array_elements($1::jsonb)" };
    (@postgres ID) => { "decode(value ->> 0, 'hex')" };
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
