//! Rules of the steps between the states of a record.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::*;
use crate::route::UpstreamKind::{Deduplicates, Executes};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);
const LEASE: Duration = Duration::from_secs(10);
const RETENTION: Duration = Duration::from_secs(86_400);

#[test]
fn only_the_first_attempt_is_executed() {
    let (first, record) = claim(None, &attempt(1, Executes), NOW);
    assert_eq!(
        first,
        Decision::Execute {
            lease_ends: NOW + LEASE
        }
    );
    let later = NOW + Duration::from_secs(4);
    let (second, kept) = claim(record.as_ref(), &attempt(2, Executes), later);
    assert_eq!(
        second,
        Decision::InProgress {
            original: id(1),
            wait: Duration::from_secs(6)
        }
    );
    assert_eq!(kept, None);
}

#[test]
fn a_claim_repeated_with_its_token_holds_as_it_was_made() {
    let record = claimed(1, Executes);
    let (again, kept) = claim(
        Some(&record),
        &attempt(1, Executes),
        NOW + Duration::from_secs(1),
    );
    assert_eq!(
        again,
        Decision::Execute {
            lease_ends: NOW + LEASE
        }
    );
    assert_eq!(kept, None);
}

#[test]
fn another_request_under_the_key_is_refused_in_every_state() {
    let mut other = attempt(2, Executes);
    other.fingerprint = Fingerprint::from_bytes([9; 32]);
    for outcome in [
        None,
        Some(done()),
        Some(Outcome::NotStored),
        Some(Outcome::Unknown),
    ] {
        let mut record = claimed(1, Executes);
        if let Some(outcome) = &outcome {
            assert!(record.finish(1, outcome, RETENTION, NOW));
        }
        let (decision, _) = claim(Some(&record), &other, NOW);
        assert_eq!(decision, Decision::InUse { original: id(1) }, "{outcome:?}");
    }
}

#[test]
fn a_lapsed_lease_is_unknown_unless_the_upstream_deduplicates() {
    let record = claimed(1, Executes);
    let lapse = NOW + LEASE;
    for (kind, want) in [
        (Executes, Decision::Unknown { original: id(1) }),
        (
            Deduplicates,
            Decision::Execute {
                lease_ends: lapse + LEASE,
            },
        ),
    ] {
        assert_eq!(
            claim(Some(&record), &attempt(2, kind), lapse).0,
            want,
            "{kind:?}"
        );
    }
}

#[test]
fn a_lease_from_another_clock_has_lapsed_and_a_small_step_back_is_none() {
    let record = claimed(1, Executes);
    for (back, lapsed) in [
        (Duration::from_millis(900), false),
        (Duration::from_secs(3600), true),
    ] {
        let now = Timestamp::from_unix_millis(
            NOW.as_unix_millis() - u64::try_from(back.as_millis()).unwrap(),
        );
        let (decision, _) = claim(Some(&record), &attempt(2, Executes), now);
        assert_eq!(
            matches!(decision, Decision::Unknown { .. }),
            lapsed,
            "{back:?}"
        );
    }
}

#[test]
fn a_renewed_lease_holds_longer() {
    let mut record = claimed(1, Executes);
    let later = NOW + Duration::from_secs(9);
    assert!(record.renew(1, LEASE, later));
    assert!(!record.renew(2, LEASE, later));
    let (decision, _) = claim(Some(&record), &attempt(2, Executes), NOW + LEASE);
    assert_eq!(
        decision,
        Decision::InProgress {
            original: id(1),
            wait: Duration::from_secs(9)
        }
    );
    assert_eq!(record.expires(), later + LEASE + RETENTION);
}

#[test]
fn a_lapsed_lease_is_not_revived_and_may_still_be_finished() {
    let mut record = claimed(1, Executes);
    let lapse = NOW + LEASE;
    assert!(!record.renew(1, LEASE, lapse));
    let (own, _) = claim(Some(&record), &attempt(1, Executes), lapse);
    assert_eq!(own, Decision::Unknown { original: id(1) });
    assert!(record.finish(1, &done(), RETENTION, lapse));
    let (later, _) = claim(Some(&record), &attempt(2, Executes), lapse);
    assert!(matches!(later, Decision::Replay(_)));
}

