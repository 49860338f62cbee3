//! A document that is made once and served with its version.

use std::future::{Ready, ready};

use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};

/// A document with its headers.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    body: Bytes,
    headers: HeaderMap,
}

// === impl Served ===

impl Served {
    /// Serves JSON.
    pub(crate) fn json(text: &'static str) -> Self {
        Self::new(text, "application/json")
    }

    /// Serves a page that may load nothing but what the policy allows.
    pub(crate) fn page(text: &'static str, policy: &str) -> Self {
        let mut page = Self::new(text, "text/html; charset=utf-8");
        let policy = HeaderValue::from_str(policy).expect("a policy is visible ASCII");
        page.headers.insert(CONTENT_SECURITY_POLICY, policy);
        let quiet = HeaderValue::from_static("no-referrer");
        page.headers.insert(REFERRER_POLICY, quiet);
        page
    }

    fn new(text: &'static str, media_type: &'static str) -> Self {
        let version = URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..12]);
        let version = HeaderValue::from_str(&format!("\"{version}\""));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(ETAG, version.expect("base64 is visible ASCII"));
        // It changes with the program: whoever keeps it asks whether it still is the one.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
        Self {
            body: Bytes::from_static(text.as_bytes()),
            headers,
        }
    }

    /// Answers a request for it.
    pub(crate) fn handler(
        self,
    ) -> impl Fn(HeaderMap) -> Ready<Response> + Clone + Send + Sync + 'static {
        move |asked| ready(self.answer(&asked))
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let mut headers = self.headers.clone();
        if !self.is_known(asked) {
            return (headers, self.body.clone()).into_response();
        }
        headers.remove(CONTENT_TYPE);
        (StatusCode::NOT_MODIFIED, headers).into_response()
    }

    /// Whether the asker has this version (RFC 9110 §13.1.2).
    fn is_known(&self, asked: &HeaderMap) -> bool {
        let ours = self.headers[ETAG].as_bytes();
        asked.get_all(IF_NONE_MATCH).iter().any(|value| {
            let mut tags = value.as_bytes().split(|byte| *byte == b',');
            tags.any(|tag| {
                let tag = tag.trim_ascii();
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == ours
            })
        })
    }
}
