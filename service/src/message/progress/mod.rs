//! The life of a message as a function: what happens to it turns one [`Progress`] into the next.
//!
//! Each method is one of the transitions T1 to T17, and whoever keeps messages loads a
//! `Progress`, calls one method, and writes it back in the same transaction. Nothing here
//! knows a store, a clock or a network, so that the rules can be driven in any order.

use std::time::Duration;

use vestibule::clock::Timestamp;

use super::{Failure, Policy, State};

/// How far a message has come, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// What becomes of it when nobody can tell whether it was sent.
    pub policy: Policy,
    /// How many attempts were recorded.
    pub attempts: u32,
    /// How often Meta has put it off.
    pub refusals: u32,
    /// When it may be sent; set while it waits, and only then.
    pub not_before: Option<Timestamp>,
    /// When it is not worth sending any more.
    pub expires_at: Timestamp,
    /// Until when an uncertain attempt may be confirmed, on the clock that stands still
    /// while webhooks are not taken in.
    pub reconcile_at: Option<Duration>,
    /// How long Meta tries to deliver it.
    pub lasts: Duration,
    /// The best that an attempt was heard of before which another one was made since.
    pub earlier: Option<State>,
    /// Meta's id.
    pub wamid: Option<Box<str>>,
    /// Why it failed, or why its last attempt did.
    pub failure: Option<Failure>,
    /// When Meta took it, or sent it on.
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    pub delivered_at: Option<Timestamp>,
    /// When it was read or played.
    pub read_at: Option<Timestamp>,
    /// When it failed.
    pub failed_at: Option<Timestamp>,
}

/// What an attempt leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Meta took it.
    Submitted,
    /// It is tried again.
    Retry {
        /// When.
        at: Timestamp,
        /// Whether Meta has judged it: what never reached Meta does not count.
        counts: bool,
    },
    /// It waits until its number, account or token may send again.
    Blocked {
        /// When it is due then.
        at: Timestamp,
    },
    /// It has failed.
    Failed(Failure),
    /// Only a webhook can tell.
    Uncertain,
}

// === impl Progress ===

impl Progress {
    /// A message that was just accepted (T1).
    pub const fn queued(
        policy: Policy,
        now: Timestamp,
        expires_at: Timestamp,
        lasts: Duration,
    ) -> Self {
        Self {
            state: State::Queued,
            policy,
            attempts: 0,
            refusals: 0,
            not_before: Some(now),
            expires_at,
            reconcile_at: None,
            lasts,
            earlier: None,
            wamid: None,
            failure: None,
            sent_at: None,
            delivered_at: None,
            read_at: None,
            failed_at: None,
        }
    }

