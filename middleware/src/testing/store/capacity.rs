//! Cases of a store that is full: it refuses what is new and never drops what is live.

use std::time::Duration;

use bytes::Bytes;

use super::Subject;
use super::scene::{
    LEASE, RETENTION, attempt_of, claim, deduplicated, done, execute, finish, is_in_progress, kept,
    release, told,
};
use crate::error::StoreErrorKind;
use crate::idempotency::{Attempt, Decision, Outcome, Records};

pub async fn a_full_store_refuses_new_claims_and_drops_nothing_live<S: Subject>(subject: &S) {
    let store = subject.small().await;
    // Half of them have ended when the store is full.
    let mut live = fill(&store, of_callers, |number| number.is_multiple_of(2)).await;
    for again in 0..3 {
        for number in &live {
            let attempt = attempt_of(&family(*number), b"key", 1_000_000 + again);
            let decision = claim(&store, &attempt).await;
            if number.is_multiple_of(2) {
                assert_eq!(decision, told(&done(*number), *number));
            } else {
                assert!(is_in_progress(&decision, *number), "{decision:?}");
            }
        }
        assert!(!claims(&store, &attempt_of("late", b"key", 7)).await);
    }
    // What has lapsed is live too: its outcome is not known.
    subject.advance(LEASE + Duration::from_secs(1)).await;
    assert!(!claims(&store, &attempt_of("late", b"key", 7)).await);
    live.retain(|number| !number.is_multiple_of(2));
    for number in live {
        let decision = claim(&store, &attempt_of(&family(number), b"key", 8)).await;
        assert!(matches!(decision, Decision::Unknown { .. }), "{decision:?}");
    }
}

pub async fn a_full_store_takes_over_what_it_holds<S: Subject>(subject: &S) {
    let store = subject.small().await;
    let live = fill(&store, of_callers, |_| false).await;
    subject.advance(LEASE + Duration::from_secs(1)).await;
    for number in live {
        // A longer id than the first one's, which must not cost the record.
        let second = attempt_of(&family(number), b"key", u128::MAX - number);
        let answer = store.claim(&deduplicated(second.clone())).await;
        match answer {
            Ok(decision) => assert!(matches!(decision, Decision::Execute { .. })),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Full);
                let held = claim(&store, &second).await;
                assert!(matches!(held, Decision::Unknown { .. }), "{held:?}");
            }
        }
    }
}

pub async fn a_finish_in_a_full_store_is_answered<S: Subject>(subject: &S) {
    let store = subject.small().await;
    let live = fill(&store, of_callers, |_| false).await;
    for number in live {
        let owner = attempt_of(&family(number), b"key", number).owner;
        let response = Outcome::Done(kept(Bytes::from(vec![b'x'; 64 << 10]), number));
        assert!(finish(&store, &owner, &response).await);
        let decision = claim(&store, &attempt_of(&family(number), b"key", 9)).await;
        let not_stored = told(&Outcome::NotStored, number);
        assert!(
            decision == told(&response, number) || decision == not_stored,
            "it ended: {decision:?}"
        );
    }
}

pub async fn one_caller_takes_no_more_than_its_share<S: Subject>(subject: &S) {
    let store = subject.small().await;
    let greedy = |number: u128| attempt_of("greedy", format!("{number}").as_bytes(), number);
    let live = fill(&store, greedy, |_| false).await;
    execute(&store, &attempt_of("modest", b"key", 1)).await;
    for number in live {
        let again = attempt_of("greedy", format!("{number}").as_bytes(), 9_999);
        assert!(is_in_progress(&claim(&store, &again).await, number));
    }
}

pub async fn a_release_makes_room<S: Subject>(subject: &S) {
    let store = subject.small().await;
    let live = fill(&store, of_callers, |_| false).await;
    for number in live {
        let late = attempt_of(&format!("late {number}"), b"key", 7);
        assert!(!claims(&store, &late).await);
        assert!(release(&store, &of_callers(number).owner).await);
        execute(&store, &late).await;
    }
}

pub async fn what_is_over_makes_room<S: Subject>(subject: &S) {
    let store = subject.small().await;
    let live = fill(&store, of_callers, |number| number.is_multiple_of(2)).await;
    subject
        .advance(LEASE + RETENTION + Duration::from_secs(1))
        .await;
    for number in live {
        execute(&store, &attempt_of(&format!("late {number}"), b"key", 7)).await;
    }
}

/// Claims until the store is full, ends some of the claims, and says which were made.
pub(super) async fn fill(
    store: &impl Records,
    attempt: impl Fn(u128) -> Attempt,
    ends: impl Fn(u128) -> bool,
) -> Vec<u128> {
    let mut claimed = Vec::new();
    for number in 1..=MOST {
        if !claims(store, &attempt(number)).await {
            return claimed;
        }
        if ends(number) {
            assert!(finish(store, &attempt(number).owner, &done(number)).await);
        }
        claimed.push(number);
    }
    panic!("a small store is full after {MOST} records at most");
}

/// Whether there is room for this claim.
async fn claims(store: &impl Records, attempt: &Attempt) -> bool {
    match store.claim(attempt).await {
        Ok(Decision::Execute { .. }) => true,
        Ok(other) => panic!("the key is free: {other:?}"),
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
            false
        }
    }
}

pub(super) fn of_callers(number: u128) -> Attempt {
    attempt_of(&family(number), b"key", number)
}

fn family(number: u128) -> String {
    format!("family {number}")
}

/// See [`Subject::small`].
const MOST: u128 = 1_001;
