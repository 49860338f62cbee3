//! Meta's webhooks: whether one is genuine, and what its updates say.
//!
//! The signature is over the bytes as they came. Meta escapes them in ways that no other
//! writer of JSON repeats, so a body that was parsed and written again would never match.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use vestibule::clock::Timestamp;

use super::error::failure;
use crate::config::Secret;
use crate::delivery::{Status, Update};
use crate::message::State;
use crate::window::{self, EventTime};

/// What a body says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What is to be done, inbound messages first.
    pub updates: Vec<Update>,
    /// How many updates could not be understood, or named no moment.
    pub skipped: usize,
}

/// Whether `X-Hub-Signature-256` was made with one of these secrets over these bytes.
///
/// There are two secrets while one is being rotated. A header that is absent or
/// malformed is refused like a wrong one.
pub fn is_genuine(signature: Option<&[u8]>, body: &[u8], secrets: &[Secret]) -> bool {
    let Some(signature) = signature
        .and_then(|header| header.strip_prefix(b"sha256="))
        .and_then(|digits| hex::decode(digits).ok())
    else {
        return false;
    };
    // Every secret is tried, so that the time taken does not tell which one matched.
    secrets.iter().fold(false, |matched, secret| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .expect("HMAC takes keys of any length")
            .chain_update(body);
        matched | mac.verify_slice(&signature).is_ok()
    })
}

/// Whether this is the token that Meta was given to verify the endpoint with.
pub fn is_verified(token: &str, expected: &Secret) -> bool {
    token.as_bytes().ct_eq(expected.expose().as_bytes()).into()
}

/// Reads the updates of a body, each for itself: one that is not understood never loses
/// the others.
pub fn parse(body: &[u8], received: Timestamp) -> Parsed {
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return Parsed {
            skipped: 1,
            ..Parsed::default()
        };
    };
    let mut parsed = Parsed::default();
    let values: Vec<&Value> = each(&body, "entry")
        .flat_map(|entry| each(entry, "changes"))
        .filter(|change| change["field"] == "messages")
        .map(|change| &change["value"])
        .collect();
    for value in &values {
        let number = value["metadata"]["phone_number_id"].as_str();
        for message in each(value, "messages") {
            match number.and_then(|number| inbound(number, message, received)) {
                Some(updates) => parsed.updates.extend(updates),
                None => parsed.skipped += 1,
            }
        }
    }
    for value in &values {
        for update in each(value, "statuses") {
            match status(update, received) {
                Some(update) => parsed.updates.push(update),
                None => parsed.skipped += 1,
            }
        }
    }
    parsed
}

/// What an inbound message does: it opens the window under each name of the customer.
///
/// Meta may leave out the phone number (a customer who shares only a user name) or, in
/// older payloads, the id.
fn inbound(number: &str, message: &Value, received: Timestamp) -> Option<Vec<Update>> {
    let kind = message["type"].as_str()?;
    if message.get("group_id").is_some()
        || !window::is_opened_by(kind, message["unsupported"]["type"].as_str())
    {
        return Some(vec![]);
    }
    let opened = EventTime::parse(message["timestamp"].as_str()?, received)?;
    let users = ["from", "from_user_id"]
        .into_iter()
        .filter_map(|name| message[name].as_str());
    let updates: Vec<Update> = users
        .map(|user| Update::Inbound {
            phone_number_id: number.into(),
            user: user.into(),
            opened,
        })
        .collect();
    (!updates.is_empty()).then_some(updates)
}

fn status(update: &Value, received: Timestamp) -> Option<Update> {
    let wamid = update["id"].as_str()?;
    let state = State::from_status(update["status"].as_str()?)?;
    // A status without a usable time still moves the message: at the time it came.
    let at = update["timestamp"]
        .as_str()
        .and_then(|stamp| EventTime::parse(stamp, received))
        .map_or(received, |time| time.at);
    let failure = (state == State::Failed).then(|| {
        let code = update["errors"][0]["code"].as_u64().unwrap_or_default();
        failure(u32::try_from(code).unwrap_or_default())
    });
    Some(Update::Status(Status {
        wamid: wamid.into(),
        token: update["biz_opaque_callback_data"].as_str().map(Into::into),
        state,
        at,
        failure,
    }))
}

fn each<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metas_signature_over_these_bytes_is_genuine() {
        let secrets = [Secret::new("old"), Secret::new("new")];
        let body = br#"{"object":"\u00e4"}"#;
        let [old, new, other] = ["old", "new", "other"].map(|key| signed(key, body));
        for (header, genuine) in [
            (Some(new.clone()), true),
            (Some(old), true),
            (Some(other), false),
            (Some(signed("new", br#"{"object":"x"}"#)), false),
            (Some(new.replace("sha256=", "sha1=")), false),
            (Some(new.replace("sha256=", "")), false),
            (Some(new[..new.len() - 2].to_owned()), false),
            (Some(format!("{new}00")), false),
            (Some("sha256=".into()), false),
            (Some("sha256=zz".into()), false),
            (None, false),
        ] {
            let given = header.as_deref().map(str::as_bytes);
            assert_eq!(is_genuine(given, body, &secrets), genuine, "{header:?}");
        }
        assert!(!is_genuine(Some(new.as_bytes()), body, &[]));
    }

    #[test]
    fn one_bad_update_never_loses_the_others() {
        let body = br#"{"object":"whatsapp_business_account","entry":[
            7,
            {"changes":"none"},
            {"changes":[
              {"field":"account_update","value":{}},
              {"field":"messages","value":{"metadata":{"phone_number_id":"10"},
                "statuses":[{"id":"wamid.S","status":"failed","timestamp":"1700000002",
                             "biz_opaque_callback_data":"m1.t","errors":[{"code":131026}]},
                            {"id":"wamid.T","status":"warning","timestamp":"1700000002"},
                            {"status":"sent"}],
                "messages":[{"id":"wamid.I","from":"155","from_user_id":"US.1","type":"text","timestamp":"1700000001"},
                            {"id":"wamid.J","from":"155","type":"text"},
                            {"id":"wamid.K","from":"155","type":"reaction","timestamp":"1700000001"},
                            "what is this"]}}
            ]}]}"#;
        let received = Timestamp::from_unix_seconds(1_700_000_010);
        let opened = EventTime {
            at: Timestamp::from_unix_seconds(1_700_000_001),
            is_skewed: false,
        };
        let inbound = |user: &str| Update::Inbound {
            phone_number_id: "10".into(),
            user: user.into(),
            opened,
        };
        let status = Update::Status(Status {
            wamid: "wamid.S".into(),
            token: Some("m1.t".into()),
            state: State::Failed,
            at: Timestamp::from_unix_seconds(1_700_000_002),
            failure: Some(failure(131_026)),
        });
        assert_eq!(
            parse(body, received),
            Parsed {
                updates: vec![inbound("155"), inbound("US.1"), status],
                skipped: 4
            }
        );
    }

    #[test]
    fn anything_at_all_can_be_read() {
        for (body, skipped) in [
            (&b""[..], 1),
            (b"[]", 0),
            (b"null", 0),
            (b"{}", 0),
            (b"\xff", 1),
        ] {
            let parsed = parse(body, Timestamp::EPOCH);
            assert_eq!(
                parsed,
                Parsed {
                    updates: vec![],
                    skipped
                },
                "{body:?}"
            );
        }
    }

    fn signed(key: &str, body: &[u8]) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        let digest = mac.chain_update(body).finalize().into_bytes();
        format!("sha256={}", hex::encode(digest))
    }
}
