//! The tables of the keys: a record is the JSON of the one schema, under its id.

use std::error::Error;
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::ring::Kept;
use crate::api_key::KeyRecord;
use crate::clock::Timestamp;

/// The tables within one transaction.
pub(super) struct KeyTables<'a> {
    records: Table<'a, &'static str, &'static [u8]>,
    uses: Table<'a, &'static str, u64>,
}

/// Why the keys are not read in.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// This version does not read such a record.
    #[error("the key {id:?} cannot be read: {cause}")]
    Record { id: String, cause: Cause },
    #[error(transparent)]
    File(#[from] redb::Error),
}

type Cause = Box<dyn Error + Send + Sync>;

/// What lies in the file.
pub(super) fn read(transaction: &ReadTransaction) -> Result<Kept, ReadError> {
    let records = transaction.open_table(RECORDS)?;
    let uses = transaction.open_table(USES)?;
    let mut kept = Kept {
        records: Vec::new(),
        uses: Vec::new(),
    };
    for entry in records.iter()? {
        let (id, json) = entry?;
        let record = decode(json.value()).map_err(|cause| ReadError::Record {
            id: id.value().to_owned(),
            cause,
        })?;
        kept.records.push(record);
    }
    for entry in uses.iter()? {
        let (id, at) = entry?;
        let at = Timestamp::from_unix_millis(at.value());
        kept.uses.push((id.value().into(), at));
    }
    Ok(kept)
}

// === impl KeyTables ===

impl<'a> KeyTables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            uses: transaction.open_table(USES)?,
        })
    }

    pub(super) fn write(&mut self, record: &KeyRecord) -> Result<(), redb::Error> {
        let json = record.to_json().to_string();
        let id = record.principal().key_id();
        self.records.insert(id, json.as_bytes())?;
        Ok(())
    }

    pub(super) fn note_use(&mut self, id: &str, at: Timestamp) -> Result<(), redb::Error> {
        self.uses.insert(id, at.as_unix_millis())?;
        Ok(())
    }
}

// === impl ReadError ===

impl From<redb::TableError> for ReadError {
    fn from(cause: redb::TableError) -> Self {
        Self::File(cause.into())
    }
}

impl From<redb::StorageError> for ReadError {
    fn from(cause: redb::StorageError) -> Self {
        Self::File(cause.into())
    }
}

fn decode(json: &[u8]) -> Result<Arc<KeyRecord>, Cause> {
    let value = serde_json::from_slice(json)?;
    Ok(KeyRecord::from_json(&value)?)
}

/// Id to record.
const RECORDS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");

/// Id to the moment at which the key was last seen: apart from the record, because it is
/// written each second, and the record seldom.
const USES: TableDefinition<'_, &str, u64> = TableDefinition::new("key_uses");
