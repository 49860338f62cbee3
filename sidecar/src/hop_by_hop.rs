//! The header fields that belong to one connection, removed in both directions.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};
use vestibule::header;

/// Removes what is meant for the next hop alone: the fields of RFC 9110 §7.6.1 and those
/// that `Connection` names.
///
/// `Connection` may not name what every recipient needs. Otherwise a client could have
/// its identity, its correlation id or its framing removed behind the layers.
pub(crate) fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in nominated(headers) {
            headers.remove(name);
        }
    }
    for name in FIELDS {
        headers.remove(name);
    }
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !is_end_to_end(name))
        .collect()
}

fn is_end_to_end(name: &HeaderName) -> bool {
    header::is_reserved(name)
        || [
            CONTENT_LENGTH,
            HOST,
            header::IDEMPOTENCY_KEY,
            header::X_CORRELATION_ID,
        ]
        .contains(name)
}

const FIELDS: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    // Trailers do not cross an HTTP/1.1 upstream, so none are announced.
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn removes_what_belongs_to_one_connection() {
        for (given, want) in [
            ("connection: close", ""),
            ("keep-alive: timeout=5", ""),
            ("proxy-connection: keep-alive", ""),
            ("te: trailers", ""),
            ("trailer: x", ""),
            ("transfer-encoding: chunked", ""),
            ("upgrade: websocket|connection: upgrade", ""),
            ("x-a: 1|x-b: 2|connection: X-A", "x-b"),
            ("x-a: 1|x-b: 2|connection: x-b , x-a,,", ""),
            ("x-a: 1|x-a: 2|connection: close|connection: x-a", ""),
            ("x-a: 1|connection: not a name", "x-a"),
            (
                "vestibule-identity: a|connection: vestibule-identity",
                "vestibule-identity",
            ),
            (
                "x-correlation-id: a|connection: x-correlation-id",
                "x-correlation-id",
            ),
            (
                "idempotency-key: a|connection: idempotency-key",
                "idempotency-key",
            ),
            ("host: a|connection: host", "host"),
            (
                "content-length: 1|connection: content-length",
                "content-length",
            ),
        ] {
            let mut headers = HeaderMap::new();
            for field in given.split('|') {
                let (name, value) = field.split_once(": ").unwrap();
                headers.append(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            strip(&mut headers);
            let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
            assert_eq!(left.join(","), want, "{given}");
        }
    }
}
