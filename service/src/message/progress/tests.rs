//! The transitions, one by one and in any order.

use proptest::prelude::*;

use super::*;

#[test]
fn an_attempt_leads_where_its_outcome_says() {
    for (next, want, waits) in [
        (Next::Submitted, State::Submitted, None),
        (retry(at(9), true), State::RetryWait, Some(at(9))),
        (retry(at(9), false), State::RetryWait, Some(at(9))),
        (Next::Blocked { at: at(9) }, State::Blocked, Some(at(9))),
        (Next::Failed(failure("x")), State::Failed, None),
        (Next::Uncertain, State::Uncertain, None),
    ] {
        let mut progress = departed(Policy::AtMostOnce);
        progress.settle(1, &next, at(2), HEALTHY);
        assert_eq!(progress.state, want, "{next:?}");
        assert_eq!(progress.not_before, waits, "{next:?}");
        let counts = u32::from(matches!(next, Next::Retry { counts: true, .. }));
        assert_eq!(progress.refusals, counts, "{next:?}");
        let confirms = (want == State::Uncertain).then_some(HEALTHY);
        assert_eq!(progress.reconcile_at, confirms, "{next:?}");
        let again = progress.clone();
        progress.settle(1, &next, at(2), HEALTHY);
        assert_eq!(progress, again, "a step that is repeated: {next:?}");
    }
}

#[test]
fn what_meta_said_before_the_outcome_stands() {
    for next in [
        retry(at(9), true),
        Next::Failed(failure("x")),
        Next::Uncertain,
        Next::Blocked { at: at(9) },
        Next::Submitted,
    ] {
        let mut progress = departed(Policy::AtMostOnce);
        progress.hear(1, State::Delivered, at(3), None, None);
        progress.settle(1, &next, at(4), HEALTHY);
        assert_eq!(progress.state, State::Delivered, "{next:?}");
        assert_eq!(progress.not_before, None, "{next:?}");
    }
}

#[test]
fn an_owner_that_was_taken_for_dead_may_still_tell() {
    for (next, want) in [
        (retry(at(9), false), State::RetryWait),
        (Next::Submitted, State::Submitted),
        (Next::Failed(failure("x")), State::Failed),
        (Next::Uncertain, State::Uncertain),
    ] {
        let mut progress = departed(Policy::AtMostOnce);
        progress.abandon(HEALTHY);
        assert_eq!(progress.state, State::Uncertain);
        progress.settle(1, &next, at(4), HEALTHY * 2);
        assert_eq!(progress.state, want, "{next:?}");
    }
}

#[test]
fn nobody_confirmed_is_a_failure_or_another_attempt() {
    for (policy, attempts, now, want) in [
        (Policy::AtMostOnce, 1, 5, State::OutcomeUnknown),
        (Policy::AtLeastOnce, 1, 5, State::RetryWait),
        (Policy::AtLeastOnce, UNKNOWN_MAX, 5, State::OutcomeUnknown),
        (Policy::AtLeastOnce, 1, EXPIRES, State::OutcomeUnknown),
    ] {
        let mut progress = departed(policy);
        progress.attempts = attempts;
        progress.settle(attempts, &Next::Uncertain, at(2), HEALTHY);
        progress.stop_confirming(at(now));
        assert_eq!(progress.state, want, "{policy:?} {attempts} {now}");
        let word = progress.failure.map(|failure| failure.code);
        let wants = (want == State::OutcomeUnknown).then_some("outcome_unknown");
        assert_eq!(word.as_deref(), wants, "{policy:?} {attempts} {now}");
    }
}

#[test]
fn a_late_sign_of_life_corrects_what_was_given_up() {
    for given_up in [State::OutcomeUnknown, State::Expired] {
        for heard in [State::Sent, State::Delivered, State::Read, State::Failed] {
            let mut progress = departed(Policy::AtMostOnce);
            progress.state = given_up;
            let why = (heard == State::Failed).then(|| failure("undeliverable"));
            progress.hear(1, heard, at(9), why.as_ref(), None);
            assert_eq!(progress.state, heard, "{given_up:?}");
        }
    }
}

#[test]
fn a_passing_failure_of_an_uncertain_attempt_is_tried_again() {
    let mut progress = departed(Policy::AtMostOnce);
    progress.settle(1, &Next::Uncertain, at(2), HEALTHY);
    progress.hear(1, State::Failed, at(3), Some(&failure("x")), Some(at(8)));
    assert_eq!(
        (progress.state, progress.not_before),
        (State::RetryWait, Some(at(8)))
    );
    assert_eq!(progress.depart(), 2);
    assert_eq!(progress.failure, None, "a new attempt, a new hope");
}

#[test]
fn a_failure_of_an_attempt_before_the_last_says_nothing() {
    let mut progress = departed(Policy::AtLeastOnce);
    progress.settle(1, &Next::Uncertain, at(2), HEALTHY);
    progress.stop_confirming(at(3));
    progress.depart();
    progress.hear(1, State::Failed, at(4), Some(&failure("x")), None);
    assert_eq!(progress.state, State::Dispatching);
    progress.hear(1, State::Sent, at(4), None, None);
    assert_eq!(
        progress.state,
        State::Sent,
        "the first one was sent after all"
    );
    progress.hear(2, State::Failed, at(5), Some(&failure("x")), None);
    assert_eq!(progress.state, State::Sent, "one of two arrived at Meta");
}

