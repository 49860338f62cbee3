//! The file: opened with suspicion, and changed by one transaction after another.

use std::path::Path;

use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

use super::error::{OpenError, WriteError};
use super::file;
use super::key_tables::{self, ReadError};
use super::page::{COUNTERS, Page};
use super::ring::{Kept, Ring};
use super::usage::{Capacity, Usage};

/// An open file, and how much it holds.
#[derive(Debug)]
pub(super) struct Ledger {
    database: Database,
    usage: Usage,
}

// === impl Ledger ===

impl Ledger {
    /// Opens the file, or makes one that nobody else may read.
    pub(super) fn open(path: &Path, capacity: Capacity) -> Result<Self, OpenError> {
        file::create(path).map_err(|cause| OpenError::unusable(path, cause))?;
        let database = Builder::new().set_cache_size(capacity.cache).create(path);
        Self::read(path, capacity, database)
    }

    /// Opens the file that was there before. One that has gone is not replaced: live
    /// records would be forgotten.
    pub(super) fn reopen(path: &Path, capacity: Capacity) -> Result<Self, OpenError> {
        let database = Builder::new().set_cache_size(capacity.cache).open(path);
        Self::read(path, capacity, database)
    }

    /// How many records are kept.
    pub(super) fn records_held(&self) -> usize {
        self.usage.all.records
    }

    /// The counters as they were written down last.
    pub(super) fn counters(&self) -> Result<Vec<Vec<u8>>, redb::Error> {
        let counters = self.database.begin_read()?.open_table(COUNTERS)?;
        let values = counters.iter()?;
        values.map(|entry| Ok(entry?.1.value().to_vec())).collect()
    }

    /// The keys as they were written down last.
    pub(super) fn keys(&self) -> Result<Kept, ReadError> {
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        key_tables::read(&transaction)
    }

    /// Does some work in one transaction, which is on the disk when this returns, its keys
    /// in the ring; says whether there was anything to write.
    pub(super) fn transact(
        &mut self,
        ring: &Ring,
        work: impl FnOnce(&mut Page<'_>) -> Result<(), redb::Error>,
    ) -> Result<bool, WriteError> {
        let transaction = self.begin().map_err(WriteError::not_applied)?;
        let written = {
            let page = Page::open(&transaction, ring, &mut self.usage);
            let mut page = page.map_err(WriteError::not_applied)?;
            work(&mut page).map_err(WriteError::not_applied)?;
            page.close()
        };
        let Some(edits) = written else {
            let aborted = transaction.abort();
            aborted.map_err(WriteError::not_applied)?;
            return Ok(false);
        };
        let committed = transaction.commit();
        committed.map_err(|cause| WriteError::unknown(cause.into()))?;
        ring.apply(edits);
        Ok(true)
    }

    fn begin(&self) -> Result<WriteTransaction, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        Ok(transaction)
    }

    fn read(
        path: &Path,
        capacity: Capacity,
        database: Result<Database, DatabaseError>,
    ) -> Result<Self, OpenError> {
        let mut ledger = Self {
            database: database.map_err(|cause| OpenError::database(path, cause))?,
            usage: Usage::new(capacity),
        };
        match ledger.read_in() {
            Ok(FORMAT) => Ok(ledger),
            Ok(other) => Err(OpenError::format(path, other)),
            Err(cause) => Err(OpenError::unusable(path, cause)),
        }
    }

    /// Counts what is kept, and says in which format; a new file gets this one.
    fn read_in(&mut self) -> Result<u64, redb::Error> {
        let transaction = self.begin()?;
        let format = {
            let mut about = transaction.open_table(ABOUT)?;
            let format = about.get("format")?.map(|found| found.value());
            if format.is_none() {
                about.insert("format", FORMAT)?;
            }
            format.unwrap_or(FORMAT)
        };
        if format == FORMAT {
            let ring = Ring::default();
            let mut page = Page::open(&transaction, &ring, &mut self.usage)?;
            page.count()?;
            // A file that was made before there were keys has no tables of them.
            page.keys()?;
        }
        transaction.commit()?;
        Ok(format)
    }
}

/// What is said of the file itself.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// Of the tables. A file of another format is not opened.
const FORMAT: u64 = 1;
