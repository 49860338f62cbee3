//! A store of a team's own: it keeps counters and records, and the layers' own functions
//! decide what becomes of them.
//!
//! ```sh
//! cargo test -p vestibule-examples --example own_store    # every case that a store must pass
//! cargo run -p vestibule-examples --example own_store
//! curl -i http://127.0.0.1:8080/v1/rolls -H 'content-type: application/json' -d '{}' \
//!   -H 'authorization: Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f' \
//!   -H 'idempotency-key: r-1'    # a number; the same one when it is repeated
//! ```
//!
//! This one is two maps under a lock. In one on a database or a service, a transaction, a
//! script or a compare-and-swap stands in the place of the lock: what is read, decided and
//! written must be one step, under one clock. Another address may follow as an argument.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use tokio::net::TcpListener;
use vestibule::api_key::{KeyFormat, KeyRecord, Keys, Peppers};
use vestibule::clock::{SharedClock, SystemClock, Timestamp};
use vestibule::error::StoreError;
use vestibule::idempotency::{
    Attempt, Decision, IdempotencyKey, Outcome, Owner, Preview, Record, Records,
};
use vestibule::rate_limit::{Counter, Counters, Quota, Verdict};
use vestibule::route::Policy;
use vestibule::stack::Admission;
use vestibule::{ApiLayer, Caller};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    let key = KeyFormat::new().parse("mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f")?;
    let key = KeyRecord::of(&key, &Peppers::none(), "key_1", "acme");
    let store = OwnStore::new(SystemClock::shared(), 100_000);
    let api = ApiLayer::builder(store, Keys::new([key.build()])?)
        .route("POST /v1/rolls", Policy::authenticated().idempotent())
        .build()?;
    let roll = || async { format!("{}\n", rand::random_range(1..=6)) };
    let app = Router::new().route("/v1/rolls", post(roll)).layer(api);
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    axum::serve(listener, app).await?;
    Ok(())
}

/// Counters and records in two maps; clones share them.
#[derive(Clone, Debug)]
struct OwnStore {
    clock: SharedClock,
    tables: Arc<Mutex<Tables>>,
}

#[derive(Debug)]
struct Tables {
    /// With the moment from which a counter says no more than none would.
    counters: HashMap<Caller, (Counter, Timestamp)>,
    records: HashMap<Caller, HashMap<IdempotencyKey, Record>>,
    most: usize,
}

// === impl OwnStore ===

impl OwnStore {
    /// Room for so many callers, and for so many records.
    fn new(clock: SharedClock, most: usize) -> Self {
        let tables = Tables {
            counters: HashMap::new(),
            records: HashMap::new(),
            most,
        };
        Self {
            clock,
            tables: Arc::new(Mutex::new(tables)),
        }
    }

    /// Begins a step: nobody else comes in between, and the time is the store's own.
    fn begin(&self) -> (MutexGuard<'_, Tables>, Timestamp) {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        (tables, self.clock.now())
    }
}

impl Counters for OwnStore {
    /// It cannot be lost without the process. A store that can leaves this out: the layers
    /// then give it a deadline, and count by themselves while it is gone.
    fn is_local(&self) -> bool {
        true
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let (mut tables, now) = self.begin();
        let held = tables.counters.get(caller).map(|(counter, _)| *counter);
        if held.is_none() && tables.counters.len() >= tables.most {
            tables.counters.retain(|_, (_, ends)| *ends > now);
            // A counter that still counts is never dropped: its caller would start anew.
            if tables.counters.len() >= tables.most {
                return Err(StoreError::full());
            }
        }
        let (counter, verdict) = quota.judge(held, now);
        let kept = (counter, verdict.reset);
        tables.counters.insert(caller.clone(), kept);
        Ok(verdict)
    }

    /// For `explain`: what a charge would be answered, had it been made.
    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        let (tables, now) = self.begin();
        let held = tables.counters.get(caller).map(|(counter, _)| *counter);
        Ok(quota.judge(held, now).1)
    }
}

impl Records for OwnStore {
    fn is_local(&self) -> bool {
        true
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        let (mut tables, now) = self.begin();
        let held = tables.record(&attempt.owner).cloned();
        let (decision, kept) = Record::claim(held.as_ref(), attempt, now);
        if let Some(record) = kept {
            // Live records are never dropped: what they remember would be executed again.
            if held.is_none() && !tables.has_room(&attempt.owner.caller, now) {
                return Err(StoreError::full());
            }
            let Owner { caller, key, .. } = attempt.owner.clone();
            tables
                .records
                .entry(caller)
                .or_default()
                .insert(key, record);
        }
        Ok(decision)
    }

    /// For `explain`: what a claim would come upon.
    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        let (mut tables, now) = self.begin();
        let caller = &attempt.owner.caller;
        let held = tables.record(&attempt.owner).cloned();
        let (preview, kept) = Record::preview(held.as_ref(), attempt, now);
        if kept.is_some() && held.is_none() && !tables.has_room(caller, now) {
            return Err(StoreError::full());
        }
        Ok(preview)
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        let (mut tables, now) = self.begin();
        let record = tables.record(owner);
        Ok(record.is_some_and(|record| record.renew(owner.token, lease, now)))
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        let (mut tables, now) = self.begin();
        let record = tables.record(owner);
        Ok(record.is_some_and(|record| record.finish(owner.token, outcome, retention, now)))
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        let (mut tables, _) = self.begin();
        let is_released = tables
            .record(owner)
            .is_some_and(|record| record.releases(owner.token));
        if is_released && let Some(shelf) = tables.records.get_mut(&owner.caller) {
            shelf.remove(&owner.key);
        }
        Ok(is_released)
    }
}

/// Charge and claim are two steps here. A store across a network makes them one round trip.
impl Admission for OwnStore {}

// === impl Tables ===

impl Tables {
    fn record(&mut self, owner: &Owner) -> Option<&mut Record> {
        self.records.get_mut(&owner.caller)?.get_mut(&owner.key)
    }

    /// Whether another record of this caller has room; what is over makes some.
    fn has_room(&mut self, caller: &Caller, now: Timestamp) -> bool {
        if self.is_full_for(caller) {
            self.records.retain(|_, shelf| {
                shelf.retain(|_, record| !record.is_over(now));
                !shelf.is_empty()
            });
        }
        !self.is_full_for(caller)
    }

    /// One caller may take a quarter, so that it cannot shut the others out.
    fn is_full_for(&self, caller: &Caller) -> bool {
        let all: usize = self.records.values().map(HashMap::len).sum();
        let own = self.records.get(caller).map_or(0, HashMap::len);
        all >= self.most || own >= self.most / 4
    }
}

#[cfg(test)]
mod tests {
    use vestibule::clock::Clock;
    use vestibule::testing::{ManualClock, Subject};

    use super::*;

    /// The store under a clock that the cases move.
    struct Own(ManualClock, OwnStore);

    impl Subject for Own {
        type Store = OwnStore;

        fn store(&self) -> OwnStore {
            self.1.clone()
        }

        async fn small(&self) -> OwnStore {
            OwnStore::new(self.0.shared(), 12)
        }

        async fn now(&self) -> Timestamp {
            self.0.now()
        }

        async fn advance(&self, by: Duration) {
            self.0.advance(by);
        }

        async fn jump_ahead(&self, by: Duration) {
            self.0.jump_ahead(by);
        }

        async fn jump_back(&self, by: Duration) {
            self.0.jump_back(by);
        }
    }

    fn own() -> Own {
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
        let store = OwnStore::new(clock.shared(), 10_000);
        Own(clock, store)
    }

    vestibule::store_conformance!(own_store, || own());
}
