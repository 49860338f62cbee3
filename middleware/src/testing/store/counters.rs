//! Cases of the rate limit (contract §5).

use std::time::Duration;

use super::Subject;
use super::scene::{MANY, WINDOW, advance_short_of, assert_at, assert_wait, at_once, caller};
use crate::rate_limit::{Counters, Quota, Verdict};

pub async fn a_window_starts_at_the_first_request_and_ends_by_itself<S: Subject>(subject: &S) {
    let (store, quota) = (subject.store(), quota(2));
    let start = subject.now().await;
    let first = hit(&store, &quota).await;
    assert!(first.allowed && first.limit == 2 && first.remaining == 1);
    assert_eq!(first.wait, Duration::ZERO);
    assert_at::<S>(first.reset, start + WINDOW, "the end of the window");
    advance_short_of(subject, WINDOW).await;
    let second = hit(&store, &quota).await;
    assert!(second.allowed && second.remaining == 0);
    assert_eq!(second.reset, first.reset);
    subject.advance(Duration::from_secs(1)).await;
    let start = subject.now().await;
    let third = hit(&store, &quota).await;
    assert!(third.allowed && third.remaining == 1, "rolled over");
    assert_at::<S>(third.reset, start + WINDOW, "the end of the next window");
}

pub async fn a_refused_call_never_moves_the_window<S: Subject>(subject: &S) {
    let (store, quota) = (subject.store(), quota(1));
    let first = hit(&store, &quota).await;
    for passed in 1..6 {
        subject.advance(Duration::from_secs(10)).await;
        let refused = hit(&store, &quota).await;
        assert!(!refused.allowed && refused.remaining == 0, "{passed}0 s");
        assert_eq!(refused.reset, first.reset, "{passed}0 s");
        let left = first.reset.since(subject.now().await);
        assert_wait::<S>(left, refused.wait, "the wait until the end");
    }
    subject.advance(Duration::from_secs(10)).await;
    assert!(hit(&store, &quota).await.allowed);
}

pub async fn a_limit_changed_in_mid_window_holds_at_once_against_the_same_count<S: Subject>(
    subject: &S,
) {
    let store = subject.store();
    let mut resets = Vec::new();
    for (limit, allowed, remaining) in [
        (2, true, 1),
        (2, true, 0),
        (2, false, 0),
        (4, true, 1),
        (1, false, 0),
        (4, true, 0),
        (4, false, 0),
    ] {
        let verdict = hit(&store, &quota(limit)).await;
        let told = (verdict.limit, verdict.allowed, verdict.remaining);
        assert_eq!(told, (limit, allowed, remaining));
        resets.push(verdict.reset);
    }
    resets.dedup();
    assert_eq!(resets.len(), 1, "a limit that changes moves no window");
}

pub async fn a_limit_of_nothing_lets_nothing_pass<S: Subject>(subject: &S) {
    let store = subject.store();
    for quota in [quota(0), quota(0).with_burst(5)] {
        for _ in 0..2 {
            assert!(!hit(&store, &quota).await.allowed, "{quota:?}");
            subject.advance(WINDOW).await;
        }
    }
}

pub async fn a_burst_is_spent_at_once_and_repaid_at_the_rate<S: Subject>(subject: &S) {
    let (store, quota) = (subject.store(), quota(60).with_burst(3));
    let start = subject.now().await;
    for remaining in [2, 1, 0] {
        let verdict = hit(&store, &quota).await;
        assert!(verdict.allowed && verdict.remaining == remaining);
        let spent = Duration::from_secs(u64::from(3 - remaining));
        assert_at::<S>(verdict.reset, start + spent, "the burst is there again");
    }
    let refused = hit(&store, &quota).await;
    assert!(!refused.allowed && refused.limit == 60);
    assert_wait::<S>(refused.wait, Duration::from_secs(1), "one request's time");
    subject.advance(Duration::from_secs(1)).await;
    assert!(hit(&store, &quota).await.allowed);
    assert!(!hit(&store, &quota).await.allowed);
    subject.advance(WINDOW).await;
    assert_eq!(hit(&store, &quota).await.remaining, 2);
}

