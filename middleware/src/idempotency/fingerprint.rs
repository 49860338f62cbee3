//! What makes two requests the same one (contract §6).

use http::{Method, Uri};
use sha2::{Digest, Sha256};

use crate::context::Fingerprint;

/// SHA-256 over a version byte, then method, path, query and body, each after its
/// length, so that no two requests can run together into the same bytes. Headers do
/// not count.
pub(crate) fn of(method: &Method, uri: &Uri, body: &[u8]) -> Fingerprint {
    let mut hasher = Sha256::new_with_prefix([VERSION]);
    let query = uri.query().unwrap_or_default();
    for part in [
        method.as_str().as_bytes(),
        uri.path().as_bytes(),
        query.as_bytes(),
        body,
    ] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    Fingerprint::from_bytes(hasher.finalize().into())
}

/// Changes with what is hashed, so that an old record never matches by accident.
const VERSION: u8 = 0x01;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_published_vector_holds() {
        let uri = Uri::from_static("/v1/whatsapp/messages");
        let found = of(&Method::POST, &uri, br#"{"a":1}"#);
        assert_eq!(
            found.to_string(),
            "08f311a812e95c5d089611c0f771550ab452439dd77635f8004b6f44c3dd647a"
        );
    }

    #[test]
    fn requests_that_differ_anywhere_have_different_fingerprints() {
        let requests = [
            ("POST", "/a", "b"),
            ("PUT", "/a", "b"),
            ("POST", "/ab", ""),
            ("POST", "/a?b", ""),
            ("POST", "/a", "b "),
            ("POST", "/a", ""),
        ];
        let found: HashSet<_> = requests
            .iter()
            .map(|(method, uri, body)| {
                of(
                    &method.parse().unwrap(),
                    &uri.parse().unwrap(),
                    body.as_bytes(),
                )
            })
            .collect();
        // An empty query and none are the same request.
        assert_eq!(found.len(), requests.len());
        assert_eq!(
            of(&Method::POST, &"/a?".parse().unwrap(), b""),
            of(&Method::POST, &"/a".parse().unwrap(), b"")
        );
    }
}
