//! Key records in the database: found by digest, and written all together or not at all.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection as _, Row as _, query};

use super::connection::{Connections, Step};
use super::statements::{Statement, Statements};
use crate::api_key::{Digest, KeyChange, KeyRecord, KeyStore, KeyWriteError};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::principal::Principal;

/// Key records in PostgreSQL.
///
/// Made by [`Store::keyring`](super::Store::keyring); clones share its connections.
///
/// A look-up is one statement. Put [`Cached`](crate::api_key::Cached) around it: it asks
/// here at each request, so a change holds on the next one, and it goes on for a while
/// when the database is lost. The records are not
/// [tracked](crate::api_key::KeyRecordBuilder::tracked), because what counts the requests
/// is another store.
///
/// All changes of one [`write`](KeyStore::write) are one transaction: they are made
/// together or not at all, of whatever family they are.
#[derive(Clone)]
pub struct Keyring {
    connections: Connections,
    statements: Arc<Statements>,
}

/// Looks one record up.
struct Find<'a, T> {
    statement: &'a Statement,
    by: T,
}

struct Page<'a> {
    statement: &'a Statement,
    after: &'a str,
    most: i64,
}

struct Write<'a> {
    statements: &'a Statements,
    changes: &'a [KeyChange],
}

struct Touch<'a> {
    statement: &'a Statement,
    ids: Vec<&'a str>,
    moments: Vec<i64>,
}

/// What a transaction came to that the database had no fault in.
type Judged = Result<(), KeyWriteError>;

// === impl Keyring ===

impl Keyring {
    pub(super) fn new(connections: Connections, statements: Arc<Statements>) -> Self {
        Self {
            connections,
            statements,
        }
    }
}

impl crate::api_key::Keyring for Keyring {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let step = Find {
            statement: &self.statements.find,
            by: digest_bytes(digest),
        };
        self.connections.run(&step).await
    }

    async fn reread(&self, principal: &Principal) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.get(principal.key_id()).await
    }
}

impl KeyStore for Keyring {
    async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let step = Find {
            statement: &self.statements.get,
            by: id.to_owned(),
        };
        self.connections.run(&step).await
    }

    async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        let step = Page {
            statement: &self.statements.page,
            after,
            most: i64::try_from(most).unwrap_or(i64::MAX),
        };
        self.connections.run(&step).await
    }

    async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
        let step = Write {
            statements: &self.statements,
            changes,
        };
        self.connections.run(&step).await?
    }

    async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
        let (ids, moments) = used
            .iter()
            .map(|(id, at)| (&**id, number(at.as_unix_millis())))
            .unzip();
        let step = Touch {
            statement: &self.statements.touch,
            ids,
            moments,
        };
        self.connections.run(&step).await
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

// === impl Find ===

impl<T> Step for Find<'_, T>
where
    T: Clone + Send + Sync + for<'q> sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    type Answer = Option<Arc<KeyRecord>>;

    async fn take(&self, connection: &mut PgConnection) -> Result<Self::Answer, sqlx::Error> {
        let found = query(self.statement.text())
            .bind(self.by.clone())
            .fetch_optional(connection)
            .await?;
        found.map(|row| record(&row)).transpose()
    }
}

// === impl Page ===

impl Step for Page<'_> {
    type Answer = Vec<Arc<KeyRecord>>;

    async fn take(&self, connection: &mut PgConnection) -> Result<Self::Answer, sqlx::Error> {
        let found = query(self.statement.text())
            .bind(self.after)
            .bind(self.most)
            .fetch_all(connection)
            .await?;
        found.iter().map(record).collect()
    }
}

// === impl Write ===

