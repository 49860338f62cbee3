//! Ending a claim in the transaction of its effect (contract §6).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::key::IdempotencyKey;
use super::record::{Outcome, Owner, Record};
use super::replay::KeptResponse;
use crate::clock::Timestamp;
use crate::context::{Claim, CorrelationId};
use crate::error::{self, ApiError, StoreError};

/// A connection to the database in which the records lie.
///
/// [`Claim::finish`] asks it once, within the transaction of a handler; the store whose
/// records they are implements it. What it writes counts only once that transaction is
/// committed. It must be judged by [`Record::commit`] on what lies there now, under a lock
/// that lasts as long as the transaction: if two owners of one key both passed, the effect
/// would be there twice. A database that fails is an error, and the handler rolls back.
pub trait RecordsConnection: Send {
    /// Ends the execution, if the claim is still its owner's.
    fn commit(&mut self, commit: &Commit) -> impl Future<Output = Result<(), FinishError>> + Send;
}

/// What a transaction is to say of the claim under which it is made.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Who holds the claim.
    pub owner: Owner,
    /// How the execution ended.
    pub outcome: Outcome,
    /// How long that is kept.
    pub retention: Duration,
    /// The time, for a database that is not asked for its own.
    pub now: Timestamp,
}

/// Why a claim was not finished. The transaction is to be rolled back.
///
/// As an [`ApiError`] it tells the caller to come again: by then it is known what became of
/// the request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// The lease had lapsed, and another request holds the claim.
    #[error("another request has taken the claim over")]
    TakenOver {
        /// The id of that request.
        original: CorrelationId,
    },
    /// It was finished before, by a transaction that was committed.
    #[error("the claim was finished before")]
    Ended {
        /// The id of this very request.
        original: CorrelationId,
    },
    /// It was taken back, as when the time for the request was up.
    #[error("the claim was taken back")]
    Gone,
    /// Its record is kept by the layers of another process.
    #[error("the record of the claim is kept elsewhere")]
    Elsewhere,
    /// A response of this status is never kept.
    #[error("a response of status {0} is never kept")]
    NeverKept(StatusCode),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Claim ===

impl Claim {
    /// Ends the claim in a transaction of yours: if it is committed, the effect and the
    /// response that is kept for repetitions are both there, and otherwise neither is.
    ///
    /// The records must lie in the same database. Return this very response once the
    /// transaction is committed; a repetition is answered with its status, its body and
    /// those of its headers that are kept. The route's policy is
    /// [`transactional`](crate::route::Policy::transactional).
    ///
    /// Whoever holds the token may finish, even if the lease has run out while the
    /// transaction was waited for: nobody can have taken it over unnoticed, because that
    /// changes the token in the same database.
    ///
    /// # Errors
    ///
    /// [`FinishError`] where the claim is no longer this request's. Roll back then.
    pub async fn finish<C, B>(
        &self,
        transaction: &mut C,
        response: &Response<B>,
    ) -> Result<(), FinishError>
    where
        C: RecordsConnection + ?Sized,
        B: AsRef<[u8]> + Sync,
    {
        let commit = self.commit(response)?;
        transaction.commit(&commit).await
    }

    fn commit<B: AsRef<[u8]>>(&self, response: &Response<B>) -> Result<Commit, FinishError> {
        let terms = self.terms.as_ref().ok_or(FinishError::Elsewhere)?;
        if error::is_passing(response.status()) {
            return Err(FinishError::NeverKept(response.status()));
        }
        let body = response.body().as_ref();
        let outcome = if body.len() <= terms.kept_bytes {
            Outcome::Done(Arc::new(KeptResponse::new(
                response.status(),
                response.headers(),
                Bytes::copy_from_slice(body),
                &terms.kept_headers,
                terms.correlation_id.clone(),
            )))
        } else {
            Outcome::NotStored
        };
        let owner = Owner {
            caller: terms.caller.clone(),
            key: IdempotencyKey::parse(&self.idempotency_key)
                .expect("the layers claim what they have read as a key"),
            token: self.token,
        };
        Ok(Commit {
            owner,
            outcome,
            retention: terms.retention,
            now: terms.clock.now(),
        })
    }
}

// === impl Record ===

impl Record {
    /// Ends a claim together with its effect, and says what is kept from now on.
    ///
    /// Unlike [`finish`](Self::finish) it cannot be repeated: with a second transaction
    /// there would be a second effect. Nor does the lease matter: a claim that has lapsed
    /// without being taken over has nobody else who could execute it.
    ///
    /// # Errors
    ///
    /// [`FinishError`] where the claim is not this owner's to end.
    pub fn commit(held: Option<&Self>, commit: &Commit) -> Result<Self, FinishError> {
        let held = held.ok_or(FinishError::Gone)?;
        let (token, original) = (commit.owner.token, held.original().clone());
        if held.releases(token) {
            let mut ended = held.clone();
            ended.finish(token, &commit.outcome, commit.retention, commit.now);
            return Ok(ended);
        }
        Err(if held.is_of(token) {
            FinishError::Ended { original }
        } else {
            FinishError::TakenOver { original }
        })
    }
}

// === impl FinishError ===

impl From<FinishError> for ApiError {
    fn from(error: FinishError) -> Self {
        match error {
            FinishError::TakenOver { original } | FinishError::Ended { original } => {
                Self::idempotency_key_in_progress(original.as_str(), SOON)
            }
            FinishError::Gone | FinishError::Store(_) => {
                tracing::warn!(%error, "a claim was not finished; its transaction is rolled back");
                Self::idempotency_store_unavailable()
            }
            FinishError::Elsewhere | FinishError::NeverKept(_) => {
                tracing::error!(%error, "a handler finishes a claim that it cannot finish");
                Self::internal()
            }
        }
    }
}

/// When the transaction that was ahead has most often been committed.
const SOON: Duration = Duration::from_secs(1);
