//! What is configured of the numbers that send: whose they are, and how fast they may be.

use std::collections::HashMap;

use crate::cloud_api::Scope;

/// A number that sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Meta's id of the number.
    pub phone_number_id: Box<str>,
    /// Meta's id of the account that it belongs to; numbers without one share one.
    pub account: Box<str>,
    /// A fingerprint of the token that it is sent with: another token is another hope.
    pub token: Box<str>,
    /// Meta's throughput, messages a second.
    pub per_second: u32,
    /// How many messages in a row one customer may be sent at once.
    pub burst: u32,
}

/// Every number that is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    by_number: HashMap<Box<str>, Line>,
    token: Box<str>,
}

// === impl Lines ===

impl Lines {
    /// These numbers, sent with a token of this fingerprint.
    pub fn new(token: &str, lines: impl IntoIterator<Item = Line>) -> Self {
        let by_number = lines
            .into_iter()
            .map(|line| (line.phone_number_id.clone(), line))
            .collect();
        Self {
            by_number,
            token: token.into(),
        }
    }

    /// The number of this id. One that is not configured any more may still have messages
    /// in the queue, and Meta decides about those.
    pub fn line(&self, phone_number_id: &str) -> Line {
        self.by_number
            .get(phone_number_id)
            .cloned()
            .unwrap_or_else(|| Line {
                phone_number_id: phone_number_id.into(),
                account: "".into(),
                token: self.token.clone(),
                per_second: PER_SECOND,
                burst: BURST,
            })
    }
}

// === impl Line ===

impl Line {
    /// The name under which a scope is held; messages and pairs are not.
    pub fn name(&self, scope: Scope) -> Option<Box<str>> {
        match scope {
            Scope::Message | Scope::Pair => None,
            Scope::Number => Some(format!("number:{}", self.phone_number_id).into()),
            Scope::Account => Some(format!("account:{}", self.account).into()),
            Scope::App => Some("app".into()),
            Scope::Token => Some(format!("token:{}", self.token).into()),
        }
    }

    /// The names of every scope that it is in.
    pub fn names(&self) -> [Box<str>; 4] {
        [Scope::Number, Scope::Account, Scope::App, Scope::Token]
            .map(|scope| self.name(scope).expect("each of these has a name"))
    }
}

/// Meta's default.
pub const PER_SECOND: u32 = 80;

/// Meta lets through 45 and then asks for the time that they would have taken: more than a
/// few in a row is for those who want it.
pub const BURST: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_account_share_its_holds() {
        let line = |id: &str, account: &str| Line {
            phone_number_id: id.into(),
            account: account.into(),
            token: "t".into(),
            per_second: 80,
            burst: 5,
        };
        let lines = Lines::new("t", [line("1", "a"), line("2", "a"), line("3", "b")]);
        for (one, other, scope, shared) in [
            ("1", "2", Scope::Account, true),
            ("1", "3", Scope::Account, false),
            ("1", "2", Scope::Number, false),
            ("1", "3", Scope::Token, true),
            ("1", "gone", Scope::App, true),
            ("1", "gone", Scope::Token, true),
        ] {
            let is_same = lines.line(one).name(scope) == lines.line(other).name(scope);
            assert_eq!(is_same, shared, "{one} {other} {scope:?}");
        }
        assert_eq!(lines.line("1").name(Scope::Pair), None);
        assert_eq!(lines.line("gone").per_second, PER_SECOND);
    }
}
