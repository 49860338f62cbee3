//! The document as a page: one file without a script, and nothing to fetch from elsewhere.

mod fields;
mod markup;
mod operation;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::markup::{escaped, prose};

/// The document, with its references at hand.
#[derive(Clone, Copy, Debug)]
struct Document<'a>(&'a Value);

/// Renders a document.
pub(super) fn render(document: &Value) -> String {
    let whole = Document(document);
    let text = |pointer: &str| {
        let text = document.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default()
    };
    let (mut nav, mut main) = (String::new(), String::new());
    let mut tag = "";
    for (path, method, operation) in whole.operations() {
        let under = operation["tags"][0].as_str().unwrap_or_default();
        if under != tag {
            nav.push_str(&format!("<li class=\"tag\">{}</li>", escaped(under)));
            main.push_str(&format!("<h2 class=\"tag\">{}</h2>", escaped(under)));
            tag = under;
        }
        nav.push_str(&operation::entry(method, operation));
        main.push_str(&operation::section(whole, path, method, operation));
    }
    let title = escaped(text("/info/title"));
    let version = escaped(text("/info/version"));
    let introduction = prose(text("/info/description"));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title} API</title><style>{STYLE}</style></head><body>\
         <nav aria-label=\"Endpoints\"><p class=\"title\"><a href=\"#top\">{title} API</a></p>\
         <ul><li><a href=\"#top\">Introduction</a></li>{nav}</ul></nav>\
         <main id=\"top\"><h1>{title} API <small>{version}</small></h1>\
         <p class=\"source\">OpenAPI 3.1: <a href=\"openapi.json\">openapi.json</a></p>\
         <div class=\"introduction\">{introduction}</div>{main}</main></body></html>\n"
    )
}

/// What the page may load: its own style, known by its digest, and nothing else.
pub(crate) fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let style = STANDARD.encode(Sha256::digest(STYLE));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

// === impl Document ===

impl<'a> Document<'a> {
    /// Path, method and operation, in the order of the document.
    fn operations(self) -> impl Iterator<Item = (&'a str, &'a str, &'a Value)> {
        let paths = self.0["paths"].as_object().into_iter().flatten();
        paths.flat_map(|(path, item)| {
            let item = item.as_object().into_iter().flatten();
            item.map(move |(method, operation)| (&**path, &**method, operation))
        })
    }

    /// What a reference leads to; anything else leads to itself.
    fn resolved(self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|to| to.strip_prefix('#'));
        match target.and_then(|pointer| self.0.pointer(pointer)) {
            Some(found) => self.resolved(found),
            None => value,
        }
    }
}

const STYLE: &str = include_str!("style.css");
