//! Key records in the same Redis as the counters, so that a change holds on the next request.
//!
//! | key | holds |
//! |---|---|
//! | `PREFIX:keys:N:{ENV:FAMILY}` | the records of one caller and their versions: a hash, in the slot of the caller's counter |
//! | `PREFIX:digest:PEPPER:HEX` | whose key has this digest, and its id; it never changes |
//! | `PREFIX:{keys}:homes`, `PREFIX:{keys}:ids` | of every id its caller; all ids in their order |
//!
//! A change of the records of one caller is one script in one slot. A key that is new is
//! entered under its id and its digest first, so a command that ends half-way leaves names
//! that lead nowhere, which is no key, and can be repeated.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{Cmd, FromRedisValue, from_redis_value};
use serde_json::Value as Json;

use super::fault::store_error;
use super::script::Step;
use super::{Call, Store};
use crate::api_key::{Digest, KeyChange, KeyRecord, KeyStore, KeyWriteError, Keyring as Find};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::principal::{Caller, KeyVersion, Principal};

/// The key records in a [`Store`].
///
/// They are [tracked](crate::api_key::KeyRecordBuilder::tracked): put
/// [`Cached::counted`](crate::api_key::Cached::counted) around it in front of a stack over
/// the same store, and a request asks the server once, changed records or not.
/// [`KeyStore::write`] makes the changes of one family together; families one after another.
#[derive(Clone, Debug)]
pub struct Keyring {
    store: Store,
}

/// What leads from a digest to the record.
struct Pointer {
    caller: Caller,
    id: String,
}

// === impl Store ===

impl Store {
    /// The key records in this store.
    pub fn keyring(&self) -> Keyring {
        Keyring {
            store: self.clone(),
        }
    }
}

// === impl Keyring ===

impl Keyring {
    async fn record(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let (record, used) = (format!("r{id}"), format!("u{id}"));
        let fields = [&*record, &*used];
        let asked = self.ask("HMGET", self.place(caller), &fields);
        let (record, used): (Option<Vec<u8>>, Option<u64>) = asked.await?;
        let Some(json) = record else {
            return Ok(None);
        };
        let json: Json = serde_json::from_slice(&json).map_err(unreadable)?;
        let mut record = KeyRecord::from_json(&json)
            .map_err(unreadable)?
            .to_builder();
        if let Some(used) = used {
            record = record.last_used(Timestamp::from_unix_millis(used));
        }
        Ok(Some(record.tracked().build()))
    }

    async fn pointer(&self, digest: &Digest) -> Result<Option<Pointer>, StoreError> {
        let held: Option<String> = self.ask("GET", self.digest(digest), &[]).await?;
        Ok(held.as_deref().and_then(Pointer::parse))
    }

    /// The caller whose key has this id.
    async fn home(&self, id: &str) -> Result<Option<Caller>, StoreError> {
        let held: Option<String> = self.ask("HGET", self.common("homes"), &[id]).await?;
        Ok(held.as_deref().map(caller_named))
    }

    /// Makes the changes of one caller's records.
    async fn write_family(
        &self,
        caller: Caller,
        changes: Vec<&KeyChange>,
    ) -> Result<(), KeyWriteError> {
        let mut call = Call::default().key(self.place(&caller));
        let mut created = Vec::new();
        for change in changes {
            let id = change.record.principal().key_id();
            let held = self.record(&caller, id).await?;
            if !change.judge(held.as_deref())? {
                continue;
            }
            if held.is_none() {
                self.enter(&caller, &change.record).await?;
                created.push(&*change.record);
            }
            let version = |record: &KeyRecord| hex(record.principal().version());
            call = call
                .arg(id)
                .arg(held.map_or_else(String::new, |held| version(&held)))
                .arg(version(&change.record))
                .arg(change.record.to_json().to_string());
        }
        if call.args.is_empty() {
            return Ok(());
        }
        let reply = self.store.run(Step::WriteKeys, &call).await?;
        let conflict: String = from_redis_value(reply).map_err(unreadable)?;
        if !conflict.is_empty() {
            return Err(KeyWriteError::Conflict {
                id: conflict.into(),
            });
        }
        for record in created {
            self.must_be_found(&caller, record).await?;
        }
        Ok(())
    }

