//! The ground truth: every accepted send, whether or not its answer arrived.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// Every accepted send, in order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    rows: Vec<Row>,
}

/// One accepted send.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// 1 for the first accepted send.
    pub(crate) seq: u64,
    pub(crate) wamid: String,
    pub(crate) pnid: String,
    /// `biz_opaque_callback_data`.
    pub(crate) token: Option<String>,
    /// SHA-256 of the request body, in hex.
    pub(crate) body_sha256: String,
    /// Digits of the phone number, or the user id it was sent to.
    pub(crate) to: String,
    #[serde(rename = "type")]
    pub(crate) message_type: String,
    pub(crate) accepted_at_ms: u64,
    /// Whether the user had written within the last 24 hours.
    pub(crate) is_window_open: bool,
    pub(crate) response_fate: Fate,
    /// The statuses that apps were told of, in the order in which they were.
    pub(crate) told: Vec<&'static str>,
    /// The code of the failure that they were told of.
    pub(crate) failed_with: Option<u32>,
}

/// What became of the answer to a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// It was handed to the connection.
    Answered,
    /// A fault kept it back until the client gave up.
    Hung,
    /// A fault reset the connection in its place.
    Reset,
    /// A fault cut its body short.
    Truncated,
    /// Not yet answered, or the client had left.
    Unanswered,
}

/// What a look-up asks for; what is absent matches everything.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pub(crate) token: Option<String>,
    pub(crate) to: Option<String>,
}

/// The ledger holds no more: it must forget nothing, so it accepts nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

// === impl Ledger ===

impl Ledger {
    /// The number of the next row, or that there is no room for one.
    pub(crate) fn next_seq(&self) -> Result<u64, Full> {
        if self.rows.len() >= MAX_ROWS {
            return Err(Full);
        }
        Ok(self.rows.len() as u64 + 1)
    }

    /// How many rows there are.
    pub(crate) const fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Writes a row.
    pub(crate) fn append(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Notes what became of the answer.
    pub(crate) fn settle(&mut self, wamid: &str, fate: Fate) {
        let row = self.rows.iter_mut().rev().find(|row| row.wamid == wamid);
        if let Some(row) = row {
            row.response_fate = fate;
        }
    }

    /// Notes a status that apps are told of.
    pub(crate) fn note(&mut self, wamid: &str, word: &'static str, code: Option<u32>) {
        let row = self.rows.iter_mut().rev().find(|row| row.wamid == wamid);
        if let Some(row) = row {
            row.told.push(word);
            row.failed_with = row.failed_with.or(code);
        }
    }

    /// The rows that match.
    pub(crate) fn matching(&self, query: &Query) -> Vec<&Row> {
        let to = query.to.as_deref().map(without_punctuation);
        self.rows
            .iter()
            .filter(|row| query.token.is_none() || row.token == query.token)
            .filter(|row| to.as_ref().is_none_or(|to| *to == row.to))
            .collect()
    }

    /// The messages that were accepted more than once, by the id inside their tokens.
    pub(crate) fn duplicates(&self) -> Value {
        let mut messages = BTreeMap::<&str, Vec<&Row>>::new();
        let mut untracked = 0;
        for row in &self.rows {
            match row.token.as_deref().and_then(message_id) {
                Some(id) => messages.entry(id).or_default().push(row),
                None => untracked += 1,
            }
        }
        let tracked = messages.len();
        let duplicates: Vec<Value> = messages
            .into_iter()
            .filter(|(_, rows)| rows.len() > 1)
            .map(|(id, rows)| json!({"message_id": id, "count": rows.len(), "rows": rows}))
            .collect();
        json!({"messages": tracked, "untracked": untracked, "duplicates": duplicates})
    }
}

/// The message id in a token `m1.<message_id>.<n>.<tag>`.
fn message_id(token: &str) -> Option<&str> {
    let mut parts = token.split('.');
    let (version, id, attempt, tag) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_ours = version == "m1"
        && !id.is_empty()
        && !attempt.is_empty()
        && !tag.is_empty()
        && parts.next().is_none();
    is_ours.then_some(id)
}

/// A phone number as Meta writes it; whatever else stays as it is.
pub(crate) fn without_punctuation(address: &str) -> String {
    address
        .chars()
        .filter(|symbol| !PUNCTUATION.contains(symbol))
        .collect()
}

/// What a phone number may contain beside its digits.
pub(crate) const PUNCTUATION: [char; 5] = ['+', '-', '(', ')', ' '];

/// Some 100 MB; a run that needs more resets between its parts.
const MAX_ROWS: usize = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_rows_by_token_and_by_recipient() {
        let ledger = filled(&[("m1.a.1.t", "1"), ("m1.a.2.t", "1"), ("m1.b.1.t", "2")]);
        for (token, to, want) in [
            (None, None, vec![1, 2, 3]),
            (Some("m1.a.2.t"), None, vec![2]),
            (None, Some("1"), vec![1, 2]),
            (None, Some("+1"), vec![1, 2]),
            (Some("m1.a.2.t"), Some("2"), vec![]),
        ] {
            let query = Query {
                token: token.map(str::to_owned),
                to: to.map(str::to_owned),
            };
            let found: Vec<u64> = ledger.matching(&query).iter().map(|row| row.seq).collect();
            assert_eq!(found, want, "{token:?} {to:?}");
        }
    }