#[test]
fn what_was_kept_is_the_first_response_and_a_repeated_finish_changes_nothing() {
    let mut record = claimed(1, Executes);
    assert!(record.finish(1, &done(), RETENTION, NOW));
    assert!(record.finish(1, &Outcome::Unknown, RETENTION, NOW + LEASE));
    assert!(!record.renew(1, LEASE, NOW) && !record.releases(1));
    let (decision, _) = claim(Some(&record), &attempt(2, Executes), NOW + LEASE);
    let Outcome::Done(kept) = done() else {
        unreachable!("done() is done")
    };
    assert_eq!(decision, Decision::Replay(kept));
}

#[test]
fn a_stale_owner_changes_nothing_after_a_take_over() {
    let lapse = NOW + LEASE;
    let (_, taken) = claim(
        Some(&claimed(1, Deduplicates)),
        &attempt(2, Deduplicates),
        lapse,
    );
    let mut taken = taken.unwrap();
    let before = taken.clone();
    assert!(!taken.renew(1, LEASE, lapse));
    assert!(!taken.finish(1, &done(), RETENTION, lapse));
    assert!(!taken.releases(1));
    assert_eq!(taken, before);
    assert!(taken.releases(2));
}

#[test]
fn an_ended_record_is_answered_until_its_retention_is_over() {
    for (outcome, kind, want) in [
        (
            Outcome::NotStored,
            Executes,
            Decision::NotStored { original: id(1) },
        ),
        (
            Outcome::Unknown,
            Executes,
            Decision::Unknown { original: id(1) },
        ),
        (
            Outcome::NotStored,
            Deduplicates,
            Decision::NotStored { original: id(1) },
        ),
    ] {
        let mut record = claimed(1, kind);
        record.finish(1, &outcome, RETENTION, NOW);
        let end = NOW + RETENTION;
        let last = Timestamp::from_unix_millis(end.as_unix_millis() - 1);
        assert_eq!(
            claim(Some(&record), &attempt(2, kind), last).0,
            want,
            "{outcome:?}"
        );
        let (anew, _) = claim(Some(&record), &attempt(2, kind), end);
        assert_eq!(
            anew,
            Decision::Execute {
                lease_ends: end + LEASE
            },
            "{outcome:?}"
        );
    }
}

#[test]
fn an_upstream_that_deduplicates_may_be_asked_again_what_became_of_a_request() {
    let mut record = claimed(1, Executes);
    record.finish(1, &Outcome::Unknown, RETENTION, NOW);
    let (decision, _) = claim(Some(&record), &attempt(2, Deduplicates), NOW);
    assert_eq!(
        decision,
        Decision::Execute {
            lease_ends: NOW + LEASE
        }
    );
}

#[test]
fn debug_shows_neither_token_nor_key_nor_response() {
    let mut canary = attempt(987_654_321, Executes);
    canary.owner.key = IdempotencyKey::parse(b"canary").unwrap();
    canary.correlation_id = id(1);
    let mut record = claim(None, &canary, NOW).1.unwrap();
    let kept = KeptResponse {
        status: StatusCode::OK,
        headers: vec![(http::header::LOCATION, HeaderValue::from_static("/canary"))],
        body: Bytes::from_static(b"canary"),
        original: id(1),
    };
    let outcome = Outcome::Done(Arc::new(kept));
    record.finish(987_654_321, &outcome, RETENTION, NOW);
    let (replay, _) = claim(Some(&record), &canary, NOW);
    for shown in [
        format!("{canary:?}"),
        format!("{record:?}"),
        format!("{outcome:?}"),
        format!("{replay:?}"),
    ] {
        assert!(!shown.contains("987654321"), "{shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

fn claim(held: Option<&Record>, attempt: &Attempt, now: Timestamp) -> (Decision, Option<Record>) {
    Record::claim(held, attempt, now)
}

fn claimed(token: u128, upstream: UpstreamKind) -> Record {
    claim(None, &attempt(token, upstream), NOW).1.unwrap()
}

fn attempt(token: u128, upstream: UpstreamKind) -> Attempt {
    Attempt {
        owner: Owner {
            caller: Caller::new("live", "family"),
            key: IdempotencyKey::parse(b"key").unwrap(),
            token,
        },
        fingerprint: Fingerprint::from_bytes([1; 32]),
        correlation_id: id(token),
        lease: LEASE,
        retention: RETENTION,
        upstream,
    }
}

fn id(token: u128) -> CorrelationId {
    CorrelationId::parse(&HeaderValue::from_str(&format!("req_{token}")).unwrap()).unwrap()
}

fn done() -> Outcome {
    Outcome::Done(Arc::new(KeptResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Bytes::from_static(b"first"),
        original: id(1),
    }))
}
