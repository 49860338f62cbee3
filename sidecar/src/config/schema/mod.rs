//! The JSON Schema of the configuration, for editors: what each key may be, and what it does.

mod rooms;

use serde_json::{Map, Value, json};

use self::rooms::ROOMS;

/// A table of the configuration.
struct Room {
    /// Its key in the room around it, after that one's path: `keys.pepper`; nothing for the
    /// keys at the top.
    path: &'static str,
    shape: Shape,
    says: &'static str,
    rows: &'static [Row],
}

/// How often a table can be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `[path]`
    One,
    /// `[[path]]`
    Many,
}

/// A key.
pub(super) struct Row {
    key: &'static str,
    kind: Kind,
    /// Whether it must be there where its table is.
    must: bool,
    says: &'static str,
}

/// What a value may be.
pub(super) enum Kind {
    /// Any string.
    Text,
    /// A string of this pattern, and one such.
    Like(&'static str, &'static str),
    /// The same, or a list of them.
    Several(&'static str, &'static str),
    /// One of these words.
    Word(&'static [&'static str]),
    Flag,
    /// A whole number between these.
    Whole(u64, u64),
    /// A number from 0 to 1.
    Share,
    /// A duration like `"15s"`, between these in milliseconds.
    Duration(u64, u64),
    /// A number of bytes, or a size like `"4MB"`, between these.
    Size(u64, u64),
}

/// The schema, in JSON (draft 7, which editors of TOML know), with a line break at its end.
#[must_use]
pub fn schema() -> String {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "The configuration of a vestibule sidecar",
    });
    let top = room(&ROOMS[0]);
    let members = schema.as_object_mut().expect("it was written as an object");
    members.extend(top.as_object().cloned().unwrap_or_default());
    format!("{schema:#}\n")
}

/// Every key, after the path of its table.
#[cfg(test)]
pub(crate) fn schema_keys() -> Vec<String> {
    let keys = ROOMS.iter().flat_map(|room| {
        let path = match room.path {
            "" => String::new(),
            path => format!("{path}."),
        };
        room.rows
            .iter()
            .map(move |row| format!("{path}{}", row.key))
    });
    keys.collect()
}

/// The schema of a table, with those inside of it.
fn room(room: &Room) -> Value {
    let mut properties = Map::new();
    for row in room.rows {
        properties.insert(row.key.to_owned(), described(row.kind.schema(), row.says));
    }
    for (key, inner) in inner(room) {
        properties.insert(key.to_owned(), table(inner));
    }
    let required: Vec<&str> = room
        .rows
        .iter()
        .filter(|row| row.must)
        .map(|row| row.key)
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn table(inner: &Room) -> Value {
    let schema = match inner.shape {
        Shape::One => room(inner),
        Shape::Many => json!({ "type": "array", "minItems": 1, "items": room(inner) }),
    };
    described(schema, inner.says)
}

/// The tables inside of this one, by their keys.
fn inner(outer: &Room) -> impl Iterator<Item = (&'static str, &'static Room)> {
    ROOMS.iter().filter_map(move |room| {
        let (around, key) = room.path.rsplit_once('.').unwrap_or(("", room.path));
        (around == outer.path && !key.is_empty()).then_some((key, room))
    })
}

fn described(schema: Value, says: &str) -> Value {
    let mut members = Map::new();
    members.insert("description".to_owned(), json!(says));
    if let Value::Object(schema) = schema {
        members.extend(schema);
    }
    Value::Object(members)
}

// === impl Room ===

impl Room {
    const fn one(path: &'static str, says: &'static str, rows: &'static [Row]) -> Self {
        Self {
            path,
            shape: Shape::One,
            says,
            rows,
        }
    }

    const fn many(path: &'static str, says: &'static str, rows: &'static [Row]) -> Self {
        Self {
            path,
            shape: Shape::Many,
            says,
            rows,
        }
    }
}

// === impl Row ===

impl Row {
    /// A key that may be absent.
    pub(super) const fn may(key: &'static str, kind: Kind, says: &'static str) -> Self {
        Self {
            key,
            kind,
            must: false,
            says,
        }
    }

    /// A key that must be there.
    pub(super) const fn must(key: &'static str, kind: Kind, says: &'static str) -> Self {
        Self {
            key,
            kind,
            must: true,
            says,
        }
    }
}

// === impl Kind ===

impl Kind {
    fn schema(&self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Like(pattern, example) => {
                json!({ "type": "string", "pattern": pattern, "examples": [example] })
            }
            Self::Several(pattern, example) => {
                let one = json!({ "type": "string", "pattern": pattern });
                json!({
                    "examples": [example],
                    "anyOf": [one, { "type": "array", "minItems": 1, "items": one }],
                })
            }
            Self::Word(words) => json!({ "enum": words }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Whole(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
            Self::Share => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            Self::Duration(least, most) => json!({
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h)$",
                "examples": ["15s"],
                "$comment": format!("from {least}ms to {most}ms"),
            }),
            Self::Size(least, most) => json!({
                "examples": ["4MB"],
                "anyOf": [
                    { "type": "integer", "minimum": least, "maximum": most },
                    { "type": "string", "pattern": "^[0-9]+(B|KB|MB|GB)?$" },
                ],
            }),
        }
    }
}

pub(super) const HOUR: u64 = 3_600_000;
pub(super) const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests;
