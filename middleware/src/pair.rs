//! Two stores as one: where the counters and the records of a stack do not lie in one place.

use std::time::Duration;

use crate::error::StoreError;
use crate::idempotency::{Attempt, Decision, Outcome, Owner, Preview, Records};
use crate::principal::{Caller, KeyVersion};
use crate::rate_limit::{Charge, Counters, Quota, Verdict};
use crate::stack::Admission;

/// Counters of one store and records of another.
///
/// For records that lie in a database, beside counters in memory or in Redis. A keyed
/// request then takes two steps, one at each.
#[derive(Clone, Debug)]
pub struct Pair<C, R> {
    counters: C,
    records: R,
}

// === impl Pair ===

impl<C, R> Pair<C, R> {
    /// These counters and these records.
    pub const fn new(counters: C, records: R) -> Self {
        Self { counters, records }
    }

    /// The store of the counters.
    pub const fn counters(&self) -> &C {
        &self.counters
    }

    /// The store of the records.
    pub const fn records(&self) -> &R {
        &self.records
    }
}

impl<C: Counters, R: Clone + Send + Sync + 'static> Counters for Pair<C, R> {
    fn is_local(&self) -> bool {
        self.counters.is_local()
    }

    async fn hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        self.counters.hit(caller, quota).await
    }

    async fn peek_hit(&self, caller: &Caller, quota: &Quota) -> Result<Verdict, StoreError> {
        self.counters.peek_hit(caller, quota).await
    }

    async fn hit_current(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: KeyVersion<'_>,
    ) -> Result<Charge, StoreError> {
        self.counters.hit_current(caller, quota, key).await
    }
}

impl<C: Clone + Send + Sync + 'static, R: Records> Records for Pair<C, R> {
    fn is_local(&self) -> bool {
        self.records.is_local()
    }

    async fn claim(&self, attempt: &Attempt) -> Result<Decision, StoreError> {
        self.records.claim(attempt).await
    }

    async fn peek_claim(&self, attempt: &Attempt) -> Result<Preview, StoreError> {
        self.records.peek_claim(attempt).await
    }

    async fn renew(&self, owner: &Owner, lease: Duration) -> Result<bool, StoreError> {
        self.records.renew(owner, lease).await
    }

    async fn finish(
        &self,
        owner: &Owner,
        outcome: &Outcome,
        retention: Duration,
    ) -> Result<bool, StoreError> {
        self.records.finish(owner, outcome, retention).await
    }

    async fn release(&self, owner: &Owner) -> Result<bool, StoreError> {
        self.records.release(owner).await
    }
}

impl<C: Counters, R: Records> Admission for Pair<C, R> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, Timestamp};
    use crate::memory;
    use crate::testing::{ManualClock, Subject};

    type Memories = Pair<memory::Store, memory::Store>;

    struct Two(ManualClock, Memories);

    crate::store_conformance!(conformance, || Two::new());

    impl Two {
        fn new() -> Self {
            let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
            let memory = || memory::Store::new(clock.shared());
            let pair = Pair::new(memory(), memory());
            Self(clock, pair)
        }
    }

    impl Subject for Two {
        type Store = Memories;

        fn store(&self) -> Memories {
            self.1.clone()
        }

        async fn small(&self) -> Memories {
            let memory = || memory::Store::new(self.0.shared()).records(12);
            Pair::new(memory(), memory())
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
}
