//! A request between the command and the admin socket, as JSON.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::{Value, json};

use super::{Fault, raw};

/// Where requests are explained.
pub(crate) const PATH: &str = "/v1/explain";

/// Writes a request; a body that is no text as hex.
pub(super) fn write(request: &Request<Bytes>) -> Result<Value, Fault> {
    let pair = |(name, value): (&HeaderName, &HeaderValue)| {
        let text = std::str::from_utf8(value.as_bytes());
        let text = text.map_err(|_| Fault::new(format!("the header {name} is no UTF-8")))?;
        Ok(json!([name.as_str(), text]))
    };
    let headers = request.headers().iter().map(pair);
    let headers = headers.collect::<Result<Vec<Value>, Fault>>()?;
    let (field, body) = match std::str::from_utf8(request.body()) {
        Ok(text) => ("body", text.to_owned()),
        Err(_) => ("body_hex", hex::encode(request.body())),
    };
    Ok(json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": headers,
        field: body,
    }))
}

/// Reads a request.
pub(crate) fn read(json: &Value) -> Result<Request<Bytes>, Fault> {
    let fields = json
        .as_object()
        .ok_or_else(|| Fault::new("expected an object"))?;
    if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let name: String = name.chars().take(40).collect();
        return Err(Fault::new(format!(
            "there is no field {name:?}; there are {}",
            FIELDS.join(", ")
        )));
    }
    let mut headers = HeaderMap::new();
    match &json["headers"] {
        Value::Null => {}
        Value::Array(pairs) => {
            for pair in pairs {
                let (name, value) = header(pair).ok_or_else(|| {
                    Fault::new("headers: expected pairs like [\"accept\", \"*/*\"]")
                })?;
                headers.append(name, value);
            }
        }
        _ => return Err(Fault::new("headers: expected a list of pairs")),
    }
    let text = |field: &str| match &json[field] {
        Value::String(text) => Ok(Some(text.as_str())),
        Value::Null => Ok(None),
        _ => Err(Fault::new(format!("{field}: expected a text"))),
    };
    let body = match (text("body")?, text("body_hex")?) {
        (Some(_), Some(_)) => return Err(Fault::new("send 'body' or 'body_hex', not both")),
        (Some(text), None) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(text)) => {
            let bytes = hex::decode(text);
            bytes
                .map_err(|_| Fault::new("body_hex: expected hex"))?
                .into()
        }
        (None, None) => Bytes::new(),
    };
    let needed = |field: &str| {
        let found = text(field)?;
        found.ok_or_else(|| Fault::new(format!("{field}: it is missing")))
    };
    raw::request(needed("method")?, needed("target")?, headers, body)
}

fn header(pair: &Value) -> Option<(HeaderName, HeaderValue)> {
    let [name, value] = &pair.as_array()?[..] else {
        return None;
    };
    let name = HeaderName::from_bytes(name.as_str()?.as_bytes()).ok()?;
    Some((
        name,
        HeaderValue::from_bytes(value.as_str()?.as_bytes()).ok()?,
    ))
}

const FIELDS: [&str; 5] = ["method", "target", "headers", "body", "body_hex"];

#[cfg(test)]
mod tests {
    use super::super::of_http;
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for (head, body) in [
            ("GET /a?b=%20c HTTP/1.1\nA: 1\nA: 2\nB: é\n\n", &b""[..]),
            ("POST /a HTTP/1.1\n\n", b"{\"a\":1}"),
            ("POST /a HTTP/1.1\n\n", &[0xff, 0x00]),
        ] {
            let request = of_http(&[head.as_bytes(), body].concat()).unwrap();
            let again = read(&write(&request).unwrap()).unwrap();
            assert_eq!(again.headers(), request.headers(), "{head}");
            assert_eq!(again.uri(), request.uri(), "{head}");
            assert_eq!(
                (again.method(), again.body()),
                (request.method(), request.body())
            );
        }
    }

    #[test]
    fn what_is_no_request_is_named() {
        let whole = json!({ "method": "GET", "target": "/a" });
        for (field, value, want) in [
            ("method", json!(null), "method: it is missing"),
            ("target", json!(7), "target: expected a text"),
            ("target", json!("a"), "the target is none"),
            ("headers", json!({}), "headers: expected a list of pairs"),
            ("headers", json!([["a"]]), "headers: expected pairs"),
            ("headers", json!([["a b", "c"]]), "headers: expected pairs"),
            ("body_hex", json!("x"), "body_hex: expected hex"),
            ("url", json!("x"), "there is no field \"url\""),
        ] {
            let mut given = whole.clone();
            given[field] = value;
            let fault = read(&given).unwrap_err().to_string();
            assert!(fault.starts_with(want), "{given}: {fault}");
        }
        let both = json!({ "method": "GET", "target": "/a", "body": "", "body_hex": "" });
        assert!(read(&both).unwrap_err().to_string().contains("not both"));
        assert!(
            read(&json!([]))
                .unwrap_err()
                .to_string()
                .contains("an object")
        );
    }
}
