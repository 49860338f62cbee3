//! What becomes of a request that arrives, at once or late.

use super::protocol::{Flaw, Protocol};
use super::record::Token;
use super::state::{Reply, Request, Stage, State};

impl State {
    /// An upstream that executes does so.
    pub(super) fn execute(&mut self, token: Token) {
        self.arrive(token);
        self.have_an_effect(token);
        self.reply(token, Reply::Executed(token));
    }

    /// The transaction of the insert begins: it takes the row of the key, and only then
    /// looks at the lease. Whoever holds the row makes the others wait.
    pub(super) fn insert(&mut self, token: Token, protocol: Protocol) {
        let Request::UnderWay { lease, .. } = self.attempts[token].request else {
            return;
        };
        self.arrive(token);
        match self.row {
            Some(first) if !protocol.breaks(Flaw::InsertsTwice) => {
                self.reply(token, Reply::Replayed(first));
            }
            _ if lease == 0 && !protocol.breaks(Flaw::InsertsPastTheLease) => {
                self.reply(token, Reply::LeaseEnded);
            }
            _ => self.transaction = Some(token),
        }
    }

    /// Row, response and effect become durable together.
    pub(super) fn commit(&mut self, token: Token) {
        self.transaction = None;
        self.row = self.row.or(Some(token));
        self.have_an_effect(token);
        self.reply(token, Reply::Executed(token));
    }

    /// Nothing of the transaction remains: refused by the domain, failed, or crashed.
    pub(super) fn roll_back(&mut self, token: Token, reply: Reply) {
        self.transaction = None;
        self.reply(token, reply);
    }

    /// The handler refuses, and holds no row meanwhile.
    pub(super) fn refuse(&mut self, token: Token) {
        self.arrive(token);
        self.reply(token, Reply::Refused);
    }

    fn arrive(&mut self, token: Token) {
        let request = &mut self.attempts[token].request;
        *request = match *request {
            Request::UnderWay { copies: 2, lease } => Request::UnderWay { copies: 1, lease },
            _ => Request::Arrived,
        };
    }

    fn have_an_effect(&mut self, token: Token) {
        self.effects[token] += 1;
        self.first = self.first.or(Some(token));
    }

    fn reply(&mut self, token: Token, reply: Reply) {
        if let Stage::Sent(heard) = &mut self.attempts[token].stage {
            *heard = Some(reply);
        }
    }
}
