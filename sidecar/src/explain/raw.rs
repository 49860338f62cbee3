//! A request as HTTP/1.1 writes it (RFC 9112), read from a file.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::Fault;

/// Reads a request: head, an empty line, body. Lines may end with LF alone.
///
/// Without a `Content-Length` the body is all that follows, and the header is set as a client
/// would. With one the body is so long, as it would be on a connection: an editor may have
/// added a line end.
///
/// # Errors
///
/// [`Fault`] names what is not as it must be.
pub fn of_http(text: &[u8]) -> Result<Request<Bytes>, Fault> {
    let (head, body) = parted(text);
    let head = std::str::from_utf8(head).map_err(|_| Fault::new("the head is no text"))?;
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ').filter(|word| !word.is_empty());
    let (method, target) = match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), None, None) => (method, target),
        (Some(method), Some(target), Some(version), None) if version.starts_with("HTTP/") => {
            (method, target)
        }
        _ => {
            return Err(Fault::new(format!(
                "the first line is {:?}; expected one like \"POST /v1/charges HTTP/1.1\"",
                shown(first)
            )));
        }
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = header(line)?;
        headers.append(name, value);
    }
    let body = sized(&mut headers, body)?;
    request(method, target, headers, body)
}

/// Puts a request together.
pub(super) fn request(
    method: &str,
    target: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Bytes>, Fault> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes())
        .map_err(|_| Fault::new(format!("{:?} is no method", shown(method))))?;
    let uri = target.parse::<Uri>().ok();
    let uri = uri.filter(|uri| uri.path().starts_with('/'));
    // A query may hold a secret, so the target is not shown.
    *request.uri_mut() = uri.ok_or_else(|| Fault::new(NO_TARGET))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The body that a `Content-Length` announces; one that comes without it gets it.
fn sized(headers: &mut HeaderMap, body: &[u8]) -> Result<Bytes, Fault> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Err(Fault::new(
            "a Transfer-Encoding is not read here: write the body as it is, without that header",
        ));
    }
    let Some(length) = headers.get(CONTENT_LENGTH) else {
        if !body.is_empty() {
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        return Ok(Bytes::copy_from_slice(body));
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    let length: usize = length.ok_or_else(|| Fault::new("the Content-Length is no number"))?;
    let body = body.get(..length).ok_or_else(|| {
        Fault::new(format!(
            "the body has {} bytes, and its Content-Length says {length}",
            body.len()
        ))
    })?;
    Ok(Bytes::copy_from_slice(body))
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), Fault> {
    let (name, value) = line.split_once(':').unwrap_or((line, "\0"));
    let read = HeaderName::from_bytes(name.as_bytes()).ok();
    let read = read.zip(HeaderValue::from_bytes(value.trim().as_bytes()).ok());
    // A value may be a secret, so it is not shown.
    read.ok_or_else(|| Fault::new(format!("the line of the header {:?} is none", shown(name))))
}

fn parted(text: &[u8]) -> (&[u8], &[u8]) {
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return (&text[..start], &text[end..]);
        }
        start = end;
    }
    (text, &[])
}

/// As much of something wrong as tells what it is.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

const NO_TARGET: &str = "the target is none; expected a path like \"/v1/charges?page=2\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_would_arrive() {
        for (text, head, length, body) in [
            ("GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a", None, ""),
            ("GET /a\n", "GET /a", None, ""),
            (
                "POST /a?b=1 HTTP/1.1\nX: y\n\n{}\n",
                "POST /a?b=1",
                Some("3"),
                "{}\n",
            ),
            (
                "POST /a HTTP/1.1\ncontent-length: 2\n\n{}\n",
                "POST /a",
                Some("2"),
                "{}",
            ),
            (
                "PUT http://h:1/a HTTP/1.0\n\n\n\nx",
                "PUT http://h:1/a",
                Some("3"),
                "\n\nx",
            ),
        ] {
            let request = of_http(text.as_bytes()).unwrap();
            let told = format!("{} {}", request.method(), request.uri());
            assert_eq!(told, head, "{text}");
            let announced = request.headers().get("content-length");
            assert_eq!(
                announced.map(|value| value.to_str().unwrap()),
                length,
                "{text}"
            );
            assert_eq!(request.body(), body, "{text}");
        }
    }

    #[test]
    fn a_header_keeps_its_values_in_their_order() {
        let request = of_http(b"GET /a\nA: 1\na:  2 \n\n").unwrap();
        let values: Vec<_> = request.headers().get_all("a").iter().collect();
        assert_eq!(values, ["1", "2"]);
    }

    #[test]
    fn what_is_no_request_is_said_to_be_none() {
        for (text, want) in [
            ("", "the first line is \"\""),
            ("GET", "the first line is \"GET\""),
            ("GET /a b c", "the first line is \"GET /a b c\""),
            ("G(T /a", "\"G(T\" is no method"),
            ("GET a", "the target is none"),
            ("GET /a\nno header", "the header \"no header\" is none"),
            ("GET /a\n folded: x", "the header \" folded\" is none"),
            ("GET /a\nA: \u{1}secret", "the header \"A\" is none"),
            (
                "GET /a\ncontent-length: x\n\n",
                "the Content-Length is no number",
            ),
            ("GET /a\ncontent-length: 9\n\nshort", "the body has 5 bytes"),
            (
                "GET /a\ntransfer-encoding: chunked\n\n",
                "a Transfer-Encoding is not read",
            ),
        ] {
            let fault = of_http(text.as_bytes()).unwrap_err().to_string();
            assert!(fault.contains(want), "{text:?}: {fault}");
            assert!(!fault.contains("secret"), "{fault}");
        }
        assert!(
            of_http(&[0xff, 0xfe])
                .unwrap_err()
                .to_string()
                .contains("no text")
        );
    }
}
