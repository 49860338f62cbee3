//! Everything that can differ from one moment to the next: store, upstream, attempts, and what has happened.

use super::protocol::ATTEMPTS_MAX;
use super::record::{Admission, Lease, Record, Response, Settlement, Token};

/// One moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// At the store.
    pub(super) record: Record,
    /// The upstream's row for the key, committed with the effect it names.
    pub(super) row: Option<Response>,
    /// Whose transaction holds the row of the key, uncommitted.
    pub(super) transaction: Option<Token>,
    /// The caller's requests, in the order in which they are made.
    pub(super) attempts: [Attempt; ATTEMPTS_MAX],
    /// How many effects each attempt has had.
    pub(super) effects: [u8; ATTEMPTS_MAX],
    /// The first effect of all.
    pub(super) first: Option<Response>,
    /// Attempts that can no longer have an effect, by what the caller was told.
    pub(super) ruled_out: [bool; ATTEMPTS_MAX],
    /// Whether a response was ever kept.
    pub(super) was_kept: bool,
}

/// One request of the caller, and all that it has under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attempt {
    /// How far its front has come.
    pub(super) stage: Stage,
    /// The request to the upstream, which outlives its front.
    pub(super) request: Request,
    /// The last step towards the store, which outlives its front.
    pub(super) settlement: Option<Settlement>,
    /// What the caller was told.
    pub(super) answer: Option<Answer>,
    /// The attempts that had been granted their claim when this one was.
    pub(super) after: [bool; ATTEMPTS_MAX],
}

/// How far the front of an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// The request was not made yet.
    Waiting,
    /// A claim is under way; the store's reply may be.
    Claiming(Option<Admission>),
    /// Granted, nothing sent. The lease is the one that this front knows of.
    Holding(Lease),
    /// The request is with the upstream; its reply may be under way.
    Sent(Option<Reply>),
    /// Answered, or crashed.
    Over,
}

/// A request to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Request {
    /// It may never be.
    NotSent,
    /// Not there yet. The lease is the one inside the assertion.
    UnderWay { copies: u8, lease: Lease },
    /// No copy of it is left on the way.
    Arrived,
}

/// What the upstream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reply {
    /// Executed now: a 2xx, and from an upstream that executes also a 5xx.
    Executed(Response),
    /// A 5xx of an upstream that de-duplicates: the transaction was rolled back.
    Failed,
    /// 503: the lease in the assertion has ended.
    LeaseEnded,
    /// A 4xx: the handler would not.
    Refused,
    /// Executed before; the first response.
    Replayed(Response),
}

/// What the caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// The response to its own execution.
    First(Response),
    /// 409 `idempotency_key_in_progress`.
    InProgress,
    /// A definite no: a 4xx of the handler, or a 503 because nothing was executed.
    No,
    /// 409 `idempotency_response_not_stored`.
    NotStored,
    /// 409 `idempotency_outcome_unknown`.
    OutcomeUnknown,
    /// The response to an earlier execution.
    Replayed(Response),
    /// 500, 502 or 504 after the request was sent: it says nothing about the effect.
    Unavailable,
}

// === impl State ===

impl State {
    pub(super) const fn new() -> Self {
        Self {
            record: Record::Absent,
            row: None,
            transaction: None,
            attempts: [Attempt::new(); ATTEMPTS_MAX],
            effects: [0; ATTEMPTS_MAX],
            first: None,
            ruled_out: [false; ATTEMPTS_MAX],
            was_kept: false,
        }
    }

    /// A claim is granted: leave to have an effect, whatever an earlier grant had become.
    pub(super) fn grant(&mut self, token: Token, lease: Lease) {
        let granted = self.attempts.map(|attempt| attempt.was_granted());
        for attempt in &mut self.attempts {
            attempt.after[token] = false;
        }
        let attempt = &mut self.attempts[token];
        attempt.stage = Stage::Claiming(Some(Admission::Granted(lease)));
        attempt.after = granted;
        attempt.after[token] = false;
        self.ruled_out[token] = false;
    }

    /// Drops what can matter no more, so that states which differ in nothing else are one.
    pub(super) fn forget_the_past(&mut self) {
        for (token, attempt) in self.attempts.iter_mut().enumerate() {
            if attempt.stage != Stage::Over {
                continue;
            }
            attempt.after = [false; ATTEMPTS_MAX];
            let is_under_way = matches!(attempt.request, Request::UnderWay { .. });
            let is_open = is_under_way || self.transaction == Some(token);
            // An effect that was ruled out stays to be seen.
            self.ruled_out[token] &= is_open || self.effects[token] > 0;
        }
    }

    /// Time passes: every lease comes nearer to its end.
    pub(super) fn tick(&mut self) {
        self.record = self.record.tick();
        for attempt in &mut self.attempts {
            attempt.tick();
        }
    }
}

// === impl Attempt ===

impl Attempt {
    const fn new() -> Self {
        Self {
            stage: Stage::Waiting,
            request: Request::NotSent,
            settlement: None,
            answer: None,
            after: [false; ATTEMPTS_MAX],
        }
    }

    /// Ends the front's part in it.
    pub(super) fn end(&mut self, settlement: Option<Settlement>, answer: Answer) {
        self.stage = Stage::Over;
        self.settlement = settlement;
        self.answer = Some(answer);
    }

    /// Whether the store has ever let it go on, as far as its front can find out.
    pub(super) fn was_granted(&self) -> bool {
        self.request != Request::NotSent
            || matches!(
                self.stage,
                Stage::Holding(_) | Stage::Claiming(Some(Admission::Granted(_)))
            )
    }

    fn tick(&mut self) {
        if let Stage::Claiming(Some(Admission::Granted(lease))) | Stage::Holding(lease) =
            &mut self.stage
        {
            *lease = lease.saturating_sub(1);
        }
        if let Request::UnderWay { lease, .. } = &mut self.request {
            *lease = lease.saturating_sub(1);
        }
    }
}
