//! What goes wrong between an app's webhook and its signature.

use bytes::Bytes;
use serde_json::Value;

use super::wire;
use crate::fault::Effect;
use crate::world::App;

/// The bytes that are posted, and the signature beside them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Dressed {
    pub(super) body: Bytes,
    pub(super) signature: Option<String>,
}

/// Signs a body, or does to it what a fault asks for.
pub(super) fn dress(body: &Bytes, app: &App, fault: Option<&Effect>) -> Dressed {
    let signed_with = |secret: &[u8]| Some(wire::signature(secret, body));
    let right = || signed_with(app.signing_secret());
    let (body, signature) = match fault {
        Some(Effect::NoSignature) => (body.clone(), None),
        Some(Effect::BadSignature) => (body.clone(), signed_with(WRONG_SECRET)),
        Some(Effect::OldSecret) => {
            let old = app.replaced_secret().unwrap_or(WRONG_SECRET);
            (body.clone(), signed_with(old))
        }
        Some(Effect::TamperedBody) => (tampered(body), right()),
        Some(Effect::UnescapedBody { signed_anew }) => {
            let plain = unescaped(body);
            let signature = if *signed_anew {
                Some(wire::signature(app.signing_secret(), &plain))
            } else {
                right()
            };
            (plain, signature)
        }
        _ => (body.clone(), right()),
    };
    Dressed { body, signature }
}

/// Still JSON, and no longer what was signed: one letter of the first key is another.
fn tampered(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    if let Some(letter) = bytes.iter_mut().find(|byte| byte.is_ascii_alphabetic()) {
        *letter ^= 0x20;
    }
    bytes.into()
}

fn unescaped(body: &Bytes) -> Bytes {
    let value: Value = serde_json::from_slice(body).expect("a webhook is JSON");
    value.to_string().into()
}

/// What a webhook with a bad signature is signed with.
const WRONG_SECRET: &[u8] = b"not the secret of this app";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::world;

    #[test]
    fn a_fault_decides_what_is_posted_and_what_was_signed() {
        let escaped = r#"{"a":"\u00e9"}"#;
        let plain = r#"{"a":"é"}"#;
        for (fault, body, signed) in [
            (None, escaped, Some(("new", escaped))),
            (
                Some(json!({"fault": "bad_signature"})),
                escaped,
                Some(("not the secret of this app", escaped)),
            ),
            (Some(json!({"fault": "no_signature"})), escaped, None),
            (
                Some(json!({"fault": "old_secret"})),
                escaped,
                Some(("old", escaped)),
            ),
            (
                Some(json!({"fault": "tampered_body"})),
                r#"{"A":"\u00e9"}"#,
                Some(("new", escaped)),
            ),
            (
                Some(json!({"fault": "unescaped_body"})),
                plain,
                Some(("new", escaped)),
            ),
            (
                Some(json!({"fault": "unescaped_body", "signed_anew": true})),
                plain,
                Some(("new", plain)),
            ),
        ] {
            let effect: Option<Effect> = fault.map(|fault| serde_json::from_value(fault).unwrap());
            let dressed = dress(
                &Bytes::from(escaped),
                &app("[\"new\", \"old\"]"),
                effect.as_ref(),
            );
            let want =
                signed.map(|(secret, bytes)| wire::signature(secret.as_bytes(), bytes.as_bytes()));
            assert_eq!(dressed.body, body, "{effect:?}");
            assert_eq!(dressed.signature, want, "{effect:?}");
        }
    }

    #[test]
    fn an_app_without_an_old_secret_gets_a_wrong_signature() {
        let body = Bytes::from("{}");
        let dressed = dress(&body, &app("[\"only\"]"), Some(&Effect::OldSecret));
        assert_eq!(
            dressed.signature,
            Some(wire::signature(WRONG_SECRET, b"{}"))
        );
    }

    fn app(secrets: &str) -> App {
        let text = format!("[[app]]\nid = \"a\"\nsecrets = {secrets}\nverify_token = \"v\"\n");
        world::parse(&text).unwrap().apps.remove(0)
    }
}