pub async fn two_callers_are_counted_apart<S: Subject>(subject: &S) {
    let (store, quota) = (subject.store(), quota(1));
    let families = ["a", "b", "a:b", "a}", "{a}", "a*", "", &"long".repeat(60)];
    for want in [true, false] {
        for family in families {
            let verdict = store.hit(&caller(family), &quota).await;
            let verdict = verdict.expect("a store that works answers");
            assert_eq!(verdict.allowed, want, "{family}");
        }
    }
}

pub async fn of_many_concurrent_calls_exactly_the_limit_passes<S: Subject>(subject: &S) {
    let verdicts = hits_at_once(subject, quota(MANY / 4)).await;
    let passed = verdicts.iter().filter(|verdict| verdict.allowed);
    let mut remaining: Vec<u32> = passed.map(|verdict| verdict.remaining).collect();
    remaining.sort_unstable();
    let wanted: Vec<u32> = (0..MANY / 4).collect();
    assert_eq!(
        remaining, wanted,
        "each call that passes is told another rest"
    );
}

pub async fn of_many_concurrent_calls_exactly_the_burst_passes<S: Subject>(subject: &S) {
    // A rate so low that nothing is repaid while the calls are made.
    let quota = Quota::new(MANY, Duration::from_secs(24 * 3600)).with_burst(MANY / 4);
    let verdicts = hits_at_once(subject, quota).await;
    let passed = verdicts.iter().filter(|verdict| verdict.allowed).count();
    assert_eq!(passed, MANY as usize / 4);
}

pub async fn a_clock_that_jumps_ahead_ends_the_window<S: Subject>(subject: &S) {
    let store = subject.store();
    for quota in [quota(1), quota(1).with_burst(1)] {
        assert!(hit(&store, &quota).await.allowed, "{quota:?}");
        assert!(!hit(&store, &quota).await.allowed, "{quota:?}");
        subject.jump_ahead(WINDOW + Duration::from_secs(1)).await;
        assert!(hit(&store, &quota).await.allowed, "{quota:?}");
    }
}

pub async fn a_window_from_a_clock_that_was_ahead_counts_as_expired<S: Subject>(subject: &S) {
    let (store, quota) = (subject.store(), quota(1));
    hit(&store, &quota).await;
    subject.jump_back(Duration::from_secs(3600)).await;
    let start = subject.now().await;
    let verdict = hit(&store, &quota).await;
    assert!(verdict.allowed);
    assert_at::<S>(
        verdict.reset,
        start + WINDOW,
        "the end of a window of its own",
    );
    assert!(!hit(&store, &quota).await.allowed);
}

pub async fn a_burst_from_a_clock_that_was_ahead_counts_as_expired<S: Subject>(subject: &S) {
    let (store, quota) = (subject.store(), quota(60).with_burst(2));
    hit(&store, &quota).await;
    subject.jump_back(Duration::from_secs(3600)).await;
    let verdict = hit(&store, &quota).await;
    assert!(verdict.allowed && verdict.remaining == 1);
}

pub async fn a_small_step_back_of_the_clock_ends_no_window<S: Subject>(subject: &S) {
    let (store, quota) = (subject.store(), quota(1));
    hit(&store, &quota).await;
    subject.jump_back(Duration::from_millis(900)).await;
    let refused = hit(&store, &quota).await;
    assert!(!refused.allowed);
    assert!(refused.wait <= WINDOW, "nobody waits longer than a window");
}

async fn hits_at_once<S: Subject>(subject: &S, quota: Quota) -> Vec<Verdict> {
    let store = subject.store();
    at_once(|_| {
        let store = store.clone();
        async move { hit(&store, &quota).await }
    })
    .await
}

async fn hit(store: &impl Counters, quota: &Quota) -> Verdict {
    store
        .hit(&caller("family"), quota)
        .await
        .expect("a store that works answers")
}

const fn quota(limit: u32) -> Quota {
    Quota::new(limit, WINDOW)
}
