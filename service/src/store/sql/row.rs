//! Between the columns and the domain.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;
use vestibule::Fingerprint;
use vestibule::clock::Timestamp;

use crate::message::{Failure, Kind, Message, MessageId, Policy, State};
use crate::recipient::PhoneNumber;
use crate::store::{Kept, Webhook};
use crate::window::Window;

/// A row of either engine.
pub(in crate::store) enum Row {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

/// A column's value as the domain has it.
pub(in crate::store) trait Column: Sized {
    /// What the engines give.
    type Raw: Raw;

    /// Reads it; nothing where it is not what the service wrote.
    fn from_raw(raw: Self::Raw) -> Option<Self>;
}

/// A type that both engines have.
pub(in crate::store) trait Raw:
    for<'r> sqlx::Decode<'r, sqlx::Postgres>
    + sqlx::Type<sqlx::Postgres>
    + for<'r> sqlx::Decode<'r, sqlx::Sqlite>
    + sqlx::Type<sqlx::Sqlite>
{
}

impl Raw for i64 {}
impl Raw for String {}
impl Raw for Vec<u8> {}

// === impl Row ===

impl Row {
    /// Reads a column.
    pub(in crate::store) fn get<T: Column>(&self, name: &'static str) -> Result<T, sqlx::Error> {
        self.maybe(name)?.ok_or_else(|| unreadable(name))
    }

    /// Reads a column that may be null.
    pub(in crate::store) fn maybe<T: Column>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, sqlx::Error> {
        let raw = match self {
            Self::Postgres(row) => row.try_get::<Option<T::Raw>, _>(name)?,
            Self::Sqlite(row) => row.try_get::<Option<T::Raw>, _>(name)?,
        };
        raw.map(|raw| T::from_raw(raw).ok_or_else(|| unreadable(name)))
            .transpose()
    }
}

/// The columns of a message that its owner may see.
pub(in crate::store) fn message(row: &Row) -> Result<Message, sqlx::Error> {
    Ok(Message {
        id: row.get("id")?,
        account: row.get("account")?,
        agent_id: row.get("agent_id")?,
        // Empty once it was purged.
        to: PhoneNumber::parse(&row.get::<String>("recipient")?),
        kind: row.get("kind")?,
        state: row.get("state")?,
        wamid: row.maybe("wamid")?,
        failure: failure(row)?,
        created_at: row.get("created_at")?,
        sent_at: row.maybe("sent_at")?,
        delivered_at: row.maybe("delivered_at")?,
        read_at: row.maybe("read_at")?,
        failed_at: row.maybe("failed_at")?,
    })
}

pub(in crate::store) fn failure(row: &Row) -> Result<Option<Failure>, sqlx::Error> {
    let code = row.maybe::<String>("failure_code")?;
    let message = row.maybe::<String>("failure_message")?;
    Ok(code.zip(message).map(|(code, message)| Failure {
        code: code.into(),
        message: message.into(),
    }))
}

pub(in crate::store) fn kept(row: &Row) -> Result<Kept, sqlx::Error> {
    Ok(Kept {
        fingerprint: row.get("fingerprint")?,
        status: row.get("status")?,
        body: row.get::<Vec<u8>>("body")?.into(),
        correlation_id: row.get("correlation_id")?,
    })
}

pub(in crate::store) fn webhook(row: &Row) -> Result<Webhook, sqlx::Error> {
    Ok(Webhook {
        seq: row.get("seq")?,
        body: row.get::<Vec<u8>>("body")?.into(),
        received_at: row.get("received_at")?,
    })
}

pub(in crate::store) fn window(row: &Row) -> Result<Window, sqlx::Error> {
    let window = Window::opened_at(row.get("opened_at")?);
    Ok(match row.maybe("refused_at")? {
        Some(at) => window.refused(at),
        None => window,
    })
}

pub(in crate::store) fn unreadable(name: &'static str) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: name.into(),
        source: "not what the service writes".into(),
    }
}

/// Columns that hold a number.
macro_rules! numbers {
    ($($domain:ty = $read:expr;)*) => {$(
        impl Column for $domain {
            type Raw = i64;

            fn from_raw(raw: i64) -> Option<Self> {
                $read(raw)
            }
        }
    )*};
}

/// Columns that hold a word.
macro_rules! words {
    ($($domain:ty = $read:expr;)*) => {$(
        impl Column for $domain {
            type Raw = String;

            fn from_raw(raw: String) -> Option<Self> {
                $read(raw)
            }
        }
    )*};
}

/// Columns that hold bytes.
macro_rules! bytes {
    ($($domain:ty = $read:expr;)*) => {$(
        impl Column for $domain {
            type Raw = Vec<u8>;

            fn from_raw(raw: Vec<u8>) -> Option<Self> {
                $read(raw)
            }
        }
    )*};
}

numbers! {
    i64 = Some;
    u16 = |raw| Self::try_from(raw).ok();
    u32 = |raw| Self::try_from(raw).ok();
    u64 = |raw| Self::try_from(raw).ok();
    bool = |raw| Some(raw != 0);
    Timestamp = |raw| u64::try_from(raw).ok().map(Self::from_unix_millis);
    Duration = |raw| u64::try_from(raw).ok().map(Self::from_millis);
}

words! {
    String = Some;
    Box<str> = |raw: String| Some(raw.into());
    PhoneNumber = |raw: String| Self::parse(&raw);
    State = |raw: String| Self::parse(&raw);
    Kind = |raw: String| Self::parse(&raw);
    Policy = |raw: String| Self::parse(&raw);
}

bytes! {
    Vec<u8> = Some;
    Uuid = |raw: Vec<u8>| Self::from_slice(&raw).ok();
    MessageId = |raw: Vec<u8>| Uuid::from_raw(raw).map(Into::into);
    Fingerprint = |raw: Vec<u8>| raw.try_into().ok().map(Self::from_bytes);
}
