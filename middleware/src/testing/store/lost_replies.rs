//! Cases in which a step is applied and its reply is lost (contract §6, §7).

use std::time::Duration;

use super::Subject;
use super::scene::{
    LEASE, WINDOW, attempt, caller, claim, done, execute, finish, id, is_in_progress, release,
    renew, told,
};
use crate::error::{StoreError, StoreErrorKind};
use crate::idempotency::{Decision, Outcome, Records};
use crate::rate_limit::{Counters, Quota};
use crate::testing::{Fault, FaultyStore};

pub async fn a_charge_is_counted_once<S: Subject>(subject: &S) {
    let store = lossy(subject);
    let (caller, quota) = (caller("family"), Quota::new(3, WINDOW));
    assert_lost(store.hit(&caller, &quota).await);
    store.heals();
    let verdict = store.hit(&caller, &quota).await;
    assert_eq!(verdict.expect("a store that works answers").remaining, 1);
}

pub async fn a_claim_is_recognised_when_it_is_repeated<S: Subject>(subject: &S) {
    let store = lossy(subject);
    assert_lost(store.claim(&attempt(1)).await);
    store.heals();
    assert!(is_in_progress(&claim(&store, &attempt(2)).await, 1));
    execute(&store, &attempt(1)).await;
    assert!(finish(&store, &attempt(1).owner, &done(1)).await);
}

pub async fn a_claim_is_taken_back<S: Subject>(subject: &S) {
    let store = lossy(subject);
    assert_lost(store.claim(&attempt(1)).await);
    store.heals();
    assert!(release(&store, &attempt(1).owner).await);
    execute(&store, &attempt(2)).await;
}

pub async fn a_renewal_is_repeated<S: Subject>(subject: &S) {
    let (store, owner) = (lossy(subject), attempt(1).owner);
    execute(&subject.store(), &attempt(1)).await;
    subject.advance(Duration::from_secs(6)).await;
    assert_lost(store.renew(&owner, LEASE).await);
    store.heals();
    subject.advance(Duration::from_secs(6)).await;
    assert!(is_in_progress(&claim(&store, &attempt(2)).await, 1));
    assert!(renew(&store, &owner).await);
}

pub async fn a_finish_is_repeated_and_the_first_one_stays<S: Subject>(subject: &S) {
    let (store, owner) = (lossy(subject), attempt(1).owner);
    execute(&subject.store(), &attempt(1)).await;
    assert_lost(store.finish(&owner, &done(1), LEASE).await);
    store.heals();
    assert!(finish(&store, &owner, &done(1)).await);
    assert!(finish(&store, &owner, &Outcome::Unknown).await);
    assert_eq!(claim(&store, &attempt(2)).await, told(&done(1), 1));
    // The retention is that of the finish that was applied.
    subject.advance(LEASE + Duration::from_secs(1)).await;
    execute(&store, &attempt(3)).await;
}

pub async fn a_release_is_repeated_and_touches_no_later_claim<S: Subject>(subject: &S) {
    let (store, owner) = (lossy(subject), attempt(1).owner);
    execute(&subject.store(), &attempt(1)).await;
    assert_lost(store.release(&owner).await);
    store.heals();
    assert!(!release(&store, &owner).await, "it was applied");
    execute(&store, &attempt(2)).await;
    assert!(!release(&store, &owner).await);
    let decision = claim(&store, &attempt(3)).await;
    let Decision::InProgress { original, .. } = decision else {
        panic!("the later claim holds: {decision:?}");
    };
    assert_eq!(original, id(2));
}

/// The subject's store, losing its replies.
fn lossy<S: Subject>(subject: &S) -> FaultyStore<S::Store> {
    let store = FaultyStore::new(subject.store());
    store.breaks(Fault::LosesReplies);
    store
}

fn assert_lost<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    let error = answer.expect_err("its reply is lost");
    assert_eq!(error.kind(), StoreErrorKind::Unanswered);
}
