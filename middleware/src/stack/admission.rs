//! Limit and claim as one step at the store.

use std::future::Future;
use std::time::Duration;

use crate::error::{StoreError, StoreErrorKind};
use crate::guarded::Guarded;
use crate::idempotency::{Attempt, Decision, Records};
use crate::principal::Caller;
use crate::rate_limit::{Counters, Quota, Verdict};

/// What the store says to a keyed request: to its charge, and to its claim. There is no
/// second answer where no claim was tried: for a request that is over its limit, and
/// where the charge failed first.
pub type Admitted = (
    Result<Verdict, StoreError>,
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

    /// Charges the request and, where it passes, claims its key.
    fn admit(
        &self,
        caller: &Caller,
        quota: &Quota,
        attempt: &Attempt,
    ) -> impl Future<Output = Admitted> + Send {
        hit_then_claim(self, caller, quota, attempt)
    }
}

/// The two steps, one after the other.
pub(crate) async fn hit_then_claim<S>(
    store: &S,
    caller: &Caller,
    quota: &Quota,
    attempt: &Attempt,
) -> Admitted
where
    S: Counters + Records,
{
    let verdict = store.hit(caller, quota).await;
    if !verdict.as_ref().is_ok_and(|verdict| verdict.allowed) {
        return (verdict, None);
    }
    let decision = store.claim(attempt).await;
    (verdict, Some(decision))
}

// === impl Guarded ===

impl<S: Admission> Admission for Guarded<S> {
    fn is_one_step(&self) -> bool {
        self.store.is_one_step()
    }

    async fn admit(&self, caller: &Caller, quota: &Quota, attempt: &Attempt) -> Admitted {
        if !self.store.is_one_step() {
            return hit_then_claim(self, caller, quota, attempt).await;
        }
        // A charge that failed is the breaker's business, as in two steps.
        let step = async {
            match self.store.admit(caller, quota, attempt).await {
                (Err(cause), None) => Err(cause),
                answers => Ok(answers),
            }
        };
        let cause = match self.guard(BOTH, step).await {
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
