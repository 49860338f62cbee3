//! Cases of the records: every state of contract §6, and every step between them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::Subject;
use super::scene::{
    LEASE, MANY, RETENTION, advance_short_of, assert_at, assert_wait, at_once, attempt, attempt_of,
    claim, deduplicated, done, execute, finish, id, is_execute, is_in_progress, kept, outcomes,
    release, renew, told,
};
use crate::context::Fingerprint;
use crate::idempotency::{Attempt, Decision, KeptResponse, Outcome, Records};

pub async fn only_the_first_claim_is_executed<S: Subject>(subject: &S) {
    let (store, start) = (subject.store(), subject.now().await);
    let lease_ends = execute(&store, &attempt(1)).await;
    assert_at::<S>(lease_ends, start + LEASE, "the end of the lease");
    subject.advance(Duration::from_secs(4)).await;
    let Decision::InProgress { original, wait } = claim(&store, &attempt(2)).await else {
        panic!("the second claim is told that the first one runs");
    };
    assert_eq!(original, id(1));
    assert_wait::<S>(wait, Duration::from_secs(6), "the rest of the lease");
}

pub async fn a_claim_repeated_with_its_token_holds_as_it_was_made<S: Subject>(subject: &S) {
    let store = subject.store();
    let lease_ends = execute(&store, &attempt(1)).await;
    subject.advance(Duration::from_secs(1)).await;
    assert_eq!(execute(&store, &attempt(1)).await, lease_ends);
    assert!(is_in_progress(&claim(&store, &attempt(2)).await, 1));
    assert!(finish(&store, &attempt(1).owner, &done(1)).await);
}

pub async fn of_many_concurrent_claims_one_is_executed<S: Subject>(subject: &S) {
    claims_at_once(&subject.store(), attempt).await;
}

pub async fn of_many_concurrent_take_overs_one_is_executed<S: Subject>(subject: &S) {
    let store = subject.store();
    execute(&store, &deduplicated(attempt(1_000))).await;
    subject.advance(LEASE + Duration::from_secs(1)).await;
    claims_at_once(&store, |token| deduplicated(attempt(token))).await;
}

pub async fn a_renewed_lease_holds_longer<S: Subject>(subject: &S) {
    let (store, first) = (subject.store(), attempt(1));
    execute(&store, &first).await;
    for _ in 0..4 {
        subject.advance(Duration::from_secs(6)).await;
        // Twice, as where the reply to the first renewal was lost.
        assert!(renew(&store, &first.owner).await && renew(&store, &first.owner).await);
    }
    advance_short_of(subject, LEASE).await;
    assert!(is_in_progress(&claim(&store, &attempt(2)).await, 1));
    assert!(!renew(&store, &attempt(2).owner).await);
    subject.advance(Duration::from_secs(1)).await;
    assert!(!renew(&store, &first.owner).await);
    assert_eq!(
        claim(&store, &attempt(2)).await,
        Decision::Unknown { original: id(1) }
    );
}

pub async fn a_lapsed_lease_is_unknown_where_the_upstream_executes<S: Subject>(subject: &S) {
    let store = subject.store();
    execute(&store, &attempt(1)).await;
    advance_short_of(subject, LEASE).await;
    assert!(is_in_progress(&claim(&store, &attempt(2)).await, 1));
    subject.advance(Duration::from_secs(1)).await;
    for token in 2..5 {
        let decision = claim(&store, &attempt(token)).await;
        assert_eq!(decision, Decision::Unknown { original: id(1) });
    }
}

pub async fn a_lapsed_lease_is_taken_over_where_the_upstream_deduplicates<S: Subject>(subject: &S) {
    let store = subject.store();
    let [first, second, third] = [1, 2, 3].map(|token| deduplicated(attempt(token)));
    execute(&store, &first).await;
    advance_short_of(subject, LEASE).await;
    assert!(is_in_progress(&claim(&store, &second).await, 1));
    subject.advance(Duration::from_secs(1)).await;
    let start = subject.now().await;
    let lease_ends = execute(&store, &second).await;
    assert_at::<S>(lease_ends, start + LEASE, "the end of the second lease");
    assert!(is_in_progress(&claim(&store, &third).await, 2));
}

pub async fn an_unknown_outcome_is_asked_again_where_the_upstream_deduplicates<S: Subject>(
    subject: &S,
) {
    let (store, first) = (subject.store(), attempt(1));
    execute(&store, &first).await;
    finish(&store, &first.owner, &Outcome::Unknown).await;
    execute(&store, &deduplicated(attempt(2))).await;
    assert!(!finish(&store, &first.owner, &done(1)).await);
    assert!(finish(&store, &attempt(2).owner, &done(2)).await);
    assert_eq!(claim(&store, &attempt(3)).await, told(&done(2), 2));
}