#[test]
fn time_ends_what_waits_and_what_nobody_got() {
    let mut waits = Progress::queued(Policy::AtMostOnce, at(0), at(EXPIRES), LASTS);
    let mut sent = departed(Policy::AtMostOnce);
    sent.settle(1, &Next::Submitted, at(2), HEALTHY);
    let ends = 2 + (LASTS + LAPSE_MARGIN).as_secs();
    for (progress, early, late, want, word) in [
        (
            &mut waits,
            EXPIRES - 1,
            EXPIRES,
            State::Failed,
            "queue_expired",
        ),
        (&mut sent, ends - 1, ends, State::Expired, "expired"),
    ] {
        let before = progress.clone();
        progress.lapse(at(early));
        assert_eq!(*progress, before);
        progress.lapse(at(late));
        assert_eq!(progress.state, want);
        assert_eq!(progress.failure.as_ref().unwrap().code, word);
        assert_eq!(progress.deadline(), None);
    }
}

#[test]
fn an_operator_repeats_only_what_has_failed() {
    for state in State::ALL {
        for even_twice in [false, true] {
            let mut progress = departed(Policy::AtMostOnce);
            progress.state = state;
            let repeated = progress.repeat(at(9), at(99), even_twice);
            let may = match state {
                State::Failed => true,
                State::OutcomeUnknown | State::Expired => even_twice,
                _ => false,
            };
            assert_eq!(repeated.is_ok(), may, "{state:?} {even_twice}");
            let after = if may { State::Queued } else { state };
            assert_eq!(progress.state, after, "{state:?} {even_twice}");
        }
    }
}

proptest! {
    /// P3: the same statuses in any order, each as often as it likes, lead to the same end.
    #[test]
    fn the_order_of_statuses_never_matters(
        heard in prop::collection::vec((1_u32..=2, 0_usize..5, 0_u64..50), 1..8),
        shuffled in any::<u64>(),
        attempts in 1_u32..=2,
        start in 0_usize..3,
        passes in any::<bool>(),
    ) {
        // A status is told once: a store refuses it the second time, as this does.
        let mut events: Vec<(u32, State, Timestamp)> = Vec::new();
        for (attempt, state, second) in heard {
            let event = (attempt.min(attempts), STATUSES[state], at(100 + second));
            if !events.iter().any(|(a, s, _)| (*a, *s) == (event.0, event.1)) {
                events.push(event);
            }
        }
        let mut other = events.clone();
        other.sort_by_key(|(attempt, state, at)| {
            let seed = shuffled ^ at.as_unix_millis() ^ (u64::from(*attempt) << 40);
            (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7, *state)
        });
        let starts = [State::Uncertain, State::Submitted, State::OutcomeUnknown];
        let run = |events: &[(u32, State, Timestamp)]| {
            let mut progress = departed(Policy::AtLeastOnce);
            progress.attempts = attempts;
            progress.state = starts[start];
            for (attempt, state, at) in events {
                let why = (*state == State::Failed).then(|| failure("x"));
                let retry_at = passes.then_some(*at);
                progress.hear(*attempt, *state, *at, why.as_ref(), retry_at);
            }
            progress
        };
        let (one, two) = (run(&events), run(&other));
        prop_assert_eq!(one.state, two.state, "{:?} and {:?}", events, other);
        prop_assert_eq!(one.sent_at, two.sent_at);
        prop_assert_eq!(one.delivered_at, two.delivered_at);
        prop_assert_eq!(one.read_at, two.read_at);
        prop_assert_eq!(one.state.public(), two.state.public());
    }

    /// What was told to a caller moves forward only, but for the one state that may be
    /// corrected and a failure that a device took back.
    #[test]
    fn a_message_never_forgets_that_it_arrived(
        heard in prop::collection::vec(0_usize..5, 1..12),
    ) {
        let mut progress = departed(Policy::AtMostOnce);
        let mut arrived = false;
        for state in heard {
            let state = STATUSES[state];
            let why = (state == State::Failed).then(|| failure("x"));
            progress.hear(1, state, at(5), why.as_ref(), None);
            arrived |= state > State::Failed;
            prop_assert_eq!(arrived, progress.state > State::Failed);
        }
    }
}

fn departed(policy: Policy) -> Progress {
    let mut progress = Progress::queued(policy, at(0), at(EXPIRES), LASTS);
    assert_eq!(progress.depart(), 1);
    progress
}

fn retry(at: Timestamp, counts: bool) -> Next {
    Next::Retry { at, counts }
}

fn failure(code: &'static str) -> Failure {
    Failure {
        code: code.into(),
        message: "why".into(),
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

const STATUSES: [State; 5] = [
    State::Sent,
    State::Delivered,
    State::Read,
    State::Played,
    State::Failed,
];

const EXPIRES: u64 = 1000;
const HEALTHY: Duration = Duration::from_secs(600);
const LASTS: Duration = Duration::from_secs(5000);
