//! The token of an attempt: what Meta carries back in every status of it.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::config::Secret;
use crate::message::{MessageId, parse_uuid};

/// What makes tokens that nobody else can make.
///
/// A token is `m1.<message id>.<attempt>.<tag>`: below eighty characters, with nothing in it
/// that is anybody's business, since every app of the account sees it.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

// === impl TokenKey ===

impl TokenKey {
    /// The key that a secret of the deployment stands for; the secret itself signs nothing
    /// else with it.
    pub fn derived_from(secret: &Secret) -> Self {
        let derived = hmac(secret.expose().as_bytes())
            .chain_update(b"the tokens of attempts")
            .finalize()
            .into_bytes();
        Self(hmac(&derived))
    }

    /// The token of an attempt at a message from a number.
    pub fn mint(&self, message: MessageId, attempt: u32, phone_number_id: &str) -> Box<str> {
        let tag = self.tag(message, attempt, phone_number_id);
        format!("{VERSION}.{message}.{attempt}.{tag}").into()
    }

    /// Which attempt a token is of, where this key has made it for that number.
    pub fn read(&self, token: &str, phone_number_id: &str) -> Option<(MessageId, u32)> {
        let rest = token.strip_prefix(VERSION)?.strip_prefix('.')?;
        let (message, rest) = rest.split_once('.')?;
        let (attempt, tag) = rest.split_once('.')?;
        let message = parse_uuid(message).map(MessageId::from)?;
        let attempt = attempt.parse().ok()?;
        let expected = self.tag(message, attempt, phone_number_id);
        let is_ours: bool = expected.as_bytes().ct_eq(tag.as_bytes()).into();
        is_ours.then_some((message, attempt))
    }

    fn tag(&self, message: MessageId, attempt: u32, phone_number_id: &str) -> String {
        let digest = self
            .0
            .clone()
            .chain_update(message.as_bytes())
            .chain_update(attempt.to_be_bytes())
            .chain_update(phone_number_id)
            .finalize()
            .into_bytes();
        digest[..TAG_LENGTH]
            .iter()
            .map(|byte| char::from(BASE32[usize::from(byte & 31)]))
            .collect()
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

const VERSION: &str = "m1";

/// Fifty bits: a guess for each webhook of a year finds none.
const TAG_LENGTH: usize = 10;

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

#[cfg(test)]
mod tests {
    use vestibule::clock::Timestamp;

    use super::*;

    #[test]
    fn a_token_is_read_by_the_key_that_made_it_and_by_no_other() {
        let key = TokenKey::derived_from(&Secret::new("canary"));
        let message = MessageId::mint(Timestamp::from_unix_seconds(1_800_000_000), 7);
        let token = key.mint(message, 3, "10");
        assert!(token.len() < 80, "{token}");
        assert_eq!(key.read(&token, "10"), Some((message, 3)));
        let other = TokenKey::derived_from(&Secret::new("another"));
        for (key, token, number) in [
            (&other, &*token, "10"),
            (&key, &*token, "11"),
            (&key, &token.replace(".3.", ".4."), "10"),
            (&key, &token.replace("m1", "m2"), "10"),
            (&key, &token[..token.len() - 1], "10"),
            (&key, "m1", "10"),
            (&key, "", "10"),
        ] {
            assert_eq!(key.read(token, number), None, "{token} {number}");
        }
        assert!(!format!("{key:?}").contains("canary"));
    }
}
