//! Who a message is for: `to` and `recipient`, read as Meta reads them.

use serde_json::{Map, Value};

use super::error::Refusal;
use crate::ledger::{PUNCTUATION, without_punctuation};

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// By phone number: as it was written, and as digits.
    Phone { input: String, wa_id: String },
    /// By business-scoped user id.
    UserId(String),
}

// === impl Recipient ===

impl Recipient {
    /// Reads `to`, or `recipient` where there is no `to`.
    pub(crate) fn parse(body: &Map<String, Value>, country_code: &str) -> Result<Self, Refusal> {
        match (body.get("to"), body.get("recipient")) {
            (None | Some(Value::Null), None | Some(Value::Null)) => {
                Err(Refusal::because(131008, "The parameter to is required."))
            }
            (Some(Value::String(to)), _) => Self::phone(to, country_code),
            (None | Some(Value::Null), Some(Value::String(id))) => Self::user_id(id),
            _ => Err(malformed("to")),
        }
    }

    /// The digits, or the user id.
    pub(crate) fn address(&self) -> &str {
        match self {
            Self::Phone { wa_id, .. } => wa_id,
            Self::UserId(id) => id,
        }
    }

    fn phone(input: &str, country_code: &str) -> Result<Self, Refusal> {
        let has_other = |symbol: char| !symbol.is_ascii_digit() && !PUNCTUATION.contains(&symbol);
        if input.contains(has_other) {
            return Err(malformed("to"));
        }
        let digits = without_punctuation(input);
        // Meta puts the business number's own country code in front, which is how a
        // client that forgets the `+` reaches a stranger.
        let wa_id = if input.trim_start().starts_with('+') {
            digits
        } else {
            format!("{country_code}{digits}")
        };
        if !(SHORTEST..=LONGEST).contains(&wa_id.len()) {
            return Err(malformed("to"));
        }
        let input = input.to_owned();
        Ok(Self::Phone { input, wa_id })
    }

    fn user_id(id: &str) -> Result<Self, Refusal> {
        if !is_user_id(id) {
            return Err(malformed("recipient"));
        }
        Ok(Self::UserId(id.to_owned()))
    }
}

/// A country, a dot, `ENT.` for a parent, and up to 128 letters and digits.
fn is_user_id(id: &str) -> bool {
    let Some((country, rest)) = id.split_once('.') else {
        return false;
    };
    let own = rest.strip_prefix("ENT.").unwrap_or(rest);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=128).contains(&own.len())
        && own.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn malformed(parameter: &str) -> Refusal {
    Refusal::because(131009, format!("The value of {parameter} is not valid."))
}

/// E.164 leaves 15 digits; no country has subscriber numbers shorter than this.
const SHORTEST: usize = 7;
const LONGEST: usize = 15;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn phone_numbers_are_read_as_meta_reads_them() {
        for (to, want) in [
            ("+16505551234", Ok("16505551234")),
            ("+1 (650) 555-1234", Ok("16505551234")),
            ("16505551234", Ok("4916505551234")),
            ("1705551234", Ok("491705551234")),
            ("+1650555123a", Err(131009)),
            ("+123456", Err(131009)),
            ("+1234567890123456", Err(131009)),
            ("", Err(131009)),
        ] {
            let read = read(&json!({"to": to}));
            assert_eq!(read.as_deref(), want.as_deref(), "{to}");
        }
    }

    #[test]
    fn a_phone_number_wins_over_a_user_id() {
        for (body, want) in [
            (json!({}), Err(131008)),
            (json!({"to": null}), Err(131008)),
            (json!({"to": 16505551234_u64}), Err(131009)),
            (json!({"recipient": "US.134912"}), Ok("US.134912")),
            (json!({"recipient": "US.ENT.134912"}), Ok("US.ENT.134912")),
            (json!({"recipient": "us.134912"}), Err(131009)),
            (json!({"recipient": "US."}), Err(131009)),
            (json!({"recipient": "+16505551234"}), Err(131009)),
            (
                json!({"to": "+16505551234", "recipient": "US.1"}),
                Ok("16505551234"),
            ),
        ] {
            assert_eq!(read(&body).as_deref(), want.as_deref(), "{body}");
        }
    }

    fn read(body: &Value) -> Result<String, u32> {
        let recipient = Recipient::parse(body.as_object().unwrap(), "49");
        recipient
            .map(|recipient| recipient.address().to_owned())
            .map_err(|refusal| refusal.code)
    }
}