    /// Enters a key that is new under its digest and its id.
    async fn enter(&self, caller: &Caller, record: &KeyRecord) -> Result<(), KeyWriteError> {
        let id = record.principal().key_id();
        let (place, pointer) = (self.digest(record.digest()), pointer(caller, id));
        let held: Option<String> = self.ask("SET", &place, &[&pointer, "NX", "GET"]).await?;
        if let Some(held) = held.filter(|held| *held != pointer) {
            self.must_lead_nowhere(&held, record).await?;
            self.ask::<()>("SET", &place, &[&pointer]).await?;
        }
        let call = Call::default()
            .key(self.common("homes"))
            .key(self.common("ids"))
            .arg(id)
            .arg(caller.as_str());
        let reply = self.store.run(Step::EnterKey, &call).await?;
        let home: String = from_redis_value(reply).map_err(unreadable)?;
        if home == caller.as_str() {
            Ok(())
        } else {
            Err(KeyWriteError::Conflict { id: id.into() })
        }
    }

    /// What leads from a digest to another id may be left from a command that ended half-way.
    async fn must_lead_nowhere(
        &self,
        pointer: &str,
        record: &KeyRecord,
    ) -> Result<(), KeyWriteError> {
        let Some(pointer) = Pointer::parse(pointer) else {
            return Ok(());
        };
        let other = self.record(&pointer.caller, &pointer.id).await?;
        if other.is_some_and(|other| other.digest() == record.digest()) {
            return Err(same_digest(record, pointer.id));
        }
        Ok(())
    }

    /// Of two commands that create one key at once under two ids, both find nothing there:
    /// the one whose digest leads to the other takes its record back.
    async fn must_be_found(
        &self,
        caller: &Caller,
        record: &KeyRecord,
    ) -> Result<(), KeyWriteError> {
        let id = record.principal().key_id();
        match self.pointer(record.digest()).await? {
            Some(other) if other.id != id => {
                let fields = ["r", "v", "u"].map(|field| format!("{field}{id}"));
                let fields = [&*fields[0], &*fields[1], &*fields[2]];
                self.ask::<()>("HDEL", self.place(caller), &fields).await?;
                Err(same_digest(record, other.id))
            }
            _ => Ok(()),
        }
    }

    async fn touch_family(
        &self,
        caller: Caller,
        seen: Vec<(&str, Timestamp)>,
    ) -> Result<(), StoreError> {
        let mut call = Call::default().key(self.place(&caller));
        for (id, at) in seen {
            call = call.arg(id).arg(at.as_unix_millis().to_string());
        }
        self.store.run(Step::TouchKeys, &call).await.map(drop)
    }

    /// Sends a command to the server that has this key, which is its first argument.
    async fn ask<T: FromRedisValue>(
        &self,
        name: &str,
        key: impl AsRef<[u8]>,
        more: &[&str],
    ) -> Result<T, StoreError> {
        let mut command = Cmd::new();
        command.arg(name).arg(key.as_ref()).arg(more);
        let reply = self.store.connection.ask(key.as_ref(), &command).await;
        from_redis_value(reply.map_err(store_error)?).map_err(unreadable)
    }

    fn place(&self, caller: &Caller) -> Vec<u8> {
        self.store.name("keys", caller, b"")
    }

    fn digest(&self, digest: &Digest) -> String {
        let pepper = digest.pepper().unwrap_or_default();
        let value = hex::encode(digest.as_bytes());
        format!("{}:digest:{pepper}:{value}", self.store.prefix)
    }

    /// What concerns all keys lies in one slot.
    fn common(&self, name: &str) -> String {
        format!("{}:{{keys}}:{name}", self.store.prefix)
    }
}

