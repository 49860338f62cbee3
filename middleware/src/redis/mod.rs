//! The store that several processes share: counters and records in Redis 7 or newer.
//!
//! # Example
//!
//! ```no_run
//! # async fn open() -> Result<(), vestibule::redis::ConnectError> {
//! use vestibule::redis::Store;
//!
//! let store = Store::open("redis://127.0.0.1:6379").await?.records_per_caller(10_000);
//! # Ok(())
//! # }
//! ```
//!
//! Every step is one script, run under the server's own clock; limit and claim together
//! are one round trip. All keys of a caller carry its name as their hash tag. What a
//! server forgets by itself is what is over: a counter with its window, a record with
//! its retention.
#![doc = "\n"]
#![doc = include_str!("operation.md")]

mod address;
mod cluster;
mod connection;
mod encoding;
mod fault;
mod keyring;
mod node;
mod script;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use self::address::{Address, Confirmed};
pub use self::connection::ConnectError;
use self::connection::Connection;
pub use self::keyring::Keyring;
use self::script::Step;
use crate::error::{StoreError, StoreErrorKind};
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};
use crate::principal::{Caller, KeyVersion};
use crate::rate_limit::{Charge, Counters, Quota, Verdict};
use crate::route::UpstreamKind;
use crate::stack::{Admission, Admitted};

/// Counters and records in Redis.
///
/// See the [module docs](self) for an example. Clones share one connection.
#[derive(Clone, Debug)]
#[must_use]
pub struct Store {
    connection: Connection,
    prefix: Arc<str>,
    share: usize,
    /// How many records there may be in all, where that is not left to the server.
    whole: Option<usize>,
    confirmed: Option<Confirmed>,
    /// How far the store's clock is moved.
    #[cfg(test)]
    offset: Arc<std::sync::atomic::AtomicI64>,
}

// === impl Store ===

impl Store {
    /// Connects to the server or the Cluster at this address; see [there](self#addresses).
    ///
    /// # Errors
    ///
    /// [`ConnectError`] where it cannot be reached, is older than Redis 7, is a replica, or
    /// has a `maxmemory-policy` that evicts; in a Cluster, where any master does.
    pub async fn open(address: &str) -> Result<Self, ConnectError> {
        Self::at(address, false).await
    }

    /// The same, at a server that may evict what is live: a key whose record is evicted
    /// is executed a second time.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] where it cannot be reached, is older than Redis 7, or is a replica.
    pub async fn open_evicting(address: &str) -> Result<Self, ConnectError> {
        Self::at(address, true).await
    }

    async fn at(address: &str, may_evict: bool) -> Result<Self, ConnectError> {
        let address = Address::parse(address)?;
        let connection = Connection::open(&address, may_evict).await?;
        Ok(Self {
            connection,
            prefix: "vestibule".into(),
            share: SHARE,
            whole: None,
            confirmed: address.confirmed,
            #[cfg(test)]
            offset: Arc::default(),
        })
    }

    /// Answers a claim, and the end of one, once so many replicas have it, and as failed
    /// where they do not within this time.
    ///
    /// Each such step waits for a replica too, on a connection that carries nothing else
    /// meanwhile. Without enough replicas no keyed request is executed. See
    /// [what a failover loses](self#when-it-fails-over).
    pub const fn confirmed_by(mut self, replicas: u32, within: Duration) -> Self {
        self.confirmed = Some(Confirmed { replicas, within });
        self
    }

