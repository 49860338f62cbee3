//! Rules of the window and of the burst.

use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_unix_seconds(1_000);

#[test]
fn a_window_starts_at_the_first_request_and_ends_by_itself() {
    let quota = Quota::new(2, Duration::from_secs(60));
    let mut counter = None;
    for (second, allowed, remaining, reset, wait) in [
        (0, true, 1, 60, 0),
        (59, true, 0, 60, 0),
        (59, false, 0, 60, 1),
        (60, true, 1, 120, 0),
        (200, true, 1, 260, 0),
    ] {
        let (kept, verdict) = quota.judge(counter, START + Duration::from_secs(second));
        counter = Some(kept);
        let want = Verdict {
            allowed,
            limit: 2,
            remaining,
            reset: START + Duration::from_secs(reset),
            wait: Duration::from_secs(wait),
        };
        assert_eq!(verdict, want, "second {second}");
    }
}

#[test]
fn a_limit_changed_in_mid_window_holds_at_once_against_the_same_count() {
    let two = Quota::per_minute(2);
    let (kept, _) = two.judge(None, START);
    let (kept, _) = two.judge(Some(kept), START);
    let (kept, refused) = two.judge(Some(kept), START);
    assert!(!refused.allowed);
    let (kept, raised) = two.with_limit(3).judge(Some(kept), START);
    assert!(raised.allowed && raised.remaining == 0);
    assert!(!two.with_limit(1).judge(Some(kept), START).1.allowed);
}

#[test]
fn a_window_from_another_clock_counts_as_expired() {
    let quota = Quota::per_minute(1);
    let ahead = Counter::Window {
        started: START + Duration::from_secs(3600),
        count: 1,
    };
    let (kept, verdict) = quota.judge(Some(ahead), START);
    assert!(verdict.allowed);
    assert_eq!(
        kept,
        Counter::Window {
            started: START,
            count: 1
        }
    );
    let ahead = Counter::Arrival { expected: u64::MAX };
    assert!(quota.with_burst(1).judge(Some(ahead), START).1.allowed);
}

#[test]
fn a_limit_of_nothing_lets_nothing_pass() {
    for quota in [Quota::per_minute(0), Quota::per_minute(0).with_burst(5)] {
        assert!(!quota.judge(None, START).1.allowed, "{quota:?}");
    }
}

#[test]
fn a_burst_is_repaid_at_the_rate() {
    let quota = Quota::per_minute(60).with_burst(3);
    let mut counter = None;
    for (millis, allowed, remaining, wait) in [
        (0, true, 2, 0),
        (0, true, 1, 0),
        (0, true, 0, 0),
        (0, false, 0, 1000),
        (999, false, 0, 1),
        (1000, true, 0, 0),
        (10_000, true, 2, 0),
    ] {
        let (kept, verdict) = quota.judge(counter, START + Duration::from_millis(millis));
        counter = Some(kept);
        let told = (verdict.allowed, verdict.remaining, verdict.wait);
        assert_eq!(
            told,
            (allowed, remaining, Duration::from_millis(wait)),
            "{millis} ms"
        );
    }
}

#[test]
fn the_headers_round_the_end_of_the_window_up() {
    let (_, verdict) = Quota::per_minute(60).judge(None, Timestamp::from_unix_millis(1_001));
    let mut headers = HeaderMap::new();
    verdict.write(&mut headers);
    assert_eq!(headers[X_RATELIMIT_LIMIT], "60");
    assert_eq!(headers[X_RATELIMIT_REMAINING], "59");
    assert_eq!(headers[X_RATELIMIT_RESET], "62");
}

#[test]
fn a_count_goes_on_though_the_store_that_told_it_has_a_clock_that_is_ahead() {
    let ahead = START + Duration::from_secs(3600);
    for quota in [Quota::per_minute(2), Quota::per_minute(2).with_burst(2)] {
        let (kept, _) = quota.judge(None, ahead);
        let (_, told) = quota.judge(Some(kept), ahead);
        let (kept, here) = quota.judge(Some(told.counter(&quota, START)), START);
        assert!(!here.allowed, "{quota:?}");
        let later = START + Duration::from_secs(60);
        assert!(quota.judge(Some(kept), later).1.allowed, "{quota:?}");
    }
}

proptest! {
    #[test]
    fn no_stretch_of_a_windows_length_passes_more_than_promised(
        limit in 1..8u32,
        burst in proptest::option::of(1..8u32),
        gaps in proptest::collection::vec(0..400u64, 1..200),
    ) {
        let window = Duration::from_secs(1);
        let quota = Quota { limit, window, burst };
        let (mut counter, mut at, mut passed) = (None, START, Vec::new());
        for gap in gaps {
            at = at + Duration::from_millis(gap);
            let (kept, verdict) = quota.judge(counter, at);
            counter = Some(kept);
            if verdict.allowed {
                passed.push(at);
            }
        }
        let promised = burst.map_or(2 * limit - 1, |burst| limit + burst);
        for (index, start) in passed.iter().enumerate() {
            let within = passed[index..].iter().take_while(|one| one.since(*start) < window).count();
            prop_assert!(within <= promised as usize, "{within} > {promised}");
        }
    }

    #[test]
    fn a_verdict_tells_enough_to_go_on_counting(
        limit in 1..6u32,
        burst in proptest::option::of(1..6u32),
        gaps in proptest::collection::vec(0..40u64, 1..60),
    ) {
        let quota = Quota { limit, window: Duration::from_secs(1), burst };
        let (mut kept, mut told, mut at) = (None, None, START);
        for gap in gaps {
            at = at + Duration::from_millis(gap * 25);
            let (counter, verdict) = quota.judge(kept, at);
            let (_, again) = quota.judge(told, at);
            // A burst's end is told in whole milliseconds, rounded up: never too soon.
            let as_strict = if burst.is_some() { verdict.allowed || !again.allowed } else { verdict.allowed == again.allowed };
            prop_assert!(as_strict, "{verdict:?} {again:?}");
            kept = Some(counter);
            told = Some(verdict.counter(&quota, at));
        }
    }
}
