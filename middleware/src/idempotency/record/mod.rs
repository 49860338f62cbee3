//! The states of a keyed request, and every step between them: pure, with the time passed in.
//!
//! ```text
//!             claim                finish(done)
//!   absent ─────────► claimed ─────────────────► done ──┐
//!      ▲                │  │ finish(not stored) ► not stored ──┤ retention
//!      │   release      │  │ finish(unknown) ───► unknown ──┤
//!      └────────────────┘  └ the lease lapses: unknown,     │
//!      ▲                     or claimed by another token    │
//!      └────────────────────────────────────────────────────┘
//! ```
//!
//! The exhaustive model of the same steps is among the integration tests.

#[cfg(any(feature = "embedded", feature = "postgres", feature = "sqlite"))]
mod parts;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(any(feature = "embedded", feature = "postgres", feature = "sqlite"))]
pub(crate) use self::parts::Parts;
use super::key::IdempotencyKey;
use super::replay::KeptResponse;
use crate::clock::Timestamp;
use crate::context::{CorrelationId, Fingerprint};
use crate::principal::Caller;
use crate::route::UpstreamKind;

/// Who holds a claim: the caller, its key, and a token that no other attempt has.
#[derive(Clone)]
pub struct Owner {
    /// Whose key it is.
    pub caller: Caller,
    /// The key.
    pub key: IdempotencyKey,
    /// Compared at each step, never ordered.
    pub token: u128,
}

/// A request that asks to be executed under its key.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Who would hold the claim.
    pub owner: Owner,
    /// What is asked for.
    pub fingerprint: Fingerprint,
    /// The id that a later caller is told as the original one.
    pub correlation_id: CorrelationId,
    /// How long the claim holds unless it is renewed.
    pub lease: Duration,
    /// How long a record is kept once nothing can change it any more.
    pub retention: Duration,
    /// Decides what a lapsed lease means.
    pub upstream: UpstreamKind,
}

/// What is to be done with an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Execute it: the claim is yours until then.
    Execute {
        /// When the lease ends unless it is renewed.
        lease_ends: Timestamp,
    },
    /// Refuse it: the first one still runs.
    InProgress {
        /// The id of the first one.
        original: CorrelationId,
        /// How long its lease still runs.
        wait: Duration,
    },
    /// Refuse it: the key was used for another request.
    InUse {
        /// The id of that request.
        original: CorrelationId,
    },
    /// Answer it with what was kept.
    Replay(Arc<KeptResponse>),
    /// Refuse it: the first one was executed, and its response was not kept.
    NotStored {
        /// The id of the first one.
        original: CorrelationId,
    },
    /// Refuse it: nobody can know whether the first one was executed.
    Unknown {
        /// The id of the first one.
        original: CorrelationId,
    },
}

/// What a claim would come upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What it would be answered.
    pub decision: Decision,
    /// How long the record that lies under the key is kept yet; none where the key is free.
    pub kept_for: Option<Duration>,
}

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Executed, and its response is kept.
    Done(Arc<KeptResponse>),
    /// Executed, and its response could not be kept.
    NotStored,
    /// Nobody can know.
    Unknown,
}

/// What a store keeps under a caller's key.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    fingerprint: Fingerprint,
    original: CorrelationId,
    /// The attempt that made the last step, which it may repeat.
    token: u128,
    state: State,
    /// When the record may be forgotten.
    expires: Timestamp,
}

/// How far a record has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Somebody may be at it until then.
    Claimed { lease_ends: Timestamp },
    /// Only its retention can end it.
    Ended(Outcome),
}

// === impl Owner ===

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token proves ownership.
        f.debug_struct("Owner")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

// === impl Record ===

