//! What the process does that serves an attempt: the layer, up to the answer.

use super::protocol::{AfterACut, Flaw, Protocol, Upstream};
use super::record::{Admission, Outcome, Settlement, Token};
use super::state::{Answer, Reply, Request, Stage, State};

impl State {
    /// The store's reply to the claim is heard.
    pub(super) fn hear_the_store(&mut self, token: Token) {
        let Stage::Claiming(Some(admission)) = self.attempts[token].stage else {
            return;
        };
        let answer = match admission {
            Admission::Granted(lease) => {
                self.attempts[token].stage = Stage::Holding(lease);
                return;
            }
            Admission::InProgress => Answer::InProgress,
            Admission::NotStored => Answer::NotStored,
            Admission::OutcomeUnknown => Answer::OutcomeUnknown,
            Admission::Replay(response) => Answer::Replayed(response),
        };
        self.attempts[token].end(None, answer);
        self.ruled_out[token] = true;
    }

    /// The request goes to the upstream. Whether the lease still runs is not asked: a
    /// process can stop between asking and sending.
    pub(super) fn send(&mut self, token: Token, protocol: Protocol) {
        let attempt = &mut self.attempts[token];
        let Stage::Holding(known) = attempt.stage else {
            return;
        };
        let lease = match protocol.upstream {
            Upstream::Deduplicates => {
                known + u8::from(protocol.breaks(Flaw::UpstreamClockIsBehind))
            }
            Upstream::Executes => 0,
        };
        attempt.stage = Stage::Sent(None);
        attempt.request = Request::UnderWay { copies: 1, lease };
    }

    /// The connection died with the request on it, and it is sent on another.
    pub(super) fn resend(&mut self, token: Token) {
        if let Request::UnderWay { copies, .. } = &mut self.attempts[token].request {
            *copies = COPIES_MAX;
        }
    }

    /// Nothing could be sent: the claim is released and the caller told so.
    pub(super) fn find_nobody(&mut self, token: Token) {
        self.attempts[token].end(Some(Settlement::Release), Answer::No);
        self.ruled_out[token] = true;
    }

    /// The upstream's reply is heard, and kept where it is one to keep.
    pub(super) fn hear_the_upstream(&mut self, token: Token, fits: bool) {
        let Stage::Sent(Some(reply)) = self.attempts[token].stage else {
            return;
        };
        let keep = |response| {
            let outcome = if fits {
                Outcome::Done(response)
            } else {
                Outcome::Unkept
            };
            Settlement::Finish(outcome)
        };
        let (settlement, answer) = match reply {
            Reply::Executed(response) => (keep(response), Answer::First(response)),
            Reply::Replayed(response) => (keep(response), Answer::Replayed(response)),
            Reply::Failed => (Settlement::Release, Answer::Unavailable),
            Reply::LeaseEnded | Reply::Refused => (Settlement::Release, Answer::No),
        };
        match reply {
            Reply::LeaseEnded => self.ruled_out[token] = true,
            Reply::Replayed(response) => self.ruled_out[token] = response != token,
            Reply::Refused => self.rule_out_until(token),
            Reply::Executed(_) | Reply::Failed => {}
        }
        self.attempts[token].end(Some(settlement), answer);
    }

    /// The front waits no longer, for the store or for the upstream.
    pub(super) fn give_up(&mut self, token: Token, protocol: Protocol) {
        if matches!(self.attempts[token].stage, Stage::Claiming(_)) {
            // The claim may have gone through, so it is released in the background.
            self.find_nobody(token);
            return;
        }
        let settlement = self.after_a_cut(token, protocol);
        self.attempts[token].end(settlement, Answer::Unavailable);
    }

    /// Released early, a claim could be granted to a repeat whose request is refused,
    /// while this one is still on its way and would be admitted.
    fn after_a_cut(&self, token: Token, protocol: Protocol) -> Option<Settlement> {
        if !protocol.deduplicates() && !protocol.breaks(Flaw::ReleasesTheUnknown) {
            return Some(Settlement::Finish(Outcome::Unknown));
        }
        let request = self.attempts[token].request;
        let may_still_be_admitted = matches!(request, Request::UnderWay { lease, .. } if lease > 0);
        let lapses = protocol.after_a_cut == AfterACut::Lapses && may_still_be_admitted;
        (!lapses).then_some(Settlement::Release)
    }

    /// A 4xx is a verdict on the key: what was granted before may have no effect either.
    fn rule_out_until(&mut self, token: Token) {
        let earlier = self.attempts[token].after;
        for (ruled_out, is_earlier) in self.ruled_out.iter_mut().zip(earlier) {
            *ruled_out |= is_earlier;
        }
        self.ruled_out[token] = true;
    }
}

/// The first may be on a dead connection, the second is on a fresh one.
const COPIES_MAX: u8 = 2;