pub async fn a_stale_owner_changes_nothing<S: Subject>(subject: &S) {
    let store = subject.store();
    let [stale, owner, other] = [1, 2, 3].map(|token| deduplicated(attempt(token)));
    execute(&store, &stale).await;
    subject.advance(LEASE + Duration::from_secs(1)).await;
    execute(&store, &owner).await;
    assert!(!renew(&store, &stale.owner).await);
    assert!(!release(&store, &stale.owner).await);
    for outcome in outcomes(1) {
        assert!(!finish(&store, &stale.owner, &outcome).await, "{outcome:?}");
    }
    assert!(is_in_progress(&claim(&store, &stale).await, 2));
    assert!(finish(&store, &owner.owner, &done(2)).await);
    assert!(!finish(&store, &stale.owner, &Outcome::Unknown).await);
    assert!(!release(&store, &stale.owner).await);
    assert_eq!(claim(&store, &other).await, told(&done(2), 2));
}

pub async fn an_owner_of_nothing_changes_nothing<S: Subject>(subject: &S) {
    let (store, nobody) = (subject.store(), attempt(1).owner);
    assert!(!renew(&store, &nobody).await);
    assert!(!release(&store, &nobody).await);
    for outcome in outcomes(1) {
        assert!(!finish(&store, &nobody, &outcome).await, "{outcome:?}");
    }
    execute(&store, &attempt(2)).await;
}

pub async fn another_request_under_the_key_is_refused_in_every_state<S: Subject>(subject: &S) {
    let store = subject.store();
    let states = [None].into_iter().chain(outcomes(1).map(Some));
    for (state, outcome) in states.enumerate() {
        let key = format!("key {state}");
        let first = attempt_of("family", key.as_bytes(), 1);
        let mut other = attempt_of("family", key.as_bytes(), 2);
        other.fingerprint = Fingerprint::from_bytes([2; 32]);
        execute(&store, &first).await;
        if let Some(outcome) = &outcome {
            assert!(finish(&store, &first.owner, outcome).await);
        }
        let in_use = Decision::InUse { original: id(1) };
        for attempt in [other.clone(), deduplicated(other.clone())] {
            assert_eq!(claim(&store, &attempt).await, in_use, "{outcome:?}");
        }
    }
    subject.advance(LEASE + Duration::from_secs(1)).await;
    let mut other = attempt_of("family", b"key 0", 2);
    other.fingerprint = Fingerprint::from_bytes([2; 32]);
    let in_use = Decision::InUse { original: id(1) };
    for attempt in [other.clone(), deduplicated(other)] {
        assert_eq!(claim(&store, &attempt).await, in_use, "lapsed");
    }
}

pub async fn a_repeated_finish_changes_nothing<S: Subject>(subject: &S) {
    let store = subject.store();
    for (first, outcome) in (1..).zip(outcomes(1)) {
        let attempt = |token| attempt_of("family", outcome.as_str().as_bytes(), token);
        execute(&store, &attempt(first)).await;
        let owner = attempt(first).owner;
        assert!(finish(&store, &owner, &outcome).await, "{outcome:?}");
        for again in outcomes(9) {
            assert!(finish(&store, &owner, &again).await, "{outcome:?}");
        }
        assert!(!renew(&store, &owner).await, "{outcome:?} is the end");
        let decision = claim(&store, &attempt(10)).await;
        assert_eq!(decision, told(&outcome, first), "{outcome:?}");
    }
}

pub async fn a_late_finish_of_an_owner_that_was_not_taken_over_counts<S: Subject>(subject: &S) {
    let (store, first) = (subject.store(), attempt(1));
    execute(&store, &first).await;
    subject.advance(LEASE * 3).await;
    let decision = claim(&store, &attempt(2)).await;
    assert_eq!(decision, Decision::Unknown { original: id(1) });
    assert!(
        !renew(&store, &first.owner).await,
        "it was told to somebody"
    );
    assert!(finish(&store, &first.owner, &done(1)).await);
    assert_eq!(claim(&store, &attempt(3)).await, told(&done(1), 1));
}