impl Record {
    /// Judges an attempt against what is kept; where it is to be executed, says what is
    /// kept from now on.
    pub fn claim(
        held: Option<&Self>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> (Decision, Option<Self>) {
        let Some(held) = held.filter(|held| !held.is_over(now)) else {
            return Self::claimed(attempt, now);
        };
        if held.fingerprint != attempt.fingerprint {
            return (
                Decision::InUse {
                    original: held.original.clone(),
                },
                None,
            );
        }
        let original = held.original.clone();
        match &held.state {
            State::Claimed { lease_ends } => match lease_left(*lease_ends, attempt.lease, now) {
                // The reply to this very claim was lost; it holds as it was made.
                Some(_) if held.token == attempt.owner.token => {
                    let lease_ends = *lease_ends;
                    (Decision::Execute { lease_ends }, None)
                }
                Some(wait) => (Decision::InProgress { original, wait }, None),
                None => held.lapsed(attempt, now),
            },
            State::Ended(Outcome::Done(response)) => (Decision::Replay(Arc::clone(response)), None),
            State::Ended(Outcome::NotStored) => (Decision::NotStored { original }, None),
            // The upstream knows what became of the first one; asking it again is safe.
            State::Ended(Outcome::Unknown) if attempt.upstream == UpstreamKind::Deduplicates => {
                Self::claimed(attempt, now)
            }
            State::Ended(Outcome::Unknown) => (Decision::Unknown { original }, None),
        }
    }

    /// What [`claim`](Self::claim) would come upon, and what would be kept from then on.
    pub fn preview(
        held: Option<&Self>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> (Preview, Option<Self>) {
        let (decision, kept) = Self::claim(held, attempt, now);
        let live = held.filter(|held| !held.is_over(now));
        let preview = Preview {
            decision,
            kept_for: live.map(|held| held.expires.since(now)),
        };
        (preview, kept)
    }

    /// Extends the lease; false where it has lapsed, another holds the claim or the
    /// execution has ended. What has lapsed may have been told to somebody, so it is not
    /// revived; it may still be finished.
    pub fn renew(&mut self, token: u128, lease: Duration, now: Timestamp) -> bool {
        match &mut self.state {
            State::Claimed { lease_ends }
                if self.token == token && lease_left(*lease_ends, lease, now).is_some() =>
            {
                // What is left for the record to be kept after a lapse moves along.
                self.expires = self.expires + (now + lease).since(*lease_ends);
                *lease_ends = now + lease;
                true
            }
            State::Claimed { .. } | State::Ended(_) => false,
        }
    }

    /// Ends the execution; false where another holds the claim. A repetition is a success
    /// and changes nothing.
    pub fn finish(
        &mut self,
        token: u128,
        outcome: &Outcome,
        retention: Duration,
        now: Timestamp,
    ) -> bool {
        if self.token != token {
            return false;
        }
        if let State::Claimed { .. } = self.state {
            self.state = State::Ended(outcome.clone());
            self.expires = now + retention;
        }
        true
    }

    /// Whether this owner may take the record away, as if nothing had been asked.
    pub fn releases(&self, token: u128) -> bool {
        self.token == token && matches!(self.state, State::Claimed { .. })
    }

    /// Whether this owner made the last step.
    pub fn is_of(&self, token: u128) -> bool {
        self.token == token
    }

    /// Whether this owner's execution has ended.
    pub fn has_ended(&self, token: u128) -> bool {
        self.is_of(token) && matches!(self.state, State::Ended(_))
    }

    /// The id of the request that made it.
    pub fn original(&self) -> &CorrelationId {
        &self.original
    }

    /// Whether the record may be forgotten.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires <= now
    }

    /// When the record may be forgotten.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Roughly how many bytes the record takes beside its key.
    pub fn weight(&self) -> usize {
        let kept = match &self.state {
            State::Ended(Outcome::Done(response)) => response.weight(),
            State::Claimed { .. } | State::Ended(_) => 0,
        };
        size_of::<Self>() + self.original.as_str().len() + kept
    }

    fn claimed(attempt: &Attempt, now: Timestamp) -> (Decision, Option<Self>) {
        let lease_ends = now + attempt.lease;
        let record = Self {
            fingerprint: attempt.fingerprint,
            original: attempt.correlation_id.clone(),
            token: attempt.owner.token,
            state: State::Claimed { lease_ends },
            expires: lease_ends + attempt.retention,
        };
        (Decision::Execute { lease_ends }, Some(record))
    }

    /// The owner of a claim has neither renewed nor ended it.
    fn lapsed(&self, attempt: &Attempt, now: Timestamp) -> (Decision, Option<Self>) {
        match attempt.upstream {
            UpstreamKind::Deduplicates => Self::claimed(attempt, now),
            UpstreamKind::Executes => (
                Decision::Unknown {
                    original: self.original.clone(),
                },
                None,
            ),
        }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("original", &self.original)
            .field("state", &self.state)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// How long a lease still runs. One that ends further ahead than a lease can be was
/// written under another clock, and has lapsed (contract §7).
fn lease_left(ends: Timestamp, lease: Duration, now: Timestamp) -> Option<Duration> {
    let left = ends.since(now);
    (left > Duration::ZERO && left <= lease + Timestamp::SKEW).then_some(left)
}

#[cfg(test)]
mod tests;
