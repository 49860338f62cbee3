//! The document is the code, and the file is the document.

use std::collections::BTreeSet;

use super::*;

#[test]
fn the_file_is_the_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == document(),
        "run: cargo run -p vestibule-messaging -- openapi > service/openapi.json"
    );
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let document: Value = serde_json::from_str(document()).unwrap();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let served: BTreeSet<String> = routes()
        .iter()
        .flat_map(|(pattern, _)| match pattern.strip_prefix("* ") {
            Some(path) => vec![format!("GET {path}"), format!("POST {path}")],
            None => vec![(*pattern).to_owned()],
        })
        .collect();
    assert_eq!(described, served);
}

#[test]
fn every_reference_leads_somewhere() {
    let document: Value = serde_json::from_str(document()).unwrap();
    let mut references = Vec::new();
    gather(&document, &mut references);
    assert!(references.len() > 50, "{}", references.len());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn the_page_shows_every_operation_and_loads_nothing() {
    let document: Value = serde_json::from_str(document()).unwrap();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            let summary = operation["summary"].as_str().unwrap();
            assert!(page().contains(summary), "{summary}");
        }
    }
    for loaded in ["<script", "src=", "<link", "@import", "url("] {
        assert!(!page().contains(loaded), "{loaded}");
    }
}

fn gather(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(Into::into));
            fields.values().for_each(|value| gather(value, references));
        }
        Value::Array(values) => values.iter().for_each(|value| gather(value, references)),
        _ => {}
    }
}