pub async fn a_released_key_is_free_and_an_ended_one_is_not_released<S: Subject>(subject: &S) {
    let store = subject.store();
    execute(&store, &attempt(1)).await;
    assert!(!release(&store, &attempt(2).owner).await);
    assert!(release(&store, &attempt(1).owner).await);
    assert!(!release(&store, &attempt(1).owner).await);
    assert!(!finish(&store, &attempt(1).owner, &done(1)).await);
    let mut other = attempt(2);
    other.fingerprint = Fingerprint::from_bytes([2; 32]);
    execute(&store, &other).await;
    assert!(finish(&store, &other.owner, &done(2)).await);
    assert!(!release(&store, &other.owner).await);
    let mut again = attempt(3);
    again.fingerprint = other.fingerprint;
    assert_eq!(claim(&store, &again).await, told(&done(2), 2));
}

pub async fn every_outcome_is_answered_until_its_retention_is_over<S: Subject>(subject: &S) {
    let store = subject.store();
    let under = |outcome: &Outcome, token| attempt_of("family", outcome.as_str().as_bytes(), token);
    for outcome in outcomes(1) {
        execute(&store, &under(&outcome, 1)).await;
        // The retention starts at the end and not at the claim.
        subject.advance(Duration::from_secs(5)).await;
        assert!(finish(&store, &under(&outcome, 1).owner, &outcome).await);
    }
    advance_short_of(subject, RETENTION - Duration::from_secs(10)).await;
    for outcome in outcomes(1) {
        let decision = claim(&store, &under(&outcome, 2)).await;
        assert_eq!(decision, told(&outcome, 1), "{outcome:?}");
    }
    subject.advance(Duration::from_secs(11)).await;
    for outcome in outcomes(1) {
        execute(&store, &under(&outcome, 3)).await;
    }
}

pub async fn an_abandoned_claim_is_forgotten_once_its_retention_is_over<S: Subject>(subject: &S) {
    let store = subject.store();
    execute(&store, &attempt(1)).await;
    advance_short_of(subject, LEASE + RETENTION).await;
    let decision = claim(&store, &attempt(2)).await;
    assert_eq!(decision, Decision::Unknown { original: id(1) });
    subject.advance(Duration::from_secs(1)).await;
    execute(&store, &attempt(3)).await;
}

pub async fn a_kept_response_is_the_first_one_byte_for_byte<S: Subject>(subject: &S) {
    let store = subject.store();
    let every_byte: Vec<u8> = (0..=255).collect();
    for (number, (status, body)) in (1..).zip([
        (200, Bytes::new()),
        (204, Bytes::new()),
        (202, Bytes::from_static(b"{\"id\":1}\r\n\0")),
        (302, Bytes::from(every_byte.clone())),
        (500, Bytes::from(every_byte.repeat(1024))),
        (599, Bytes::from_static("schlüssel {live:x}".as_bytes())),
    ]) {
        let response = Outcome::Done(Arc::new(KeptResponse {
            status: StatusCode::from_u16(status).expect("the statuses of the case are statuses"),
            headers: repeated_headers(),
            body,
            original: id(number),
        }));
        let attempt = |token| attempt_of("family", format!("{number}").as_bytes(), token);
        execute(&store, &attempt(number)).await;
        assert!(finish(&store, &attempt(number).owner, &response).await);
        for token in [100, 101] {
            let decision = claim(&store, &attempt(token)).await;
            assert_eq!(decision, told(&response, number), "{status}");
        }
    }
}

pub async fn one_key_of_two_callers_is_two_keys<S: Subject>(subject: &S) {
    let store = subject.store();
    // Pairs that a store which joins caller and key without care takes for one.
    let pairs: [(&str, &[u8]); 7] = [
        ("a", b"key"),
        ("b", b"key"),
        ("a", b"b:key"),
        ("a:b", b"key"),
        ("a}", b"key"),
        ("{a}", b"key"),
        ("a", b"}key"),
    ];
    for (token, (family, key)) in (1..).zip(pairs) {
        let first = attempt_of(family, key, token);
        execute(&store, &first).await;
        assert!(finish(&store, &first.owner, &done(token)).await);
    }
    for (token, (family, key)) in (1..).zip(pairs) {
        let decision = claim(&store, &attempt_of(family, key, 100)).await;
        assert_eq!(decision, told(&done(token), token), "{family} {key:?}");
    }
}

