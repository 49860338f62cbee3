//! The record of the key at the store, and its four steps: what `vestibule::idempotency` decides, in small.

use super::protocol::{Flaw, Protocol};

/// Which attempt holds a claim; compared, never ordered.
pub(super) type Token = usize;

/// Ticks until a lease ends; at 0 it has lapsed.
pub(super) type Lease = u8;

/// A response, named after the attempt whose effect it reports.
pub(super) type Response = Token;

/// What the store holds under the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Record {
    /// Never claimed, or released.
    Absent,
    /// Being executed, as far as anybody knows.
    Claimed { token: Token, lease: Lease },
    /// Executed; the response is replayed.
    Done(Response),
    /// Sent, and nobody can know.
    Unknown,
    /// Executed; the response could not be kept.
    Unkept,
}

/// What the store answers to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Admission {
    /// Go on; the lease runs for so long.
    Granted(Lease),
    /// 409: the first request still runs.
    InProgress,
    /// 409: executed, its response was not kept.
    NotStored,
    /// 409: nobody knows.
    OutcomeUnknown,
    /// The first response.
    Replay(Response),
}

/// What a front tells the store at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Settlement {
    /// `finish` with a response, or with the reason why there is none.
    Finish(Outcome),
    /// `release`.
    Release,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// With this response.
    Done(Response),
    /// In a cut or a timeout.
    Unknown,
    /// With a response that is too large to keep.
    Unkept,
}

// === impl Record ===

impl Record {
    /// Admits a request, or says why not. Recognises a live claim of the same token.
    pub(super) fn claim(self, token: Token, protocol: Protocol) -> (Self, Admission) {
        let lapsed_is_free = protocol.deduplicates() || protocol.breaks(Flaw::TakesOverTheUnknown);
        let refused = match self {
            Self::Claimed {
                token: holder,
                lease,
            } if lease > 0 && holder == token => {
                return (self, Admission::Granted(lease));
            }
            Self::Claimed { lease, .. } if lease > 0 => Admission::InProgress,
            Self::Claimed { .. } if !lapsed_is_free => Admission::OutcomeUnknown,
            Self::Absent | Self::Claimed { .. } => {
                let lease = LEASE;
                return (Self::Claimed { token, lease }, Admission::Granted(lease));
            }
            Self::Done(response) => Admission::Replay(response),
            Self::Unknown => Admission::OutcomeUnknown,
            Self::Unkept => Admission::NotStored,
        };
        (self, refused)
    }

    /// Lengthens a lease that still runs. A lapsed one is not revived: somebody may
    /// have been told that its outcome is unknown.
    pub(super) fn renew(self, token: Token) -> Self {
        match self {
            Self::Claimed {
                token: holder,
                lease,
            } if holder == token && lease > 0 => Self::Claimed {
                token,
                lease: LEASE,
            },
            other => other,
        }
    }

    /// Keeps how the execution ended. A lapsed claim that nobody took over may still be
    /// finished: its response is the first one.
    pub(super) fn finish(self, token: Token, outcome: Outcome, protocol: Protocol) -> Self {
        if !self.is_held_by(token) && !protocol.breaks(Flaw::FinishesForAnyone) {
            return self;
        }
        match outcome {
            Outcome::Done(response) => Self::Done(response),
            Outcome::Unknown => Self::Unknown,
            Outcome::Unkept => Self::Unkept,
        }
    }

    /// Makes the key free again.
    pub(super) fn release(self, token: Token, protocol: Protocol) -> Self {
        if self.is_held_by(token) || protocol.breaks(Flaw::ReleasesForAnyone) {
            Self::Absent
        } else {
            self
        }
    }

    /// The same record one tick later.
    pub(super) fn tick(self) -> Self {
        match self {
            Self::Claimed { token, lease } => Self::Claimed {
                token,
                lease: lease.saturating_sub(1),
            },
            other => other,
        }
    }

    fn is_held_by(self, token: Token) -> bool {
        matches!(self, Self::Claimed { token: holder, .. } if holder == token)
    }
}

/// Two ticks, so that a renewal can come between the claim and its end.
pub(super) const LEASE: Lease = 2;