    /// Begins the names of all keys with this instead of `vestibule`, so that several
    /// deployments can share a server.
    ///
    /// In a Cluster, one with a hash tag, such as `{staging}`, has everything at one node.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self.must_be_countable();
        self
    }

    /// How many records one caller may have; 100,000 by default.
    pub const fn records_per_caller(mut self, records: usize) -> Self {
        self.share = records;
        self
    }

    /// How many records there may be in all; without it, as many as the server has memory for.
    ///
    /// # Panics
    ///
    /// In a Cluster, unless the [prefix](Self::prefix) has it all at one node: they are
    /// counted under one key, which would lie at another node than the records.
    pub fn records(mut self, records: usize) -> Self {
        self.whole = Some(records);
        self.must_be_countable();
        self
    }

    fn must_be_countable(&self) {
        let is_at_one_node = !self.connection.is_cluster() || slots::has_tag(&self.prefix);
        assert!(
            self.whole.is_none() || is_at_one_node,
            "a Cluster cannot count all records: leave that bound to its maxmemory"
        );
    }

    /// Microseconds.
    #[cfg(test)]
    fn offset(&self) -> i64 {
        self.offset.load(std::sync::atomic::Ordering::Acquire)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests move the clock of one store")]
    const fn offset(&self) -> i64 {
        0
    }

    async fn run(&self, step: Step, call: &Call) -> Result<Value, StoreError> {
        let confirmed = self.confirmed.filter(|_| step.is_confirmed());
        let Call { keys, args } = call;
        let reply = self.connection.run(step, keys, args, confirmed).await?;
        if reply.is_confirmed {
            return Ok(reply.value);
        }
        encoding::unconfirmed(reply.value)
    }

    /// Of what a caller has: its name is the hash tag, and its length comes first so that
    /// no name can be taken for a shorter one and the beginning of a key.
    fn name(&self, kind: &str, caller: &Caller, key: &[u8]) -> Vec<u8> {
        let caller = caller.as_str();
        let head = format!("{}:{kind}:{}:{{{caller}}}", self.prefix, caller.len());
        [head.as_bytes(), key].concat()
    }

    fn record(&self, call: Call, owner: &Owner) -> Call {
        let call = call
            .key(self.name("record", &owner.caller, owner.key.as_bytes()))
            .key(self.name("index", &owner.caller, b""));
        match self.whole {
            Some(_) => call.key(format!("{}:index", self.prefix)),
            None => call,
        }
    }

    fn charge(&self, caller: &Caller, quota: &Quota) -> Call {
        let window = u64::try_from(quota.window().as_micros()).unwrap_or(u64::MAX);
        Call::default()
            .key(self.name("counter", caller, b""))
            .arg(self.offset().to_string())
            .arg(quota.limit().to_string())
            .arg(window.to_string())
            .arg(quota.burst().map_or(-1, i64::from).to_string())
    }

    fn attempt(&self, call: Call, attempt: &Attempt) -> Call {
        let deduplicates = attempt.upstream == UpstreamKind::Deduplicates;
        self.record(call, &attempt.owner)
            .arg(attempt.fingerprint.as_bytes())
            .arg(attempt.owner.token.to_be_bytes())
            .arg(attempt.correlation_id.as_str())
            .arg(millis(attempt.lease))
            .arg(millis(attempt.retention))
            .arg(if deduplicates { "1" } else { "0" })
            .arg(attempt.owner.key.as_bytes())
            .arg(self.share.to_string())
            .arg(self.whole.unwrap_or_default().to_string())
    }

    async fn end(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let call = self
            .record(Call::default(), owner)
            .arg(self.offset().to_string())
            .arg(owner.token.to_be_bytes())
            .arg(owner.key.as_bytes())
            .arg(millis(retention));
        let (step, call) = match outcome {
            Outcome::Done(response) => {
                let call = call.arg("d").arg(response.encode());
                (Step::Keep, call)
            }
            Outcome::NotStored => (Step::Finish, call.arg("n")),
            Outcome::Unknown => (Step::Finish, call.arg("u")),
        };
        encoding::truth(&self.run(step, &call).await?)
    }
}

impl Counters for Store {
    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let call = self.charge(caller, quota);
        encoding::verdict(&self.run(Step::Hit, &call).await?, quota)
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let call = self.charge(caller, quota);
        encoding::verdict(&self.run(Step::PeekHit, &call).await?, quota)
    }

    async fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: KeyVersion<'_>,
    ) -> Result<Charge, StoreError> {
        let call = self.charge(caller, quota);
        let call = call.key(self.name("keys", caller, b""));
        let call = call.arg(key.id).arg(keyring::version(key));
        encoding::charge(&self.run(Step::Hit, &call).await?, quota)
    }
}

impl Records for Store {
    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        let call = Call::default().arg(self.offset().to_string());
        let call = self.attempt(call, attempt);
        encoding::decision(&self.run(Step::Claim, &call).await?)
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        let call = Call::default().arg(self.offset().to_string());
        let call = self.attempt(call, attempt);
        encoding::preview(&self.run(Step::PeekClaim, &call).await?)
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        let call = self
            .record(Call::default(), owner)
            .arg(self.offset().to_string())
            .arg(owner.token.to_be_bytes())
            .arg(owner.key.as_bytes())
            .arg(millis(lease));
        encoding::truth(&self.run(Step::Renew, &call).await?)
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        match self.end(owner, outcome, retention).await {
            // The claim must not lapse into *unknown* for want of room.
            Err(error) if error.kind() == StoreErrorKind::Full => {
                self.end(owner, &Outcome::NotStored, retention).await
            }
            answer => answer,
        }
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        let call = self
            .record(Call::default(), owner)
            .arg(owner.token.to_be_bytes())
            .arg(owner.key.as_bytes());
        encoding::truth(&self.run(Step::Release, &call).await?)
    }
}

impl Admission for Store {
    fn is_one_step(&self) -> bool {
        true
    }

    async fn admit(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: Option<KeyVersion<'_>>,
        attempt: &Attempt,
    ) -> Admitted {
        let call = self.charge(caller, quota);
        let call = call.key(self.name("keys", caller, b""));
        let call = call
            .arg(key.map_or("", |key| key.id))
            .arg(key.map_or_else(String::new, keyring::version));
        let call = self.attempt(call, attempt);
        match self.run(Step::Admit, &call).await {
            Ok(reply) => encoding::admitted(&reply, quota),
            Err(cause) => (Err(cause), None),
        }
    }
}

/// The keys and the arguments of a step.
#[derive(Default)]
struct Call {
    keys: Vec<Bytes>,
    args: Vec<Bytes>,
}

// === impl Call ===

impl Call {
    fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.keys.push(Bytes::from(key.into()));
        self
    }

    fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.args.push(Bytes::copy_from_slice(arg.as_ref()));
        self
    }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// A caller that sends one keyed request a second has this many in a day.
const SHARE: usize = 100_000;

#[cfg(test)]
mod tests;
