//! Cases of limit and claim as one step (contract §8).

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::Subject;
use super::scene::{
    MANY, WINDOW, at_once, attempt, attempt_of, caller, deduplicated, execute, id, is_execute,
    outcomes,
};
use crate::context::Fingerprint;
use crate::idempotency::{Attempt, Decision, Records};
use crate::rate_limit::{Charge, Counters, Quota, Verdict};
use crate::stack::Admission;

/// Of two callers one is admitted and the other charged and then claimed, along the
/// same random walk; both are told the same at each step.
pub async fn admitting_is_charging_and_then_claiming<S: Subject>(subject: &S) {
    for seed in 0..32 {
        let store = subject.store();
        let mut random = StdRng::seed_from_u64(seed);
        for step in 0..48 {
            subject.advance(random_pause(&mut random)).await;
            let quota = random_quota(&mut random);
            let [one, two] = random_attempts(&mut random, seed, step);
            let in_one = store.admit(&one.owner.caller, &quota, None, &one).await;
            let verdict = store.hit(&two.owner.caller, &quota).await.expect(WORKS);
            let decision = match verdict.allowed {
                true => Some(store.claim(&two).await.expect(WORKS)),
                false => None,
            };
            let told = judged(in_one.0.expect(WORKS));
            assert_same_verdict::<S>(&told, &verdict, (seed, step));
            let claimed = in_one.1.map(|answer| answer.expect(WORKS));
            let kinds = (claimed.as_ref().map(kind), decision.as_ref().map(kind));
            assert_eq!(kinds.0, kinds.1, "seed {seed} step {step}");
            if decision.as_ref().is_some_and(is_execute) && random.random_bool(0.7) {
                let outcome = &outcomes(7)[random.random_range(0..3)];
                for attempt in [&one, &two] {
                    let ended = store.finish(&attempt.owner, outcome, attempt.retention);
                    assert!(ended.await.expect(WORKS));
                }
            }
        }
    }
}

pub async fn what_is_over_the_limit_claims_nothing<S: Subject>(subject: &S) {
    let (store, quota) = (subject.store(), Quota::new(1, WINDOW));
    let caller = caller("family");
    let (verdict, decision) = store.admit(&caller, &quota, None, &attempt(1)).await;
    assert!(judged(verdict.expect(WORKS)).allowed);
    assert!(is_execute(&decision.expect("it passed").expect(WORKS)));
    let other = attempt_of("family", b"other", 2);
    let (verdict, decision) = store.admit(&caller, &quota, None, &other).await;
    assert!(!judged(verdict.expect(WORKS)).allowed && decision.is_none());
    execute(&store, &attempt_of("family", b"other", 3)).await;
}

pub async fn of_many_concurrent_admissions_the_limit_passes_and_one_is_executed<S: Subject>(
    subject: &S,
) {
    let (store, quota) = (subject.store(), Quota::new(MANY / 4, WINDOW));
    let answers = at_once(|number| {
        let store = store.clone();
        async move {
            let attempt = attempt(number.into());
            let admitted = store.admit(&attempt.owner.caller, &quota, None, &attempt);
            let (verdict, decision) = admitted.await;
            let decision = decision.map(|answer| answer.expect(WORKS));
            (judged(verdict.expect(WORKS)).allowed, decision)
        }
    })
    .await;
    let passed = answers.iter().filter(|(allowed, _)| *allowed).count();
    assert_eq!(passed, MANY as usize / 4);
    for (allowed, decision) in &answers {
        assert_eq!(*allowed, decision.is_some(), "only what passes is claimed");
    }
    let decisions: Vec<_> = answers.iter().filter_map(|(_, one)| one.as_ref()).collect();
    let granted = decisions.iter().filter(|one| is_execute(one)).count();
    assert_eq!(granted, 1);
    let others = decisions.iter().filter(|one| !is_execute(one));
    for other in others {
        assert!(matches!(other, Decision::InProgress { .. }), "{other:?}");
    }
}

/// Nothing is said about a key record, so none can have changed.
fn judged(charge: Charge) -> Verdict {
    match charge {
        Charge::Judged(verdict) => verdict,
        Charge::Outdated => panic!("no record was named that could be outdated"),
    }
}

/// Seldom as long as a lease or a window, and now and then longer.
fn random_pause(random: &mut StdRng) -> Duration {
    let longest = [0, 0, 1, 5, 20, 90][random.random_range(0..6)];
    Duration::from_secs(longest)
}

fn random_quota(random: &mut StdRng) -> Quota {
    let quota = Quota::new(random.random_range(0..12), WINDOW);
    match random.random_bool(0.1) {
        true => quota.with_burst(random.random_range(1..4)),
        false => quota,
    }
}

/// The same attempt of two callers.
fn random_attempts(random: &mut StdRng, seed: u64, step: u128) -> [Attempt; 2] {
    let key = [b'a' + random.random_range(0..3u8)];
    let asked = random.random_range(0..20u8) / 19;
    let deduplicates = random.random_bool(0.5);
    ["one", "two"].map(|caller| {
        let mut attempt = attempt_of(&format!("{caller} {seed}"), &key, step);
        attempt.fingerprint = Fingerprint::from_bytes([asked; 32]);
        attempt.correlation_id = id(step);
        if deduplicates {
            attempt = deduplicated(attempt);
        }
        attempt
    })
}

fn assert_same_verdict<S: Subject>(one: &Verdict, two: &Verdict, place: (u64, u128)) {
    let told = |verdict: &Verdict| (verdict.allowed, verdict.limit, verdict.remaining);
    assert_eq!(told(one), told(two), "{place:?}");
    let apart = one.reset.since(two.reset) + two.reset.since(one.reset);
    assert!(apart <= S::DRIFT, "{place:?}: {one:?} {two:?}");
    assert!(one.wait.abs_diff(two.wait) <= S::DRIFT, "{place:?}");
}

/// What is told, without the time that a clock may have gone on between the two.
fn kind(decision: &Decision) -> Decision {
    match decision.clone() {
        Decision::Execute { .. } => Decision::Execute {
            lease_ends: crate::clock::Timestamp::EPOCH,
        },
        Decision::InProgress { original, .. } => Decision::InProgress {
            original,
            wait: Duration::ZERO,
        },
        other => other,
    }
}

const WORKS: &str = "a store that works and has room answers";
