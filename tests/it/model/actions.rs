//! Who may do what next: the protocol as a state machine.

use stateright::{Model, Property};

use super::properties;
use super::protocol::{Flaw, Protocol};
use super::record::{Admission, LEASE, Record, Settlement, Token};
use super::state::{Reply, Request, Stage, State};

/// One step of one party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    // The caller makes its request, and the front sends a claim.
    Begin(Token),
    // At the store; each step may arrive late, never, or more than once.
    Claim(Token),
    Renew(Token),
    Finish(Token),
    Release(Token),
    // At the front.
    HearTheStore(Token),
    Send(Token),
    Resend(Token),
    FindNobody(Token),
    HearTheUpstream { token: Token, fits: bool },
    GiveUp(Token),
    Crash(Token),
    // At an upstream that executes.
    Execute(Token),
    Refuse(Token),
    // At an upstream that de-duplicates.
    Insert(Token),
    Commit(Token),
    RollBack(Token),
    RollBackRefused(Token),
    // Nobody's.
    Tick,
    LoseTheRecord,
}

// === impl Protocol ===

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Tick);
        if self.store_loses {
            actions.push(Action::LoseTheRecord);
        }
        let begun = |attempt: usize| state.attempts[attempt].stage != Stage::Waiting;
        for token in 0..self.attempts {
            if begun(token) {
                store_steps(state, token, actions);
                self.front_steps(state, token, actions);
                self.upstream_steps(state, token, actions);
            } else if token == 0 || begun(token - 1) {
                // Attempts differ by nothing but their token, so one order stands for all.
                actions.push(Action::Begin(token));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = *last;
        self.apply(&mut next, action);
        next.was_kept |= matches!(next.record, Record::Done(_));
        next.forget_the_past();
        (next != *last).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self.upstream)
    }
}

impl Protocol {
    fn front_steps(&self, state: &State, token: Token, actions: &mut Vec<Action>) {
        let under_way = matches!(state.attempts[token].request, Request::UnderWay { .. });
        match state.attempts[token].stage {
            Stage::Waiting | Stage::Over => return,
            Stage::Claiming(None) => {}
            Stage::Claiming(Some(_)) => actions.push(Action::HearTheStore(token)),
            Stage::Holding(_) => {
                actions.extend([Action::Send(token), Action::FindNobody(token)]);
            }
            Stage::Sent(None) if self.resends && under_way => actions.push(Action::Resend(token)),
            Stage::Sent(None) => {}
            Stage::Sent(Some(Reply::Executed(_) | Reply::Replayed(_))) => {
                let hear = |fits| Action::HearTheUpstream { token, fits };
                actions.extend([true, false].map(hear));
            }
            Stage::Sent(Some(_)) => actions.push(Action::HearTheUpstream { token, fits: true }),
        }
        if !matches!(state.attempts[token].stage, Stage::Holding(_)) {
            actions.push(Action::GiveUp(token));
        }
        actions.push(Action::Crash(token));
    }

    fn upstream_steps(&self, state: &State, token: Token, actions: &mut Vec<Action>) {
        let under_way = matches!(state.attempts[token].request, Request::UnderWay { .. });
        if !self.deduplicates() {
            if under_way {
                actions.extend([Action::Execute(token), Action::Refuse(token)]);
            }
            return;
        }
        if under_way && state.transaction.is_none() {
            actions.push(Action::Insert(token));
        }
        if under_way && self.breaks(Flaw::RefusesWithoutTheRow) {
            actions.push(Action::Refuse(token));
        }
        if state.transaction == Some(token) {
            actions.extend([
                Action::Commit(token),
                Action::RollBack(token),
                Action::RollBackRefused(token),
            ]);
        }
    }

    fn apply(&self, state: &mut State, action: Action) {
        match action {
            Action::Begin(token) => state.attempts[token].stage = Stage::Claiming(None),
            Action::Claim(token) => self.claim(state, token),
            Action::Renew(token) => self.renew(state, token),
            Action::Finish(token) | Action::Release(token) => self.settle(state, token),
            Action::HearTheStore(token) => state.hear_the_store(token),
            Action::Send(token) => state.send(token, *self),
            Action::Resend(token) => state.resend(token),
            Action::FindNobody(token) => state.find_nobody(token),
            Action::HearTheUpstream { token, fits } => state.hear_the_upstream(token, fits),
            Action::GiveUp(token) => state.give_up(token, *self),
            Action::Crash(token) => state.attempts[token].stage = Stage::Over,
            Action::Execute(token) => state.execute(token),
            Action::Refuse(token) => state.refuse(token),
            Action::Insert(token) => state.insert(token, *self),
            Action::Commit(token) => state.commit(token),
            Action::RollBack(token) => state.roll_back(token, Reply::Failed),
            Action::RollBackRefused(token) => state.roll_back(token, Reply::Refused),
            Action::Tick => state.tick(),
            Action::LoseTheRecord => {
                state.record = Record::Absent;
                state.was_kept = false;
            }
        }
    }

    fn claim(&self, state: &mut State, token: Token) {
        let (record, admission) = state.record.claim(token, *self);
        state.record = record;
        match (state.attempts[token].stage, admission) {
            (Stage::Claiming(_), Admission::Granted(lease)) => state.grant(token, lease),
            (Stage::Claiming(_), _) => {
                state.attempts[token].stage = Stage::Claiming(Some(admission));
            }
            _ => {}
        }
    }

    /// The front goes by a renewal only while the lease it knows of still runs: past it, a
    /// claim that came late may have been granted to the same token anew.
    fn renew(&self, state: &mut State, token: Token) {
        let renewed = state.record.renew(token);
        let is_ours = renewed
            == Record::Claimed {
                token,
                lease: LEASE,
            };
        state.record = renewed;
        let too_late_is_fine = self.breaks(Flaw::HearsARenewalTooLate);
        match &mut state.attempts[token].stage {
            Stage::Holding(known) if is_ours && (*known > 0 || too_late_is_fine) => *known = LEASE,
            _ => {}
        }
    }

    fn settle(&self, state: &mut State, token: Token) {
        state.record = match state.attempts[token].settlement {
            Some(Settlement::Finish(outcome)) => state.record.finish(token, outcome, *self),
            Some(Settlement::Release) => state.record.release(token, *self),
            None => state.record,
        };
    }
}

/// Whatever was sent to the store may arrive, now or again.
fn store_steps(state: &State, token: Token, actions: &mut Vec<Action>) {
    let attempt = &state.attempts[token];
    actions.push(Action::Claim(token));
    if !matches!(attempt.stage, Stage::Claiming(_)) {
        actions.push(Action::Renew(token));
    }
    match attempt.settlement {
        Some(Settlement::Finish(_)) => actions.push(Action::Finish(token)),
        Some(Settlement::Release) => actions.push(Action::Release(token)),
        None => {}
    }
}
