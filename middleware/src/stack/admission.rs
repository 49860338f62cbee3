//! Limit and claim as one step at the store.

use std::future::Future;
use std::time::Duration;

use crate::error::{StoreError, StoreErrorKind};
use crate::guarded::Guarded;
use crate::idempotency::{Attempt, Decision, Records};
use crate::principal::{Caller, KeyVersion};
use crate::rate_limit::{Charge, Counters, Quota};
use crate::telemetry::StoreStep;

/// What the store says to a keyed request: to its charge, and to its claim. There is no
/// second answer where no claim was tried: for a request that is over its limit or was
/// judged by a record that has changed, and where the charge failed first.
pub type Admitted = (
    Result<Charge, StoreError>,
    Option<Result<Decision, StoreError>>,
);

/// Charges a request and claims its key.
///
/// Any store that counts and records can do so in two steps. One that can do both in
/// one round trip overrides [`admit`](Self::admit), says so in
/// [`is_one_step`](Self::is_one_step), and answers as the two steps would have (contract §8).
pub trait Admission: Counters + Records {
    /// Whether [`admit`](Self::admit) is one atomic step.
    fn is_one_step(&self) -> bool {
        false
    }

    /// Charges the request, provided that the key record is still in the state given, and
    /// claims its Idempotency-Key where it passes.
    fn admit(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: Option<KeyVersion<'_>>,
        attempt: &Attempt,
    ) -> impl Future<Output = Admitted> + Send {
        hit_then_claim(self, caller, quota, key, attempt)
    }
}

/// The two steps, one after the other.
pub(crate) async fn hit_then_claim<S>(
    store: &S,
    caller: &Caller,
    quota: &Quota,
    key: Option<KeyVersion<'_>>,
    attempt: &Attempt,
) -> Admitted
where
    S: Counters + Records,
{
    let charge = hit(store, caller, quota, key).await;
    let passes = |charge: &Charge| charge.verdict().is_some_and(|verdict| verdict.allowed);
    if !charge.as_ref().is_ok_and(passes) {
        return (charge, None);
    }
    let decision = store.claim(attempt).await;
    (charge, Some(decision))
}

/// Charges a request by the state of its key record, where that is kept beside counters.
pub(super) async fn hit<S: Counters>(
    store: &S,
    caller: &Caller,
    quota: &Quota,
    key: Option<KeyVersion<'_>>,
) -> Result<Charge, StoreError> {
    match key {
        Some(key) => store.hit_current(caller, quota, key).await,
        None => store.hit(caller, quota).await.map(Charge::Judged),
    }
}

// === impl Guarded ===

impl<S: Admission> Admission for Guarded<S> {
    fn is_one_step(&self) -> bool {
        self.store.is_one_step()
    }

    async fn admit(
        &self,
        caller: &Caller,
        quota: &Quota,
        key: Option<KeyVersion<'_>>,
        attempt: &Attempt,
    ) -> Admitted {
        if !self.store.is_one_step() {
            return hit_then_claim(self, caller, quota, key, attempt).await;
        }
        // A charge that failed is the breaker's business, as in two steps.
        let step = async {
            match self.store.admit(caller, quota, key, attempt).await {
                (Err(cause), None) => Err(cause),
                answers => Ok(answers),
            }
        };
        let cause = match self.guard(StoreStep::Admit, BOTH, step).await {
            Ok(answers) => return answers,
            Err(cause) => cause,
        };
        // The claim had its one try in the same step.
        let claim = match cause.kind() {
            StoreErrorKind::Full => None,
            StoreErrorKind::NotSent => Some(Err(StoreError::not_sent())),
            StoreErrorKind::Unanswered => Some(Err(StoreError::unanswered())),
        };
        (Err(cause), claim)
    }
}

/// As long as a claim may take (contract §7).
const BOTH: Duration = Duration::from_millis(200);
