//! Between the columns and the domain.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;
use vestibule::Fingerprint;
use vestibule::clock::Timestamp;

use crate::message::{Failure, Kind, Message, MessageId, State};
use crate::recipient::PhoneNumber;
use crate::store::{Kept, Webhook};

/// A column's value as the domain has it.
pub(super) trait Column: Sized {
    /// What SQLite gives.
    type Raw: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>;

    /// Reads it; nothing where it is not what the service wrote.
    fn from_raw(raw: Self::Raw) -> Option<Self>;
}

/// Reads a column.
pub(super) fn column<T: Column>(row: &SqliteRow, name: &'static str) -> Result<T, sqlx::Error> {
    T::from_raw(row.try_get(name)?).ok_or_else(|| unreadable(name))
}

/// Reads a column that may be null.
pub(super) fn optional<T: Column>(
    row: &SqliteRow,
    name: &'static str,
) -> Result<Option<T>, sqlx::Error> {
    row.try_get::<Option<T::Raw>, _>(name)?
        .map(|raw| T::from_raw(raw).ok_or_else(|| unreadable(name)))
        .transpose()
}

/// A time as it is kept.
pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.as_unix_millis()).unwrap_or(i64::MAX)
}

pub(super) fn message(row: &SqliteRow) -> Result<Message, sqlx::Error> {
    Ok(Message {
        id: column(row, "id")?,
        account: column(row, "account")?,
        agent_id: column(row, "agent_id")?,
        to: column(row, "recipient")?,
        kind: column(row, "kind")?,
        state: column(row, "state")?,
        wamid: optional(row, "wamid")?,
        failure: failure(row)?,
        created_at: column(row, "created_at")?,
        sent_at: optional(row, "sent_at")?,
        failed_at: optional(row, "failed_at")?,
    })
}

pub(super) fn failure(row: &SqliteRow) -> Result<Option<Failure>, sqlx::Error> {
    let code = optional::<String>(row, "failure_code")?;
    let message = optional::<String>(row, "failure_message")?;
    Ok(code.zip(message).map(|(code, message)| Failure {
        code: code.into(),
        message: message.into(),
    }))
}

pub(super) fn kept(row: &SqliteRow) -> Result<Kept, sqlx::Error> {
    Ok(Kept {
        fingerprint: column(row, "fingerprint")?,
        status: row.try_get("status")?,
        body: row.try_get::<Vec<u8>, _>("body")?.into(),
        correlation_id: column(row, "correlation_id")?,
    })
}

pub(super) fn webhook(row: &SqliteRow) -> Result<Webhook, sqlx::Error> {
    Ok(Webhook {
        seq: row.try_get("seq")?,
        body: row.try_get::<Vec<u8>, _>("body")?.into(),
        received_at: column(row, "received_at")?,
    })
}

fn unreadable(name: &'static str) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: name.into(),
        source: "not what the service writes".into(),
    }
}

impl Column for Timestamp {
    type Raw = i64;

    fn from_raw(raw: i64) -> Option<Self> {
        u64::try_from(raw).ok().map(Self::from_unix_millis)
    }
}

impl Column for Uuid {
    type Raw = Vec<u8>;

    fn from_raw(raw: Vec<u8>) -> Option<Self> {
        Self::from_slice(&raw).ok()
    }
}

impl Column for MessageId {
    type Raw = Vec<u8>;

    fn from_raw(raw: Vec<u8>) -> Option<Self> {
        Uuid::from_raw(raw).map(Into::into)
    }
}

impl Column for Fingerprint {
    type Raw = Vec<u8>;

    fn from_raw(raw: Vec<u8>) -> Option<Self> {
        raw.try_into().ok().map(Self::from_bytes)
    }
}

impl Column for PhoneNumber {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        Self::parse(&raw)
    }
}

impl Column for State {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        Self::parse(&raw)
    }
}

impl Column for Kind {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        Self::parse(&raw)
    }
}

impl Column for String {
    type Raw = Self;

    fn from_raw(raw: Self) -> Option<Self> {
        Some(raw)
    }
}

impl Column for Box<str> {
    type Raw = String;

    fn from_raw(raw: String) -> Option<Self> {
        Some(raw.into())
    }
}
