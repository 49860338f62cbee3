//! The counters: in memory, in shards that know whether they changed.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::codec;
use crate::clock::Timestamp;
use crate::codec::Malformed;
use crate::principal::Caller;
use crate::rate_limit::{CounterTable, Quota, Verdict};

/// Callers are spread over shards, so that they seldom wait for one another or for a
/// snapshot. A std mutex, because nothing is awaited while it is held.
#[derive(Debug)]
pub(super) struct CounterShards {
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug)]
struct Shard {
    table: CounterTable,
    /// Whether a snapshot would say something new.
    changed: bool,
}

// === impl CounterShards ===

impl CounterShards {
    pub(super) fn new(callers: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                table: CounterTable::new(callers.div_ceil(SHARDS)),
                // What an earlier process left lies in other shards than it will here.
                changed: true,
            })
        };
        Self {
            hasher: RandomState::default(),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
        }
    }

    /// See [`Counters::hit`](crate::rate_limit::Counters::hit); nothing where there is no room.
    pub(super) fn hit(&self, caller: &Caller, quota: &Quota, now: Timestamp) -> Option<Verdict> {
        let mut shard = self.of(caller);
        shard.changed = true;
        shard.table.hit(caller, quota, now)
    }

    /// See [`Counters::peek_hit`](crate::rate_limit::Counters::peek_hit).
    pub(super) fn peek(&self, caller: &Caller, quota: &Quota, now: Timestamp) -> Option<Verdict> {
        self.of(caller).table.peek(caller, quota, now)
    }

    /// Goes on from a snapshot.
    pub(super) fn restore(&self, snapshot: &[u8], now: Timestamp) -> Result<(), Malformed> {
        for (caller, counted) in codec::decode_counters(snapshot)? {
            self.of(&caller).table.restore(&caller, counted, now);
        }
        Ok(())
    }

    /// The shards that changed since they were asked for last, each in one value.
    pub(super) fn changed(&self, now: Timestamp) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let shards = (0..).zip(&self.shards);
        shards.filter_map(move |(number, shard)| {
            let mut shard = lock(shard);
            std::mem::take(&mut shard.changed)
                .then(|| (number, codec::encode_counters(shard.table.counting(now))))
        })
    }

    /// Has every shard asked for again: the last answer was lost.
    pub(super) fn mark_changed(&self) {
        for shard in &self.shards {
            lock(shard).changed = true;
        }
    }

    fn of(&self, caller: &Caller) -> MutexGuard<'_, Shard> {
        let shards = self.shards.len() as u64;
        let index = usize::try_from(self.hasher.hash_one(caller) % shards)
            .expect("fewer shards than a usize");
        lock(&self.shards[index])
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More than a process has threads that meet, and each small enough to be written down
/// in a moment. Fewer would leave values of former shards behind in the file.
const SHARDS: usize = 16;