impl Write<'_> {
    /// What is to be written: each record in its last state, new ones and others.
    async fn judge(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Result<[Vec<Arc<KeyRecord>>; 2], KeyWriteError>, sqlx::Error> {
        let ids: Vec<&str> = self
            .changes
            .iter()
            .map(|change| id(&change.record))
            .collect();
        let mut held = HashMap::new();
        for row in query(self.statements.held.text())
            .bind(ids)
            .fetch_all(connection)
            .await?
        {
            let record = record(&row)?;
            held.insert(Box::<str>::from(id(&record)), record);
        }
        // In the order of the ids, in which all who write lock their rows.
        let mut written = std::collections::BTreeMap::new();
        for change in self.changes {
            let id = id(&change.record);
            let now = written.get(id).or_else(|| held.get(id));
            match change.judge(now.map(|record: &Arc<KeyRecord>| &**record)) {
                Ok(false) => {}
                Ok(true) => {
                    written.insert(Box::<str>::from(id), Arc::clone(&change.record));
                }
                Err(conflict) => return Ok(Err(conflict)),
            }
        }
        let (old, new) = written
            .into_iter()
            .partition::<Vec<_>, _>(|(id, _)| held.contains_key(id));
        let records = |kept: Vec<(Box<str>, Arc<KeyRecord>)>| kept.into_iter().map(|(_, one)| one);
        Ok(Ok([records(new).collect(), records(old).collect()]))
    }

    async fn create(
        &self,
        connection: &mut PgConnection,
        new: &[Arc<KeyRecord>],
    ) -> Result<Judged, sqlx::Error> {
        let digests: Vec<Vec<u8>> = new.iter().map(|one| digest_bytes(one.digest())).collect();
        let made = query(self.statements.create.text())
            .bind(new.iter().map(|one| id(one)).collect::<Vec<_>>())
            .bind(&digests)
            .bind(new.iter().map(|one| json(one)).collect::<Vec<_>>())
            .bind(new.iter().map(|one| version(one)).collect::<Vec<_>>())
            .bind(new.iter().map(|one| last_used(one)).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        if made.len() == new.len() {
            return Ok(Ok(()));
        }
        // The first one that was not made: another has its digest, or was faster.
        let mut made: Vec<String> = made
            .iter()
            .map(|row| row.try_get("id"))
            .collect::<Result<_, _>>()?;
        made.sort_unstable();
        let holders = query(self.statements.digests.text())
            .bind(&digests)
            .fetch_all(connection)
            .await?;
        let mut others: HashMap<Vec<u8>, String> = HashMap::new();
        for row in holders {
            others.insert(row.try_get("digest")?, row.try_get("id")?);
        }
        let is_made = |one: &KeyRecord| made.binary_search_by(|made| (**made).cmp(id(one))).is_ok();
        let refused = new.iter().zip(digests).find(|(one, _)| !is_made(one));
        let Some((one, digest)) = refused else {
            return Ok(Ok(()));
        };
        let id = Box::<str>::from(id(one));
        Ok(Err(match others.remove(&digest) {
            Some(other) if *other != *id => KeyWriteError::SameDigest {
                id,
                other: other.into(),
            },
            _ => KeyWriteError::Conflict { id },
        }))
    }

    async fn update(
        &self,
        connection: &mut PgConnection,
        old: &[Arc<KeyRecord>],
    ) -> Result<(), sqlx::Error> {
        query(self.statements.update.text())
            .bind(old.iter().map(|one| id(one)).collect::<Vec<_>>())
            .bind(old.iter().map(|one| json(one)).collect::<Vec<_>>())
            .bind(old.iter().map(|one| version(one)).collect::<Vec<_>>())
            .bind(old.iter().map(|one| last_used(one)).collect::<Vec<_>>())
            .execute(connection)
            .await
            .map(drop)
    }
}

impl Write<'_> {
    async fn transact(&self, connection: &mut PgConnection) -> Result<Judged, sqlx::Error> {
        let mut transaction = connection.begin().await?;
        // Of thousands of keys, each statement takes longer than a step of a request may.
        query(PATIENCE).execute(&mut *transaction).await?;
        let [new, old] = match self.judge(&mut transaction).await? {
            Ok(written) => written,
            Err(conflict) => return Ok(Err(conflict)),
        };
        for new in new.chunks(AT_ONCE) {
            if let Err(conflict) = self.create(&mut transaction, new).await? {
                return Ok(Err(conflict));
            }
        }
        for old in old.chunks(AT_ONCE) {
            self.update(&mut transaction, old).await?;
        }
        transaction.commit().await?;
        Ok(Ok(()))
    }
}

impl Step for Write<'_> {
    type Answer = Judged;

    async fn take(&self, connection: &mut PgConnection) -> Result<Judged, sqlx::Error> {
        match self.transact(connection).await? {
            // An id that was free when it was judged may have been taken since, perhaps by
            // this very change: now it is there to be judged.
            Err(KeyWriteError::Conflict { .. }) => self.transact(connection).await,
            judged => Ok(judged),
        }
    }
}

// === impl Touch ===

impl Step for Touch<'_> {
    type Answer = ();

    async fn take(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        query(self.statement.text())
            .bind(&self.ids)
            .bind(&self.moments)
            .execute(connection)
            .await
            .map(drop)
    }
}

/// The record in a row, in the version that was written.
fn record(row: &PgRow) -> Result<Arc<KeyRecord>, sqlx::Error> {
    let malformed = |cause: Box<dyn std::error::Error + Send + Sync>| sqlx::Error::Decode(cause);
    let text: &str = row.try_get("record")?;
    let value = serde_json::from_str(text).map_err(|cause| malformed(cause.into()))?;
    let record = KeyRecord::from_json(&value).map_err(|cause| malformed(cause.into()))?;
    let version: i64 = row.try_get("version")?;
    let mut record = record.to_builder().version(version.cast_unsigned());
    if let Some(at) = row.try_get::<Option<i64>, _>("last_used")? {
        record = record.last_used(Timestamp::from_unix_millis(at.unsigned_abs()));
    }
    Ok(record.build())
}

fn id(record: &KeyRecord) -> &str {
    record.principal().key_id()
}

fn json(record: &KeyRecord) -> String {
    record.to_json().to_string()
}

fn version(record: &KeyRecord) -> i64 {
    record.principal().version().cast_signed()
}

fn last_used(record: &KeyRecord) -> Option<i64> {
    record.last_used().map(|at| number(at.as_unix_millis()))
}

fn digest_bytes(digest: &Digest) -> Vec<u8> {
    let pepper = digest.pepper().unwrap_or_default();
    [&digest.as_bytes()[..], pepper.as_bytes()].concat()
}

fn number(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

const PATIENCE: &str = "SET LOCAL statement_timeout = '30s'";

/// Records in one statement: some hundred kilobytes.
const AT_ONCE: usize = 1000;
