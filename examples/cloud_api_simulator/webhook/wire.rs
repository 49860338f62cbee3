//! The bytes of a webhook: escaped as Meta escapes, and signed.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Escapes a JSON text as Meta does: non-ASCII and `@` as `\uXXXX` in lower-case hex, and `/` as `\/`.
///
/// All of these stand only inside the strings of a JSON text, so that the text as a whole
/// can be escaped. Whoever parses and writes it again gets other bytes, and with them a
/// signature that does not match.
pub(crate) fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + json.len() / 8);
    for symbol in json.chars() {
        match symbol {
            '/' => escaped.push_str("\\/"),
            '@' => escaped.push_str("\\u0040"),
            ascii if ascii.is_ascii() => escaped.push(ascii),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    write!(escaped, "\\u{unit:04x}").expect("a String takes all that is written");
                }
            }
        }
    }
    escaped
}

/// The value of `X-Hub-Signature-256` for exactly these bytes.
pub(crate) fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn escapes_byte_for_byte_as_meta_does() {
        for (text, want) in [
            ("plain", r#""plain""#),
            ("é", r#""\u00e9""#),
            ("ÿĀ", r#""\u00ff\u0100""#),
            ("日本", r#""\u65e5\u672c""#),
            ("🎉", r#""\ud83c\udf89""#),
            ("a@b.c", r#""a\u0040b.c""#),
            ("https://x/y", r#""https:\/\/x\/y""#),
            ("\"\\\n\t\u{1}", r#""\"\\\n\t\u0001""#),
            ("\u{2028}", r#""\u2028""#),
        ] {
            assert_eq!(escape(&json!(text).to_string()), want, "{text}");
        }
    }

    #[test]
    fn escaping_changes_bytes_and_not_meaning() {
        let body = json!({"näme/@": ["🎉", {"url": "https://x/ä"}, 1.5, null]});
        let escaped = escape(&body.to_string());
        assert!(escaped.is_ascii());
        assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), body);
        assert_ne!(escaped, body.to_string());
    }

    #[test]
    fn signs_as_rfc_4231_has_it() {
        for (secret, body, want) in [
            (
                &b"Jefe"[..],
                &b"what do ya want for nothing?"[..],
                "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &[0x0b; 20],
                b"Hi There",
                "sha256=b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
        ] {
            assert_eq!(signature(secret, body), want);
        }
    }
}
