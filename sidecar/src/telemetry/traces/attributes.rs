//! What a span says of a request, by the semantic conventions of OpenTelemetry for HTTP.
//!
//! The query is left out, which may hold secrets, and of what only a client chose each text
//! has a bound.

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Version};
use opentelemetry::KeyValue;
use vestibule::telemetry::Decisions;

use super::super::metrics;
use super::super::passage::{Ending, Passage};
use crate::forwarded::X_FORWARDED_PROTO;

/// A method: one that HTTP names, or another one.
pub(super) struct Named {
    /// The name of a span of which no route is known.
    pub(super) name: &'static str,
    method: &'static str,
    original: Option<String>,
}

pub(super) fn method(method: &Method) -> Named {
    let known = metrics::method(method);
    let is_known = known != metrics::OTHER_METHOD;
    Named {
        name: if is_known { known } else { "HTTP" },
        method: known,
        original: (!is_known).then(|| cut(method.as_str(), NAME_MAX)),
    }
}

impl Named {
    pub(super) fn attributes(self) -> impl Iterator<Item = KeyValue> {
        let original = self.original;
        let original = original.map(|text| KeyValue::new("http.request.method_original", text));
        [KeyValue::new("http.request.method", self.method)]
            .into_iter()
            .chain(original)
    }
}

/// `GET /v1/charges/{id}`
pub(super) fn name(passage: &Passage, decisions: &Decisions) -> String {
    let method = method(passage.method()).name;
    match &decisions.route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}

/// What is known of the head alone.
pub(super) fn of_head<B>(request: &Request<B>) -> Vec<KeyValue> {
    let mut all = Vec::with_capacity(16);
    // The listener has written it, or a proxy that is trusted.
    let scheme = request.headers().get(X_FORWARDED_PROTO);
    let is_encrypted = scheme.is_some_and(|scheme| scheme == "https");
    let scheme = if is_encrypted { "https" } else { "http" };
    all.push(KeyValue::new("url.scheme", scheme));
    if let Some(authority) = authority(request.uri().authority(), request.headers()) {
        let host = cut(authority.host(), NAME_MAX);
        all.push(KeyValue::new("server.address", host));
        if let Some(port) = authority.port_u16() {
            all.push(KeyValue::new("server.port", i64::from(port)));
        }
    }
    all
}

/// What is known at the end.
pub(super) fn of_end(passage: &Passage, decisions: &Decisions, ending: Ending) -> Vec<KeyValue> {
    let mut all: Vec<KeyValue> = method(passage.method()).attributes().collect();
    let path = cut(passage.uri().path(), PATH_MAX);
    all.push(KeyValue::new("url.path", path));
    let version = version(passage.version());
    all.push(KeyValue::new("network.protocol.version", version));
    if let Some(route) = &decisions.route {
        all.push(KeyValue::new("http.route", route.to_string()));
    }
    if let Some(client) = passage.client() {
        all.push(KeyValue::new("client.address", client.to_string()));
    }
    if let Some(status) = ending.status {
        let status = i64::from(status.as_u16());
        all.push(KeyValue::new("http.response.status_code", status));
    }
    if let Some(error) = error(decisions, ending) {
        all.push(KeyValue::new("error.type", error));
    }
    if let Some(id) = &decisions.correlation_id {
        let id = id.as_str().to_owned();
        all.push(KeyValue::new("vestibule.correlation_id", id));
    }
    if let Some(caller) = &decisions.caller {
        let id = caller.key_id().to_owned();
        all.push(KeyValue::new("vestibule.key_id", id));
    }
    all
}

/// The code of the error that was answered here, or the status that came from the service.
fn error(decisions: &Decisions, ending: Ending) -> Option<String> {
    let Some(status) = ending.status else {
        return Some("abandoned".to_owned());
    };
    let code = decisions.refusal.map(|code| code.name().to_owned());
    let is_ours = status.is_server_error();
    is_ours.then(|| code.unwrap_or_else(|| status.as_str().to_owned()))
}

fn authority(target: Option<&Authority>, headers: &HeaderMap) -> Option<Authority> {
    target.cloned().or_else(|| {
        let host = headers.get(HOST)?.as_bytes();
        Authority::try_from(host).ok()
    })
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

/// Bytes of a path, as in the log: a queue of spans is to be bounded by its length.
const PATH_MAX: usize = 1024;

/// Bytes of a name: one of a client's invention may have any length.
const NAME_MAX: usize = 256;
