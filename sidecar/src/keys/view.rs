//! `keys list` and `keys show`: records for people, and for machines without their digests.

use serde_json::{Value, json};
use vestibule::api_key::{KeyRecord, Refusal};
use vestibule::clock::Timestamp;

/// A record for machines: as in the key file, with its `state`, without its digest.
pub fn json(record: &KeyRecord, now: Timestamp) -> Value {
    let mut json = record.to_json();
    if let Some(fields) = json.as_object_mut() {
        fields.shift_remove("digest");
        fields.insert("state".into(), json!(state(record, now)));
    }
    json
}

/// `active`, `expired` or `revoked`.
pub fn state(record: &KeyRecord, now: Timestamp) -> &'static str {
    match record.admit(now) {
        Ok(_) => "active",
        Err(Refusal::Expired) => "expired",
        Err(Refusal::Revoked) => "revoked",
    }
}

/// Records as a table, a line each.
pub fn table<'a>(records: impl IntoIterator<Item = &'a KeyRecord>, now: Timestamp) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(records.into_iter().map(|record| row(record, now)));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEADINGS.len()).filter_map(width).collect();
    let line = |row: &[String; HEADINGS.len()]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// One record, a field a line.
pub fn details(record: &KeyRecord, now: Timestamp) -> String {
    let json = json(record, now);
    let fields = json.as_object().into_iter().flatten();
    fields
        .map(|(field, value)| format!("{field:13} {}\n", plain(value)))
        .collect()
}

/// A moment of a record, in RFC 3339.
pub(super) fn moment(record: &KeyRecord, field: &str) -> String {
    plain(&record.to_json()[field])
}

fn row(record: &KeyRecord, now: Timestamp) -> [String; HEADINGS.len()] {
    let json = record.to_json();
    let cell = |field: &str| plain(&json[field]);
    let key = match (record.prefix(), record.last_four()) {
        ("", "") => "-".to_owned(),
        (prefix, last_four) => printable(&format!("{prefix}…{last_four}")),
    };
    [
        cell("id"),
        cell("account"),
        cell("name"),
        key,
        cell("env"),
        cell("scopes"),
        state(record, now).to_owned(),
        cell("expires_at"),
    ]
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A name is free text, and must not steer the terminal of whoever lists it.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

const HEADINGS: [&str; 8] = [
    "ID", "ACCOUNT", "NAME", "KEY", "ENV", "SCOPES", "STATE", "EXPIRES",
];

#[cfg(test)]
mod tests {
    use vestibule::api_key::{Digest, KeyRecordBuilder};

    use super::*;

    #[test]
    fn a_table_is_aligned_and_steers_no_terminal() {
        let one = record("key_1")
            .name("Bill\u{1b}[2Jing")
            .shown_as("8aB3cD", "2d9f");
        let other = record("key_22").scopes(["a:b", "c:d"]).revoked(NOW);
        let shown = table([&*one.build(), &*other.build()], NOW);
        let want = [
            "ID      ACCOUNT  NAME         KEY          ENV   SCOPES   STATE    EXPIRES",
            "key_1   acc_1    Bill\u{fffd}[2Jing  8aB3cD…2d9f  live  none     active   -",
            "key_22  acc_1    -            -            live  a:b,c:d  revoked  -",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), want);
    }

    #[test]
    fn what_is_shown_has_a_state_and_no_digest() {
        for (record, state) in [
            (record("k"), "active"),
            (record("k").expires(NOW), "expired"),
            (record("k").revoked(NOW).expires(NOW), "revoked"),
        ] {
            let record = record.build();
            let json = json(&record, NOW);
            assert_eq!(json["state"], state);
            assert!(json.get("digest").is_none(), "{json}");
            let details = details(&record, NOW);
            assert!(
                details.contains(&format!("state         {state}\n")),
                "{details}"
            );
        }
    }

    fn record(id: &str) -> KeyRecordBuilder {
        KeyRecord::builder(id, "acc_1", Digest::from_parts(None, [1; 32]))
    }

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000);
}
