//! The `Idempotency-Key` header.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use crate::header::IDEMPOTENCY_KEY;

/// A caller's name for one execution: 1 to 255 printable ASCII characters, kept byte
/// for byte (contract §2; quotes are part of it).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Bytes);

/// A header that was sent and is not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an idempotency key")]
pub struct InvalidKey;

// === impl IdempotencyKey ===

impl IdempotencyKey {
    /// Reads the key of a request; nothing where none was sent.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] where it is empty, too long, not printable ASCII or sent twice.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidKey> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(InvalidKey);
        }
        Self::parse(value.as_bytes()).map(Some)
    }

    /// Reads a key from a header's value.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] where it is empty, too long or not printable ASCII.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidKey> {
        let trimmed = value.trim_ascii();
        let printable = trimmed.iter().all(|byte| (b' '..=b'~').contains(byte));
        if !printable || !(1..=LENGTH_MAX).contains(&trimmed.len()) {
            return Err(InvalidKey);
        }
        Ok(Self(Bytes::copy_from_slice(trimmed)))
    }

    /// The key as it was sent.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Callers put order numbers and worse into it.
        f.write_str("IdempotencyKey(..)")
    }
}

/// What the field's other implementations admit (contract §2).
const LENGTH_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn admits_printable_ascii_and_keeps_it_byte_for_byte() {
        let (longest, too_long) = ("k".repeat(255), "k".repeat(256));
        for (given, want) in [
            ("k", Some("k")),
            (" \tk\t ", Some("k")),
            ("\"k\"", Some("\"k\"")),
            ("a b", Some("a b")),
            ("{live:x}*?[", Some("{live:x}*?[")),
            (&longest, Some(&*longest)),
            (&too_long, None),
            ("", None),
            ("  ", None),
            ("a\tb", None),
            ("schlüssel", None),
        ] {
            let found = IdempotencyKey::parse(given.as_bytes()).ok();
            assert_eq!(
                found.as_ref().map(|key| &key.as_bytes()[..]),
                want.map(str::as_bytes),
                "{given:?}"
            );
        }
    }

    #[test]
    fn a_key_sent_twice_is_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(IdempotencyKey::from_headers(&headers), Ok(None));
        for found in [true, false] {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("k"));
            assert_eq!(IdempotencyKey::from_headers(&headers).is_ok(), found);
        }
    }
}
