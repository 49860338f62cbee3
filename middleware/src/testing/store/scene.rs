//! What the cases are made of: callers, attempts, outcomes, and times that may drift.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use tokio::task::JoinSet;

use super::Subject;
use crate::clock::Timestamp;
use crate::context::{CorrelationId, Fingerprint};
use crate::idempotency::{
    Attempt, Decision, IdempotencyKey, KeptResponse, Outcome, Owner, Preview, Records,
};
use crate::principal::Caller;
use crate::route::UpstreamKind;

pub(super) const WINDOW: Duration = Duration::from_secs(60);
pub(super) const LEASE: Duration = Duration::from_secs(10);
pub(super) const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// More than a process has threads that meet.
pub(super) const MANY: u32 = 200;

pub(super) fn caller(family: &str) -> Caller {
    Caller::new("live", family)
}

/// An attempt of one caller under one key, at an upstream that executes what it is sent.
pub(super) fn attempt(token: u128) -> Attempt {
    attempt_of("family", b"key", token)
}

pub(super) fn attempt_of(family: &str, key: &[u8], token: u128) -> Attempt {
    Attempt {
        owner: Owner {
            caller: caller(family),
            key: IdempotencyKey::parse(key).expect("the keys of the cases are keys"),
            token,
        },
        fingerprint: Fingerprint::from_bytes([1; 32]),
        correlation_id: id(token),
        lease: LEASE,
        retention: RETENTION,
        upstream: UpstreamKind::Executes,
    }
}

/// The same attempt at an upstream that de-duplicates.
pub(super) fn deduplicated(attempt: Attempt) -> Attempt {
    Attempt {
        upstream: UpstreamKind::Deduplicates,
        ..attempt
    }
}

pub(super) fn id(token: u128) -> CorrelationId {
    let value = HeaderValue::from_str(&format!("req_{token}"));
    CorrelationId::parse(&value.expect("digits are visible ASCII"))
        .expect("a short id of digits is admitted")
}

pub(super) fn kept(body: impl Into<Bytes>, token: u128) -> Arc<KeptResponse> {
    Arc::new(KeptResponse {
        status: StatusCode::OK,
        headers: vec![(
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("application/json"),
        )],
        body: body.into(),
        original: id(token),
    })
}

pub(super) fn done(token: u128) -> Outcome {
    Outcome::Done(kept("{}", token))
}

pub(super) fn outcomes(token: u128) -> [Outcome; 3] {
    [done(token), Outcome::NotStored, Outcome::Unknown]
}

/// What an attempt is told of an outcome.
pub(super) fn told(outcome: &Outcome, first: u128) -> Decision {
    let original = id(first);
    match outcome {
        Outcome::Done(response) => Decision::Replay(Arc::clone(response)),
        Outcome::NotStored => Decision::NotStored { original },
        Outcome::Unknown => Decision::Unknown { original },
    }
}

/// Claims and expects to be told to execute.
pub(super) async fn execute(store: &impl Records, attempt: &Attempt) -> Timestamp {
    match claim(store, attempt).await {
        Decision::Execute { lease_ends } => lease_ends,
        other => panic!("a free key was not claimed: {other:?}"),
    }
}

pub(super) async fn claim(store: &impl Records, attempt: &Attempt) -> Decision {
    store
        .claim(attempt)
        .await
        .expect("a store that works and has room answers")
}

pub(super) async fn look(store: &impl Records, attempt: &Attempt) -> Preview {
    store
        .peek_claim(attempt)
        .await
        .expect("a store that works and has room answers")
}

pub(super) async fn finish(store: &impl Records, owner: &Owner, outcome: &Outcome) -> bool {
    store
        .finish(owner, outcome, RETENTION)
        .await
        .expect("a store that works answers")
}

pub(super) async fn renew(store: &impl Records, owner: &Owner) -> bool {
    store
        .renew(owner, LEASE)
        .await
        .expect("a store that works answers")
}

pub(super) async fn release(store: &impl Records, owner: &Owner) -> bool {
    store
        .release(owner)
        .await
        .expect("a store that works answers")
}

pub(super) fn is_in_progress(decision: &Decision, first: u128) -> bool {
    matches!(decision, Decision::InProgress { original, .. } if *original == id(first))
}

pub(super) fn is_execute(decision: &Decision) -> bool {
    matches!(decision, Decision::Execute { .. })
}

/// Lets time pass until just before a moment that lies this far ahead.
pub(super) async fn advance_short_of<S: Subject>(subject: &S, ahead: Duration) {
    subject
        .advance(ahead - S::DRIFT.max(Duration::from_millis(1)))
        .await;
}

/// Expects a time to be the wanted one, or as much later as the clock may have drifted.
pub(super) fn assert_at<S: Subject>(found: Timestamp, wanted: Timestamp, what: &str) {
    let in_time = found >= wanted && found.since(wanted) <= S::DRIFT;
    assert!(in_time, "{what}: {found:?} is not {wanted:?}");
}

/// Expects a wait to be the wanted one, or as much shorter as the clock may have drifted.
pub(super) fn assert_wait<S: Subject>(found: Duration, wanted: Duration, what: &str) {
    let in_time = found <= wanted && wanted - found <= S::DRIFT;
    assert!(in_time, "{what}: {found:?} is not {wanted:?}");
}

/// Takes a step many times at the same moment, each with its number from 1.
pub(super) async fn at_once<F, T>(step: impl Fn(u32) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut steps = JoinSet::new();
    for number in 1..=MANY {
        steps.spawn(step(number));
    }
    steps.join_all().await
}
