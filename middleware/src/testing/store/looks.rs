//! Cases of looking: what a step would answer is told, and nothing is changed by that.

use std::time::Duration;

use super::Subject;
use super::capacity::{fill, of_callers};
use super::scene::{
    RETENTION, WINDOW, assert_at, assert_wait, attempt_of, caller, claim, execute, finish, id,
    is_execute, is_in_progress, look, outcomes, release, told,
};
use crate::context::Fingerprint;
use crate::error::StoreErrorKind;
use crate::idempotency::{Attempt, Decision, Records};
use crate::rate_limit::{Counters, Quota, Verdict};

pub async fn a_charge_is_foretold_and_nothing_is_counted<S: Subject>(subject: &S) {
    let store = subject.store();
    let look = async |quota: &Quota| {
        let seen = store.peek_hit(&caller("family"), quota).await;
        seen.expect("a store that works answers")
    };
    for quota in [Quota::new(2, WINDOW), Quota::new(60, WINDOW).with_burst(2)] {
        for _ in 0..3 {
            let start = subject.now().await;
            for _ in 0..3 {
                look(&quota).await;
            }
            let (seen, told) = (look(&quota).await, charge(&store, &quota).await);
            let counted = |verdict: &Verdict| (verdict.allowed, verdict.limit, verdict.remaining);
            assert_eq!(counted(&seen), counted(&told), "{quota:?}");
            assert_at::<S>(told.reset, seen.reset, "the end of the window");
            assert_wait::<S>(told.wait, seen.wait, "the wait");
            assert!(seen.reset >= start, "{quota:?}");
        }
        subject.advance(WINDOW).await;
    }
}

pub async fn a_claim_is_foretold_and_nothing_is_changed<S: Subject>(subject: &S) {
    let store = subject.store();
    for (first, outcome) in (1..).zip(outcomes(0)) {
        let key = [b'k', first as u8 + b'0'];
        let claims = |token| attempt_of("family", &key, token);
        let other = Attempt {
            fingerprint: Fingerprint::from_bytes([2; 32]),
            ..claims(9)
        };
        for _ in 0..2 {
            let free = look(&store, &claims(8)).await;
            assert!(
                is_execute(&free.decision) && free.kept_for.is_none(),
                "{free:?}"
            );
        }
        let owner = claims(first);
        execute(&store, &owner).await;
        for _ in 0..2 {
            let taken = look(&store, &claims(8)).await;
            assert!(is_in_progress(&taken.decision, first), "{taken:?}");
            assert!(is_execute(&look(&store, &owner).await.decision));
            let used = look(&store, &other).await.decision;
            assert_eq!(
                used,
                Decision::InUse {
                    original: id(first)
                }
            );
        }
        assert!(finish(&store, &owner.owner, &outcome).await);
        for _ in 0..2 {
            let ended = look(&store, &claims(8)).await;
            assert_eq!(ended.decision, told(&outcome, first));
            let left = ended.kept_for.expect("a record lies there");
            assert_wait::<S>(left, RETENTION, "how long it is kept");
        }
        assert_eq!(claim(&store, &claims(7)).await, told(&outcome, first));
    }
    subject.advance(RETENTION + Duration::from_secs(1)).await;
    let over = look(&store, &attempt_of("family", b"k1", 8)).await;
    assert!(
        is_execute(&over.decision) && over.kept_for.is_none(),
        "{over:?}"
    );
}

pub async fn a_full_store_is_told_to_be_full<S: Subject>(subject: &S) {
    let store = subject.small().await;
    let (late, second) = (attempt_of("late", b"key", 7), of_callers(1));
    let live = fill(&store, of_callers, |_| false).await;
    for _ in 0..2 {
        let full = store.peek_claim(&late).await.map_err(|error| error.kind());
        assert_eq!(full, Err(StoreErrorKind::Full));
        // What is held takes no room.
        assert!(is_execute(&look(&store, &second).await.decision));
    }
    assert!(release(&store, &of_callers(live[0]).owner).await);
    assert!(is_execute(&look(&store, &late).await.decision));
    execute(&store, &late).await;
}

async fn charge(store: &impl Counters, quota: &Quota) -> Verdict {
    let charged = store.hit(&caller("family"), quota).await;
    charged.expect("a store that works answers")
}
