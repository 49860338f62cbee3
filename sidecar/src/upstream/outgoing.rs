//! A client's head made into the head of a request to the service.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri, Version, request};

use crate::hop_by_hop;

/// Rewrites target, version, host and framing; the rest goes through as it came.
pub(super) fn prepare(head: &mut request::Parts, length: Option<u64>) {
    let declared = head.headers.contains_key(CONTENT_LENGTH);
    hop_by_hop::strip(&mut head.headers);
    // The listener answers it as soon as the body is asked for.
    head.headers.remove(EXPECT);
    head.version = Version::HTTP_11;
    // RFC 9112 §3.2.2: an authority in the target takes the place of `Host`.
    if let Some(authority) = head.uri.authority()
        && let Ok(host) = HeaderValue::from_str(without_user(authority.as_str()))
    {
        head.headers.insert(HOST, host);
    }
    if head.uri.scheme().is_some() || head.uri.authority().is_some() {
        head.uri = origin_form(&head.uri);
    }
    if !head.headers.contains_key(HOST) {
        // A client of HTTP/1.0 may send none; HTTP/1.1 asks for one, be it empty.
        head.headers.insert(HOST, HeaderValue::from_static(""));
    }
    frame(head, length, declared);
}

fn frame(head: &mut request::Parts, length: Option<u64>, declared: bool) {
    match length {
        None => {
            head.headers.remove(CONTENT_LENGTH);
            let chunked = HeaderValue::from_static("chunked");
            head.headers.insert(TRANSFER_ENCODING, chunked);
        }
        Some(0) if !declared && !expects_body(&head.method) => {}
        Some(length) => {
            head.headers.insert(CONTENT_LENGTH, length.into());
        }
    }
}

/// RFC 9110 §8.6: a method that anticipates content says so even of none.
fn expects_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

fn origin_form(uri: &Uri) -> Uri {
    let target = uri.path_and_query().cloned();
    Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

fn without_user(authority: &str) -> &str {
    authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_head_is_made_fit_for_the_service() {
        for (method, target, fields, length, want) in HEADS {
            let mut request = Request::builder().method(*method).uri(*target);
            for field in fields.split('|').filter(|field| !field.is_empty()) {
                let (name, value) = field.split_once(": ").unwrap();
                request = request.header(name, value);
            }
            let mut head = request.body(()).unwrap().into_parts().0;
            prepare(&mut head, *length);
            let fields = head.headers.iter();
            let fields = fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
            let fields: Vec<String> = fields.collect();
            let got = format!("{} {} {}", head.method, head.uri, fields.join("|"));
            assert_eq!(got, *want, "{method} {target} {fields:?}");
        }
    }

    /// Method, target, fields and length of a request; what the service is sent.
    const HEADS: &[(&str, &str, &str, Option<u64>, &str)] = &[
        ("GET", "/a?b=c", "host: h", Some(0), "GET /a?b=c host: h"),
        (
            "GET",
            "http://u@x:1/a",
            "host: h",
            Some(0),
            "GET /a host: x:1",
        ),
        ("GET", "http://x", "", Some(0), "GET / host: x"),
        ("OPTIONS", "*", "host: h", Some(0), "OPTIONS * host: h"),
        ("GET", "/", "", Some(0), "GET / host: "),
        (
            "GET",
            "/",
            "host: h|content-length: 0",
            Some(0),
            "GET / host: h|content-length: 0",
        ),
        (
            "GET",
            "/",
            "host: h",
            Some(3),
            "GET / host: h|content-length: 3",
        ),
        (
            "POST",
            "/",
            "host: h",
            Some(0),
            "POST / host: h|content-length: 0",
        ),
        (
            "POST",
            "/",
            "host: h",
            None,
            "POST / host: h|transfer-encoding: chunked",
        ),
        (
            "POST",
            "/",
            "host: h|content-length: 9",
            None,
            "POST / host: h|transfer-encoding: chunked",
        ),
        (
            "POST",
            "/",
            "host: h|transfer-encoding: chunked",
            Some(2),
            "POST / host: h|content-length: 2",
        ),
        (
            "POST",
            "/",
            "host: h|expect: 100-continue",
            Some(1),
            "POST / host: h|content-length: 1",
        ),
        (
            "GET",
            "/",
            "host: h|upgrade: x|connection: upgrade",
            Some(0),
            "GET / host: h",
        ),
    ];
}