impl Find for Keyring {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        match self.pointer(digest).await? {
            Some(pointer) => self.record(&pointer.caller, &pointer.id).await,
            None => Ok(None),
        }
    }

    async fn reread(&self, principal: &Principal) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        self.record(principal.caller(), principal.key_id()).await
    }
}

impl KeyStore for Keyring {
    async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        match self.home(id).await? {
            Some(caller) => self.record(&caller, id).await,
            None => Ok(None),
        }
    }

    async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        let (mut records, mut after) = (Vec::new(), after.to_owned());
        while records.len() < most {
            let from = if after.is_empty() {
                "-".to_owned()
            } else {
                format!("({after}")
            };
            let room = (most - records.len()).to_string();
            let range = [&*from, "+", "BYLEX", "LIMIT", "0", &*room];
            let ids: Vec<String> = self.ask("ZRANGE", self.common("ids"), &range).await?;
            let Some(last) = ids.last() else {
                break;
            };
            after.clone_from(last);
            let found = at_once(ids.iter().map(|id| self.get(id))).await?;
            // An id without a record is one of a command that ended half-way.
            records.extend(found.into_iter().flatten());
        }
        Ok(records)
    }

    async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
        let mut families: BTreeMap<&str, (Caller, Vec<&KeyChange>)> = BTreeMap::new();
        for change in changes {
            let caller = change.record.principal().caller();
            let family = families.entry(caller.as_str());
            let family = family.or_insert_with(|| (caller.clone(), Vec::new()));
            family.1.push(change);
        }
        let families = families.into_values();
        at_once(families.map(|(caller, changes)| self.write_family(caller, changes)))
            .await
            .map(drop)
    }

    async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
        let homes = at_once(used.iter().map(|(id, _)| self.home(id))).await?;
        let mut families: BTreeMap<String, (Caller, Vec<_>)> = BTreeMap::new();
        for (home, (id, at)) in homes.into_iter().zip(used) {
            let Some(caller) = home else {
                continue;
            };
            let family = families.entry(caller.as_str().to_owned());
            let family = family.or_insert_with(|| (caller, Vec::new()));
            family.1.push((&**id, *at));
        }
        let families = families.into_values();
        at_once(families.map(|(caller, seen)| self.touch_family(caller, seen)))
            .await
            .map(drop)
    }
}

// === impl Pointer ===

impl Pointer {
    fn parse(text: &str) -> Option<Self> {
        let (caller, id) = text.split_once('\n')?;
        Some(Self {
            caller: caller_named(caller),
            id: id.to_owned(),
        })
    }
}

/// How the version of a record is written where scripts compare it.
pub(super) fn version(key: KeyVersion<'_>) -> String {
    hex(key.version)
}

/// Waits for many steps, of which so many are under way together; their answers are in order.
async fn at_once<F, T, E>(steps: impl Iterator<Item = F>) -> Result<Vec<T>, E>
where
    F: Future<Output = Result<T, E>>,
{
    let steps: Vec<F> = steps.collect();
    stream::iter(steps).buffered(AT_ONCE).try_collect().await
}

fn hex(version: u64) -> String {
    format!("{version:016x}")
}

fn pointer(caller: &Caller, id: &str) -> String {
    format!("{}\n{id}", caller.as_str())
}

fn same_digest(record: &KeyRecord, other: String) -> KeyWriteError {
    KeyWriteError::SameDigest {
        id: record.principal().key_id().into(),
        other: other.into(),
    }
}

fn caller_named(name: &str) -> Caller {
    let (environment, family) = name.split_once(':').unwrap_or((name, ""));
    Caller::new(environment, family)
}

fn unreadable(cause: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::unanswered().because(cause)
}

/// Steps that are under way together: an import of ten thousand keys takes seconds, and
/// requests find the connection free in between.
const AT_ONCE: usize = 64;

#[cfg(test)]
mod tests;
