//! The fields of a schema, one a row, those of an object within it under its name.

use serde_json::Value;

use super::Document;
use super::markup::{escaped, inline};

/// A table of a schema's fields; empty where it has none.
pub(super) fn table(document: Document<'_>, schema: &Value) -> String {
    let mut rows = String::new();
    add(document, document.resolved(schema), "", 0, &mut rows);
    if rows.is_empty() {
        return rows;
    }
    format!("<table><thead><tr><th>Field<th>Type<th>Meaning</thead><tbody>{rows}</tbody></table>")
}

/// A row: a name, what it takes, and what it means.
pub(super) fn row(
    document: Document<'_>,
    name: &str,
    is_required: bool,
    shown: &Value,
    meaning: &str,
) -> String {
    let required = if is_required { " <b>required</b>" } else { "" };
    let kind = kind(document, shown);
    format!(
        "<tr><td><code>{}</code>{required}<td>{kind}<td>{}</tr>",
        escaped(name),
        inline(meaning)
    )
}

/// The depth is bounded by how the schemas are written: none holds itself.
fn add(document: Document<'_>, schema: &Value, under: &str, depth: usize, rows: &mut String) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    for (name, property) in properties {
        let found = document.resolved(property);
        let required = schema["required"].as_array();
        let is_required = required.is_some_and(|names| names.iter().any(|other| other == name));
        let meaning = property["description"].as_str();
        let meaning = meaning.or_else(|| found["description"].as_str());
        let name = format!("{under}{name}");
        rows.push_str(&row(
            document,
            &name,
            is_required,
            property,
            meaning.unwrap_or_default(),
        ));
        if depth < DEPTH_MAX {
            add(document, found, &format!("{name}."), depth + 1, rows);
            let items = document.resolved(&found["items"]);
            add(document, items, &format!("{name}[]."), depth + 1, rows);
        }
    }
}

/// A type with its bounds.
fn kind(document: Document<'_>, schema: &Value) -> String {
    let schema = document.resolved(schema);
    let mut parts = Vec::new();
    match &schema["type"] {
        Value::Array(kinds) => {
            let kinds: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            parts.push(kinds.join(" or "));
        }
        kind => parts.push(kind.as_str().unwrap_or("any").to_owned()),
    }
    if let Some(format) = schema["format"]
        .as_str()
        .filter(|format| *format != "int64")
    {
        parts.push(format.to_owned());
    }
    if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str);
        let words: Vec<String> = words
            .map(|word| format!("<code>{}</code>", escaped(word)))
            .collect();
        parts.push(words.join(" "));
    }
    for (name, before, after) in BOUNDS {
        if let Some(bound) = schema[name].as_u64() {
            parts.push(format!("{before}{bound}{after}"));
        }
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        parts.push(format!("<code>{}</code>", escaped(pattern)));
    }
    parts.join("<br>")
}

/// The words around a bound.
const BOUNDS: [(&str, &str, &str); 6] = [
    ("minimum", "from ", ""),
    ("maximum", "to ", ""),
    ("minLength", "at least ", " long"),
    ("maxLength", "at most ", " long"),
    ("maxItems", "at most ", " items"),
    ("maxProperties", "at most ", " entries"),
];

const DEPTH_MAX: usize = 4;
