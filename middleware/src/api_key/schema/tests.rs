//! What is written is read again, and what is wrong is told.

use super::*;

#[test]
fn a_record_survives_being_written_and_read() {
    let file = json!({ "version": 1, "keys": [full(), least()] });
    let records = read(&file).unwrap();
    let again = write(records.iter().map(AsRef::as_ref));
    assert_eq!(again["keys"][0], full());
    assert_eq!(read(&again).unwrap()[1].principal(), records[1].principal());
    assert_eq!(records[1].principal().family(), "key_2");
    assert!(records[1].principal().agents().is_none());
}

#[test]
fn a_single_record_is_written_and_read_likewise() {
    let record = KeyRecord::from_json(&full()).unwrap();
    assert_eq!(record.to_json(), full());
    for (given, want) in [
        (json!(7), "the record: found 7, allowed is an object"),
        (json!({"id": 1}), "id: found 1, allowed is a text"),
        (
            json!({"expire": 1}),
            "the record: found a field \"expire\", allowed is one of the fields that keys.md lists",
        ),
    ] {
        let fault = KeyRecord::from_json(&given).unwrap_err();
        assert_eq!(fault.to_string(), want, "{given}");
    }
}

#[test]
fn a_wrong_file_is_told_place_found_and_allowed() {
    for (file, want) in [
        (
            json!([]),
            "the file: found a list of 0, allowed is an object",
        ),
        (json!({"keys": []}), "version: found nothing, allowed is 1"),
        (
            json!({"version": 2, "keys": []}),
            "version: found 2, allowed is 1",
        ),
        (
            json!({"version": 1, "keys": {}}),
            "keys: found an object, allowed is a list of key records",
        ),
        (
            json!({"version": 1, "keys": [7]}),
            "keys[0]: found 7, allowed is an object",
        ),
    ] {
        assert_eq!(read(&file).unwrap_err().to_string(), want, "{file}");
    }
}

#[test]
fn a_wrong_field_is_told_record_field_found_and_allowed() {
    for (field, value, want) in [
        (
            "id",
            json!(null),
            "keys[1].id: found null, allowed is 1 to 64 visible ASCII",
        ),
        (
            "id",
            json!("a b"),
            "keys[1].id: found \"a b\", allowed is 1 to 64 visible",
        ),
        (
            "account",
            json!(1),
            "keys[1].account: found 1, allowed is a text",
        ),
        (
            "name",
            json!([]),
            "keys[1].name: found a list of 0, allowed is a text",
        ),
        (
            "scopes",
            json!("a:b"),
            "keys[1].scopes: found \"a:b\", allowed is a list of",
        ),
        (
            "scopes",
            json!(["a", ""]),
            "keys[1].scopes: found a list of 2, allowed is",
        ),
        (
            "agents",
            Value::from(vec![LONG; 40]),
            "keys[1].agents: found a list of 40",
        ),
        (
            "per_minute",
            json!(0),
            "keys[1].per_minute: found 0, allowed is a whole number",
        ),
        (
            "burst",
            json!(1.5),
            "keys[1].burst: found 1.5, allowed is a whole number",
        ),
        (
            "expires_at",
            json!("tomorrow"),
            "keys[1].expires_at: found \"tomorrow\"",
        ),
        (
            "expire_at",
            json!("x"),
            "keys[1]: found a field \"expire_at\", allowed is one",
        ),
    ] {
        told(field, value, want);
    }
}

#[test]
fn a_wrong_digest_is_told_likewise() {
    for (field, value, want) in [
        (
            "digest",
            json!(null),
            "keys[1].digest: found null, allowed is an object",
        ),
        (
            "digest",
            json!({}),
            "keys[1].digest.algorithm: found nothing, allowed is sha256",
        ),
        (
            "digest",
            json!({"algorithm": "hmac-sha256"}),
            "keys[1].digest.pepper: found nothing, allowed is 1 to 64 visible",
        ),
        (
            "digest",
            json!({"algorithm": "sha256", "pepper": "p"}),
            "keys[1].digest.pepper: found \"p\", allowed is none beside sha256",
        ),
    ] {
        told(field, value, want);
    }
}

#[test]
fn a_key_in_the_place_of_its_digest_is_not_shown() {
    let mut record = least();
    record["digest"]["value"] = json!("mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f");
    let refused = read(&json!({ "version": 1, "keys": [record] })).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "keys[0].digest.value: found 41 characters, \
         allowed is 64 characters of hex: the digest, never the key"
    );
}

fn told(field: &str, value: Value, want: &str) {
    let mut record = full();
    record[field] = value;
    let file = json!({ "version": 1, "keys": [least(), record] });
    let got = read(&file).unwrap_err().to_string();
    assert!(got.starts_with(want), "{field}: {got}");
}

const LONG: &str = "123456789012345678901234567890123456789012345678901234567890";

fn full() -> Value {
    json!({
        "id": "key_1",
        "family": "fam_1",
        "account": "acc_1",
        "name": "Billing",
        "prefix": "8aB3cD",
        "last_four": "2d9f",
        "env": "live",
        "scopes": ["whatsapp:send", "whatsapp:read"],
        "agents": ["6f1c3f4e-2f7a-4d5e-9b1a-0c2d3e4f5a6b"],
        "per_minute": 600,
        "burst": 20,
        "created_at": "2026-11-22T10:00:00Z",
        "expires_at": "2027-11-22T10:00:00.5Z",
        "revoked_at": "2027-01-01T00:00:00Z",
        "last_used_at": "2026-11-22T11:00:00Z",
        "digest": { "algorithm": "hmac-sha256", "pepper": "p1", "value": "ab".repeat(32) },
    })
}

fn least() -> Value {
    json!({
        "id": "key_2",
        "account": "acc_1",
        "digest": { "algorithm": "sha256", "value": "cd".repeat(32) },
    })
}