pub async fn a_key_is_kept_byte_for_byte_whatever_it_is_made_of<S: Subject>(subject: &S) {
    let store = subject.store();
    let longest = [b'k'; 255];
    let almost = [&[b'k'; 254][..], b"K"].concat();
    let keys: [&[u8]; 17] = [
        b"{live:x}*?[",
        b"*",
        b"?",
        b"[a-z]",
        b":",
        b"a b",
        b"a  b",
        b"\"a b\"",
        b"'; DROP TABLE records; --",
        b"%s%00",
        b"\\x00",
        b"KEY",
        b"key",
        b"../key",
        b"key\\",
        &longest,
        &almost,
    ];
    for (token, key) in (1..).zip(keys) {
        let first = attempt_of("family", key, token);
        execute(&store, &first).await;
        let response = Outcome::Done(kept(key.to_vec(), token));
        assert!(finish(&store, &first.owner, &response).await);
    }
    for (token, key) in (1..).zip(keys) {
        let response = Outcome::Done(kept(key.to_vec(), token));
        let decision = claim(&store, &attempt_of("family", key, 100)).await;
        assert_eq!(decision, told(&response, token), "{token}");
    }
}

pub async fn a_clock_that_jumps_ahead_lapses_leases_and_keeps_responses<S: Subject>(subject: &S) {
    let store = subject.store();
    let (ended, running) = (attempt_of("family", b"ended", 1), attempt(2));
    execute(&store, &ended).await;
    assert!(finish(&store, &ended.owner, &done(1)).await);
    execute(&store, &running).await;
    subject.jump_ahead(Duration::from_secs(3600)).await;
    let decision = claim(&store, &attempt(3)).await;
    assert_eq!(decision, Decision::Unknown { original: id(2) });
    assert!(finish(&store, &running.owner, &done(2)).await);
    assert_eq!(claim(&store, &attempt(3)).await, told(&done(2), 2));
    let again = attempt_of("family", b"ended", 4);
    assert_eq!(claim(&store, &again).await, told(&done(1), 1));
}

pub async fn a_lease_from_a_clock_that_was_ahead_has_lapsed<S: Subject>(subject: &S) {
    let store = subject.store();
    let ended = attempt_of("family", b"ended", 1);
    execute(&store, &ended).await;
    assert!(finish(&store, &ended.owner, &done(1)).await);
    execute(&store, &attempt(2)).await;
    subject.jump_back(Duration::from_secs(3600)).await;
    let again = attempt_of("family", b"ended", 3);
    assert_eq!(claim(&store, &again).await, told(&done(1), 1));
    let decision = claim(&store, &attempt(3)).await;
    assert_eq!(decision, Decision::Unknown { original: id(2) });
    // What was told to somebody is not taken back by a renewal.
    assert!(!renew(&store, &attempt(2).owner).await);
    execute(&store, &deduplicated(attempt(4))).await;
    assert!(is_in_progress(&claim(&store, &attempt(3)).await, 4));
    assert!(!finish(&store, &attempt(2).owner, &done(2)).await);
}

pub async fn a_small_step_back_of_the_clock_lapses_nothing<S: Subject>(subject: &S) {
    let store = subject.store();
    execute(&store, &attempt(1)).await;
    subject.jump_back(Duration::from_millis(900)).await;
    let second = deduplicated(attempt(2));
    assert!(is_in_progress(&claim(&store, &second).await, 1));
}

async fn claims_at_once(store: &impl Records, attempt: impl Fn(u128) -> Attempt) {
    let claims = at_once(|number| {
        let (store, attempt) = (store.clone(), attempt(number.into()));
        async move { (attempt.owner.clone(), claim(&store, &attempt).await) }
    });
    let (granted, refused): (Vec<_>, Vec<_>) = claims
        .await
        .into_iter()
        .partition(|(_, decision)| is_execute(decision));
    assert_eq!(granted.len(), 1, "one of them is executed");
    let winner = &granted[0].0;
    for (_, decision) in &refused {
        assert!(is_in_progress(decision, winner.token), "{decision:?}");
    }
    assert_eq!(refused.len(), MANY as usize - 1);
    assert!(finish(store, winner, &done(winner.token)).await);
}

/// A header that is repeated keeps its order and its place among the others.
fn repeated_headers() -> Vec<(HeaderName, HeaderValue)> {
    [
        ("content-type", &b"application/json"[..]),
        ("x-note", b"second"),
        ("content-language", b"de"),
        ("x-note", b"first"),
        ("x-note", b"first"),
        ("x-empty", b""),
        ("location", b"/\xfc?a=1,2&b=%20"),
    ]
    .map(|(name, value)| {
        let value = HeaderValue::from_bytes(value).expect("no control characters");
        (HeaderName::from_static(name), value)
    })
    .into()
}