    #[test]
    fn groups_duplicates_by_the_message_and_not_by_the_attempt() {
        let ledger = filled(&[
            ("m1.a.1.t", "1"),
            ("m1.b.1.t", "1"),
            ("m1.a.2.u", "1"),
            ("foreign", "1"),
        ]);
        let report = ledger.duplicates();
        assert_eq!(report["messages"], 2);
        assert_eq!(report["untracked"], 1);
        assert_eq!(report["duplicates"].as_array().unwrap().len(), 1);
        assert_eq!(report["duplicates"][0]["message_id"], "a");
        assert_eq!(report["duplicates"][0]["count"], 2);
        assert_eq!(report["duplicates"][0]["rows"][1]["seq"], 3);
    }

    #[test]
    fn only_our_tokens_name_a_message() {
        for (token, want) in [
            ("m1.018f.1.abcdefghij", Some("018f")),
            ("m2.018f.1.abcdefghij", None),
            ("m1..1.abcdefghij", None),
            ("m1.018f.1", None),
            ("m1.018f.1.a.b", None),
            ("", None),
        ] {
            assert_eq!(message_id(token), want, "{token}");
        }
    }

    #[test]
    fn what_apps_are_told_of_is_noted_in_order() {
        let mut ledger = filled(&[("m1.a.1.t", "1"), ("m1.b.1.t", "1")]);
        for (wamid, word) in [
            ("wamid.1", "read"),
            ("wamid.9", "sent"),
            ("wamid.1", "sent"),
        ] {
            ledger.note(wamid, word, None);
        }
        assert_eq!(ledger.rows[0].told, ["read", "sent"]);
        assert_eq!(ledger.rows[1].told, [""; 0]);
    }

    #[test]
    fn the_fate_of_an_answer_is_noted_once_known() {
        let mut ledger = filled(&[("m1.a.1.t", "1")]);
        assert_eq!(ledger.rows[0].response_fate, Fate::Unanswered);
        ledger.settle("wamid.1", Fate::Reset);
        assert_eq!(ledger.rows[0].response_fate, Fate::Reset);
    }

    fn filled(sends: &[(&str, &str)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (token, to) in sends {
            let seq = ledger.next_seq().unwrap();
            ledger.append(Row {
                seq,
                wamid: format!("wamid.{seq}"),
                pnid: "n".to_owned(),
                token: Some((*token).to_owned()),
                body_sha256: String::new(),
                to: (*to).to_owned(),
                message_type: "text".to_owned(),
                accepted_at_ms: 0,
                is_window_open: true,
                response_fate: Fate::Unanswered,
                told: Vec::new(),
                failed_with: None,
            });
        }
        ledger
    }
}
