//! The memory store, held to the cases that every store must pass.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::*;
use crate::clock::Clock;
use crate::context::{CorrelationId, Fingerprint};
use crate::error::StoreErrorKind;
use crate::idempotency::{IdempotencyKey, KeptResponse};
use crate::route::UpstreamKind;
use crate::testing::{ManualClock, Subject};

crate::store_conformance!(conformance, || Memory::new());

struct Memory {
    clock: ManualClock,
    store: Store,
}

impl Memory {
    fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_unix_millis(1_800_000_000_123));
        let store = Store::new(clock.shared());
        Self { clock, store }
    }
}

impl Subject for Memory {
    type Store = Store;

    fn store(&self) -> Store {
        self.store.clone()
    }

    async fn small(&self) -> Store {
        Store::new(self.clock.shared()).records(12)
    }

    async fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn jump_ahead(&self, by: Duration) {
        self.clock.jump_ahead(by);
    }

    async fn jump_back(&self, by: Duration) {
        self.clock.jump_back(by);
    }
}

#[tokio::test]
async fn a_take_over_without_room_keeps_the_record_it_would_replace() {
    // The smallest store that has room for the first attempt, whose id is one byte.
    let first = attempt("k", 1);
    let (mut bytes, (mut clock, mut store)) = (0, in_bytes(0));
    while store.claim(&first).await.is_err() {
        bytes += 1;
        (clock, store) = in_bytes(bytes);
    }
    clock.advance(LEASE);
    let mut second = attempt("k", 2);
    second.correlation_id = CorrelationId::parse(&HeaderValue::from_static("longer")).unwrap();
    let refused = store.claim(&second).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Full);
    let mut other = attempt("k", 3);
    other.fingerprint = Fingerprint::from_bytes([9; 32]);
    let decision = store.claim(&other).await.unwrap();
    assert!(matches!(decision, Decision::InUse { .. }), "{decision:?}");
}

#[tokio::test]
async fn a_callers_responses_take_no_more_than_its_share() {
    let (_clock, store) = in_bytes(100_000);
    let mut kept = 0;
    for number in 1..=8 {
        let attempt = attempt(&format!("k{number}"), number);
        assert!(store.claim(&attempt).await.is_ok(), "{number}");
        let response = Arc::new(KeptResponse {
            status: StatusCode::OK,
            headers: Vec::new(),
            body: Bytes::from(vec![0; 10_000]),
            original: attempt.correlation_id.clone(),
        });
        let outcome = Outcome::Done(response);
        assert!(store.finish(&attempt.owner, &outcome, LEASE).await.unwrap());
        match store.claim(&attempt).await.unwrap() {
            Decision::Replay(_) => kept += 1,
            decision => assert!(matches!(decision, Decision::NotStored { .. })),
        }
    }
    assert_eq!(kept, 2, "a quarter of 100,000 bytes");
}

fn in_bytes(bytes: usize) -> (ManualClock, Store) {
    let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
    let store = Store::new(clock.shared()).record_bytes(bytes);
    (clock, store)
}

fn attempt(key: &str, token: u128) -> Attempt {
    Attempt {
        owner: Owner {
            caller: Caller::new("live", "family"),
            key: IdempotencyKey::parse(key.as_bytes()).unwrap(),
            token,
        },
        fingerprint: Fingerprint::from_bytes([1; 32]),
        correlation_id: CorrelationId::parse(&HeaderValue::from_static("r")).unwrap(),
        lease: LEASE,
        retention: LEASE * 100,
        upstream: UpstreamKind::Deduplicates,
    }
}

const LEASE: Duration = Duration::from_secs(10);