    /// The moment at which it is given up where nothing happens until then: in the queue
    /// (T16), or on its way through Meta (T17).
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            State::Queued | State::RetryWait | State::Blocked => Some(self.expires_at),
            State::Submitted | State::Sent => Some(self.sent_at? + self.lasts + LAPSE_MARGIN),
            _ => None,
        }
    }

    /// An attempt is recorded; its number is returned (T2).
    pub fn depart(&mut self) -> u32 {
        self.attempts += 1;
        self.state = State::Dispatching;
        self.not_before = None;
        // What the attempt before this one failed of is over.
        self.failure = None;
        self.failed_at = None;
        self.attempts
    }

    /// It stays in the queue until then, for its turn.
    pub const fn put_off(&mut self, until: Timestamp) {
        self.not_before = Some(until);
    }

    /// An attempt has ended (T3 to T8). One that a restart or a webhook has judged before
    /// changes only what is still open: what is known from Meta is never taken back.
    pub fn settle(&mut self, attempt: u32, next: &Next, now: Timestamp, reconcile_at: Duration) {
        let is_open =
            attempt == self.attempts && matches!(self.state, State::Dispatching | State::Uncertain);
        match next {
            Next::Submitted => self.hear_life(attempt, State::Submitted, now),
            _ if !is_open => {}
            Next::Retry { at, counts } => {
                self.refusals += u32::from(*counts);
                self.wait(State::RetryWait, *at);
            }
            Next::Blocked { at } => self.wait(State::Blocked, *at),
            Next::Failed(failure) => self.fail(failure.clone(), now),
            Next::Uncertain => self.doubt(reconcile_at),
        }
    }

    /// Whoever made the last attempt is gone, and nobody knows how far it came (T9).
    pub fn abandon(&mut self, reconcile_at: Duration) {
        if self.state == State::Dispatching {
            self.doubt(reconcile_at);
        }
    }

    /// A status webhook spoke of one attempt (T10, T11, T14, T15). `retry_at` is set where
    /// the failure that it tells of passes by itself.
    ///
    /// Whatever the order in which the statuses come, the same state is reached. A failure
    /// of an attempt after which another was made says nothing; any sign of life of such an
    /// attempt outweighs the failure of the later one.
    pub fn hear(
        &mut self,
        attempt: u32,
        state: State,
        at: Timestamp,
        failure: Option<&Failure>,
        retry_at: Option<Timestamp>,
    ) {
        if state != State::Failed {
            self.hear_life(attempt, state, at);
        } else if attempt == self.attempts && self.earlier.is_none() {
            self.hear_failure(at, failure, retry_at);
        }
    }

    /// The time to confirm an uncertain attempt is over: the message has failed (T12), or is
    /// sent again where its sender prefers twice to never (T13).
    pub fn stop_confirming(&mut self, now: Timestamp) {
        if self.state != State::Uncertain {
            return;
        }
        let may_repeat = self.policy == Policy::AtLeastOnce
            && self.attempts < UNKNOWN_MAX
            && now < self.expires_at;
        if may_repeat {
            self.wait(State::RetryWait, now);
        } else {
            self.fail(outcome_unknown(), now);
            self.state = State::OutcomeUnknown;
        }
    }

    /// The time to send it, or to deliver it, is over (T16, T17).
    pub fn lapse(&mut self, now: Timestamp) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        if self.is_waiting() {
            self.fail(queue_expired(), now);
        } else {
            self.fail(expired(), now);
            self.state = State::Expired;
        }
    }

    /// It will not be sent: its window closed, or an operator cancelled it (T16).
    pub fn give_up(&mut self, failure: Failure, now: Timestamp) {
        if self.is_waiting() {
            self.fail(failure, now);
        }
    }

    /// An operator wants it sent again; refused where it is not known to have failed.
    ///
    /// # Errors
    ///
    /// Its state, where that is not [`Failed`](State::Failed), or, with `even_twice`, not a
    /// failure of any kind.
    pub fn repeat(
        &mut self,
        now: Timestamp,
        expires_at: Timestamp,
        even_twice: bool,
    ) -> Result<(), State> {
        let may_repeat = match self.state {
            State::Failed => true,
            State::OutcomeUnknown | State::Expired => even_twice,
            _ => false,
        };
        if !may_repeat {
            return Err(self.state);
        }
        self.expires_at = expires_at;
        self.refusals = 0;
        self.earlier = None;
        self.failure = None;
        self.failed_at = None;
        self.wait(State::Queued, now);
        Ok(())
    }

    /// Whether it is in the queue.
    pub const fn is_waiting(&self) -> bool {
        matches!(
            self.state,
            State::Queued | State::RetryWait | State::Blocked
        )
    }

    /// Whether one that was sent in order lets the next one go: it has arrived, or will not.
    pub fn is_out_of_the_way(&self) -> bool {
        matches!(
            self.state,
            State::OutcomeUnknown
                | State::Expired
                | State::Failed
                | State::Delivered
                | State::Read
                | State::Played
        )
    }

    /// Whether Meta has it under another id already: then it was sent twice.
    pub fn is_known_as_other(&self, wamid: &str) -> bool {
        self.wamid.as_deref().is_some_and(|known| known != wamid)
    }

    fn hear_failure(
        &mut self,
        at: Timestamp,
        failure: Option<&Failure>,
        retry_at: Option<Timestamp>,
    ) {
        self.failed_at = earliest(self.failed_at, at);
        self.failure = failure.cloned().or_else(|| self.failure.take());
        match (self.state, retry_at) {
            (State::Uncertain, Some(at)) => {
                self.refusals += 1;
                self.wait(State::RetryWait, at);
            }
            (State::RetryWait, Some(at)) => self.not_before = self.not_before.max(Some(at)),
            _ => self.advance(State::Failed),
        }
    }

    fn hear_life(&mut self, attempt: u32, state: State, at: Timestamp) {
        self.note(state, at);
        if attempt == self.attempts {
            // It waits because its attempt failed, on one device: then that it was sent is
            // no news, as it would be none had it come first.
            if self.state == State::RetryWait && self.failed_at.is_some() {
                self.advance(State::Failed);
            }
        } else {
            self.earlier = self.earlier.max(Some(state));
            if self.state <= State::Failed {
                self.state = State::Queued;
            }
        }
        self.advance(state);
    }

    fn note(&mut self, state: State, at: Timestamp) {
        self.sent_at = earliest(self.sent_at, at);
        match state {
            State::Delivered => self.delivered_at = earliest(self.delivered_at, at),
            State::Read | State::Played => self.read_at = earliest(self.read_at, at),
            _ => {}
        }
    }

    fn advance(&mut self, state: State) {
        self.state = self.state.advanced_to(state);
        self.not_before = None;
        self.reconcile_at = None;
    }

    fn wait(&mut self, state: State, at: Timestamp) {
        self.state = state;
        self.not_before = Some(at);
        self.reconcile_at = None;
    }

    fn doubt(&mut self, reconcile_at: Duration) {
        self.state = State::Uncertain;
        self.reconcile_at = self.reconcile_at.or(Some(reconcile_at));
    }

    fn fail(&mut self, failure: Failure, now: Timestamp) {
        self.state = State::Failed;
        self.not_before = None;
        self.reconcile_at = None;
        self.failure = Some(failure);
        self.failed_at = Some(now);
    }
}

// === impl Next ===

impl Next {
    /// The word for it, for the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Retry { .. } => "retry",
            Self::Blocked { .. } => "blocked",
            Self::Failed(_) => "failed",
            Self::Uncertain => "uncertain",
        }
    }
}

fn earliest(one: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(one.map_or(other, |one| one.min(other)))
}

fn outcome_unknown() -> Failure {
    Failure {
        code: "outcome_unknown".into(),
        message: "Nobody can tell whether WhatsApp took this message.".into(),
    }
}

fn expired() -> Failure {
    Failure {
        code: "expired".into(),
        message: "WhatsApp could not deliver the message in time.".into(),
    }
}

fn queue_expired() -> Failure {
    Failure {
        code: "queue_expired".into(),
        message: "The message could not be sent in time.".into(),
    }
}

/// Word of a failure may follow the end of the time to deliver by a little.
const LAPSE_MARGIN: Duration = Duration::from_secs(60 * 60);

/// A message whose sender prefers twice to never is not sent without end.
const UNKNOWN_MAX: u32 = 3;

#[cfg(test)]
mod tests;
