//! What a command says about a key: the fields to set, held to the schema of the key file.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use vestibule::api_key::KeyRecord;
use vestibule::clock::Timestamp;

use super::fault::Fault;

/// The fields that a command sets; those that it does not name stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    fields: Map<String, Value>,
    expires: Option<Expiry>,
}

/// When a key ceases to be good by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At a moment of RFC 3339.
    At(String),
    /// So long from now.
    In(Duration),
    /// Never.
    Never,
}

// === impl Change ===

impl Change {
    /// What people call the key.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.field("name", name.into())
    }

    /// What the key may do.
    #[must_use]
    pub fn scopes(self, scopes: &[String]) -> Self {
        self.field("scopes", scopes.into())
    }

    /// The agents that the key is restricted to; none means all of the account's.
    #[must_use]
    pub fn agents(self, agents: Option<&[String]>) -> Self {
        self.field("agents", agents.into())
    }

    /// Requests a minute; none means the default.
    #[must_use]
    pub fn per_minute(self, limit: Option<u32>) -> Self {
        self.field("per_minute", limit.into())
    }

    /// Requests at once; none means the default.
    #[must_use]
    pub fn burst(self, burst: Option<u32>) -> Self {
        self.field("burst", burst.into())
    }

    /// When the key ceases to be good.
    #[must_use]
    pub fn expires(mut self, expiry: Expiry) -> Self {
        self.expires = Some(expiry);
        self
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.expires.is_none()
    }

    /// The record with these changes.
    ///
    /// # Errors
    ///
    /// [`Fault`] names the field, what was found and what is allowed.
    pub fn apply(&self, record: &KeyRecord, now: Timestamp) -> Result<Arc<KeyRecord>, Fault> {
        let mut changed = record.to_json();
        for (field, value) in &self.fields {
            changed[field] = value.clone();
        }
        match &self.expires {
            Some(Expiry::At(moment)) => changed["expires_at"] = json!(moment),
            Some(Expiry::In(_) | Expiry::Never) => changed["expires_at"] = Value::Null,
            None => {}
        }
        let changed = KeyRecord::from_json(&changed)?;
        Ok(match self.expires {
            Some(Expiry::In(span)) => changed.to_builder().expires(now + span).build(),
            _ => changed,
        })
    }

    fn field(mut self, field: &str, value: Value) -> Self {
        self.fields.insert(field.to_owned(), value);
        self
    }
}

// === impl Expiry ===

impl Expiry {
    /// `30d`, a moment of RFC 3339, or `never`. Whether the moment is one is told when
    /// it is applied.
    pub fn parse(text: &str) -> Self {
        match span(text) {
            Some(span) => Self::In(span),
            None if text == "never" => Self::Never,
            None => Self::At(text.to_owned()),
        }
    }
}

/// `90s`, `15m`, `24h`, `30d`.
pub fn span(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// Whether a text can be a scope: `resource:action`, or `*` for all.
pub fn is_scope(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    text == "*"
        || text
            .split_once(':')
            .is_some_and(|(resource, action)| is_word(resource) && is_word(action))
}

#[cfg(test)]
mod tests {
    use vestibule::api_key::Digest;

    use super::*;

    #[test]
    fn spans_carry_their_unit() {
        for (given, want) in [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("24h", Some(86_400)),
            ("30d", Some(2_592_000)),
            ("0s", Some(0)),
            ("30", None),
            ("d", None),
            ("-1d", None),
            ("1.5h", None),
            ("99999999999999999999d", None),
            ("999999999999999999d", None),
        ] {
            assert_eq!(span(given), want.map(Duration::from_secs), "{given}");
        }
    }

    #[test]
    fn a_scope_is_a_resource_and_an_action_or_all() {
        for (given, want) in [
            ("whatsapp:send", true),
            ("*", true),
            ("whatsapp", false),
            (":send", false),
            ("whatsapp:", false),
            ("what sapp:send", false),
            ("", false),
        ] {
            assert_eq!(is_scope(given), want, "{given:?}");
        }
    }

    #[test]
    fn only_what_is_named_changes() {
        let now = Timestamp::from_unix_seconds(1_000);
        let record = record();
        for (given, field, want) in [
            (Change::default().name("B"), "name", json!("B")),
            (Change::default().agents(None), "agents", Value::Null),
            (Change::default().agents(Some(&[])), "agents", json!([])),
            (
                Change::default().per_minute(None),
                "per_minute",
                Value::Null,
            ),
            (Change::default().burst(Some(7)), "burst", json!(7)),
            (
                Change::default().scopes(&["a:b".to_owned()]),
                "scopes",
                json!(["a:b"]),
            ),
            (
                Change::default().expires(Expiry::parse("30s")),
                "expires_at",
                json!("1970-01-01T00:17:10Z"),
            ),
            (
                Change::default().expires(Expiry::parse("2027-01-01T00:00:00Z")),
                "expires_at",
                json!("2027-01-01T00:00:00Z"),
            ),
            (
                Change::default().expires(Expiry::parse("never")),
                "expires_at",
                Value::Null,
            ),
        ] {
            let changed = given.apply(&record, now).unwrap();
            let mut expected = record.to_json();
            expected[field] = want;
            assert_eq!(changed.to_json(), expected, "{given:?}");
            let versions = [&record, &changed].map(|record| record.principal().version());
            assert_ne!(versions[0], versions[1], "{given:?}");
        }
    }

    #[test]
    fn what_the_schema_refuses_is_told_by_field() {
        let now = Timestamp::EPOCH;
        for (given, want) in [
            (
                Change::default().expires(Expiry::parse("tomorrow")),
                "expires_at: found \"tomorrow\", allowed is a time like 2026-11-22T10:00:00Z",
            ),
            (
                Change::default().per_minute(Some(0)),
                "per_minute: found 0, allowed is a whole number from 1 to 4294967295",
            ),
        ] {
            let fault = given.apply(&record(), now).unwrap_err();
            assert_eq!(fault.to_string(), want);
        }
    }

    fn record() -> Arc<KeyRecord> {
        KeyRecord::builder("key_1", "acc_1", Digest::from_parts(None, [1; 32]))
            .name("A")
            .scopes(["a:a"])
            .agents(["agent"])
            .per_minute(5)
            .expires(Timestamp::from_unix_seconds(5_000))
            .build()
    }
}
