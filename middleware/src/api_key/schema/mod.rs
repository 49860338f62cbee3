//! The one shape of key records as JSON, read and written; `keys.md` documents it.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::digest::Digest;
use super::keys::KeysError;
use super::record::{KeyRecord, KeyRecordBuilder};
use crate::clock::Timestamp;

/// A key file that says something it may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: found {found}, allowed is {allowed}")]
pub(super) struct SchemaError {
    place: String,
    found: String,
    allowed: &'static str,
}

/// The records in a key file.
pub(super) fn read(file: &Value) -> Result<Vec<Arc<KeyRecord>>, SchemaError> {
    let file = Object::new(file, Place::Whole("the file"))?;
    file.only(&["version", "keys"], "version or keys")?;
    if file.fields.get("version") != Some(&json!(VERSION)) {
        return Err(file.wrong("version", "1"));
    }
    let Some(Value::Array(keys)) = file.fields.get("keys") else {
        return Err(file.wrong("keys", "a list of key records"));
    };
    keys.iter()
        .enumerate()
        .map(|(index, key)| Object::new(key, Place::Part(format!("keys[{index}]")))?.record())
        .collect()
}

/// A key file of these records.
pub(super) fn write<'a>(records: impl IntoIterator<Item = &'a KeyRecord>) -> Value {
    let keys: Vec<Value> = records.into_iter().map(write_record).collect();
    json!({ "version": VERSION, "keys": keys })
}

/// An object of the file and where it stands.
struct Object<'a> {
    fields: &'a Map<String, Value>,
    place: Place,
}

/// Where an object stands, as an error names it.
enum Place {
    /// The object is all there is.
    Whole(&'static str),
    Part(String),
}

// === impl KeyRecord ===

impl KeyRecord {
    /// The record that a JSON object of the schema is, as in the list of a key file.
    ///
    /// # Errors
    ///
    /// [`KeysError`]: a sentence that names the field, what was found and what is allowed.
    pub fn from_json(record: &Value) -> Result<Arc<Self>, KeysError> {
        Ok(Object::new(record, Place::Whole("the record"))?.record()?)
    }

    /// The record as [`from_json`](Self::from_json) takes it, with its digest.
    pub fn to_json(&self) -> Value {
        write_record(self)
    }
}

// === impl Object ===

impl<'a> Object<'a> {
    fn new(value: &'a Value, place: Place) -> Result<Self, SchemaError> {
        match value {
            Value::Object(fields) => Ok(Self { fields, place }),
            other => Err(SchemaError {
                place: place.to_string(),
                found: shown(other),
                allowed: "an object",
            }),
        }
    }

    fn record(&self) -> Result<Arc<KeyRecord>, SchemaError> {
        self.only(RECORD_FIELDS, "one of the fields that keys.md lists")?;
        let id = self.id("id")?;
        let (prefix, last_four) = (self.text("prefix")?, self.text("last_four")?);
        let mut record = KeyRecord::builder(id, self.id("account")?, self.digest()?)
            .family(self.optional_id("family")?.unwrap_or(id))
            .environment(self.optional_id("env")?.unwrap_or("live"))
            .name(self.text("name")?.unwrap_or_default())
            .shown_as(prefix.unwrap_or_default(), last_four.unwrap_or_default())
            .scopes(self.list("scopes")?.unwrap_or_default());
        if let Some(agents) = self.list("agents")? {
            record = record.agents(agents);
        }
        if let Some(limit) = self.number("per_minute")? {
            record = record.per_minute(limit);
        }
        if let Some(burst) = self.number("burst")? {
            record = record.burst(burst);
        }
        self.with_times(record).map(KeyRecordBuilder::build)
    }

    fn with_times(&self, mut record: KeyRecordBuilder) -> Result<KeyRecordBuilder, SchemaError> {
        if let Some(at) = self.time("created_at")? {
            record = record.created(at);
        }
        if let Some(at) = self.time("expires_at")? {
            record = record.expires(at);
        }
        if let Some(at) = self.time("revoked_at")? {
            record = record.revoked(at);
        }
        if let Some(at) = self.time("last_used_at")? {
            record = record.last_used(at);
        }
        Ok(record)
    }

    fn digest(&self) -> Result<Digest, SchemaError> {
        let Some(value) = self.present("digest") else {
            return Err(self.wrong("digest", "an object; it is required"));
        };
        let digest = Object::new(value, Place::Part(self.at("digest")))?;
        digest.only(
            &["algorithm", "pepper", "value"],
            "algorithm, pepper or value",
        )?;
        let pepper = match digest.text("algorithm")? {
            Some("sha256") if digest.present("pepper").is_none() => None,
            Some("sha256") => return Err(digest.wrong("pepper", "none beside sha256")),
            Some("hmac-sha256") => Some(digest.id("pepper")?.into()),
            _ => return Err(digest.wrong("algorithm", "sha256 or hmac-sha256")),
        };
        let mut bytes = [0; 32];
        let hex = digest.text("value")?.unwrap_or_default();
        // What stands here by mistake may be the key itself: it is counted, not shown.
        hex::decode_to_slice(hex, &mut bytes).map_err(|_| SchemaError {
            place: digest.at("value"),
            found: format!("{} characters", hex.len()),
            allowed: "64 characters of hex: the digest, never the key",
        })?;
        Ok(Digest::from_parts(pepper, bytes))
    }

    fn id(&self, field: &str) -> Result<&'a str, SchemaError> {
        self.optional_id(field)?
            .ok_or_else(|| self.wrong(field, ID_ALLOWED))
    }

    fn optional_id(&self, field: &str) -> Result<Option<&'a str>, SchemaError> {
        let text = self.text(field)?;
        match text {
            Some(text) if !is_id(text) => Err(self.wrong(field, ID_ALLOWED)),
            text => Ok(text),
        }
    }

    fn text(&self, field: &str) -> Result<Option<&'a str>, SchemaError> {
        match self.present(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(field, "a text")),
        }
    }

    fn list(&self, field: &str) -> Result<Option<Vec<&'a str>>, SchemaError> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        let list: Option<Vec<&str>> = value.as_array().and_then(|list| {
            list.iter()
                .map(|one| one.as_str().filter(|t| is_id(t)))
                .collect()
        });
        match list {
            Some(list) if list.iter().map(|text| text.len() + 3).sum::<usize>() <= LIST_MAX => {
                Ok(Some(list))
            }
            _ => Err(self.wrong(field, LIST_ALLOWED)),
        }
    }

    fn number(&self, field: &str) -> Result<Option<u32>, SchemaError> {
        let Some(value) = self.present(field) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        match number {
            Some(1..) => Ok(number),
            _ => Err(self.wrong(field, "a whole number from 1 to 4294967295")),
        }
    }

    fn time(&self, field: &str) -> Result<Option<Timestamp>, SchemaError> {
        let Some(text) = self.text(field)? else {
            return Ok(None);
        };
        let millis = OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|time| u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok());
        millis
            .map(|millis| Some(Timestamp::from_unix_millis(millis)))
            .ok_or_else(|| self.wrong(field, "a time like 2026-11-22T10:00:00Z"))
    }

    /// A field that is there; null is as good as absent.
    fn present(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A field that nobody knows is refused: a misspelt `expires_at` would otherwise
    /// make a key that lives for ever.
    fn only(&self, known: &[&str], allowed: &'static str) -> Result<(), SchemaError> {
        match self
            .fields
            .keys()
            .find(|field| !known.contains(&field.as_str()))
        {
            None => Ok(()),
            Some(field) => Err(SchemaError {
                place: self.place.to_string(),
                found: format!("a field {field:.40?}"),
                allowed,
            }),
        }
    }

    fn wrong(&self, field: &str, allowed: &'static str) -> SchemaError {
        SchemaError {
            place: self.at(field),
            found: self
                .fields
                .get(field)
                .map_or_else(|| "nothing".into(), shown),
            allowed,
        }
    }

    fn at(&self, field: &str) -> String {
        match &self.place {
            Place::Whole(_) => field.to_owned(),
            Place::Part(place) => format!("{place}.{field}"),
        }
    }
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole(name) => name,
            Self::Part(place) => place,
        })
    }
}

fn write_record(record: &KeyRecord) -> Value {
    let who = record.principal();
    let time = |at: Option<Timestamp>| at.map(write_time);
    json!({
        "id": who.key_id(),
        "family": who.family(),
        "account": who.account(),
        "name": record.name(),
        "prefix": record.prefix(),
        "last_four": record.last_four(),
        "env": who.environment(),
        "scopes": who.scopes().iter().collect::<Vec<_>>(),
        "agents": who.agents().map(Iterator::collect::<Vec<_>>),
        "per_minute": who.per_minute(),
        "burst": who.burst(),
        "created_at": time(record.created()),
        "expires_at": time(record.expires()),
        "revoked_at": time(record.revoked()),
        "last_used_at": time(record.last_used()),
        "digest": write_digest(record.digest()),
    })
}

fn write_digest(digest: &Digest) -> Value {
    let value = hex::encode(digest.as_bytes());
    match digest.pepper() {
        None => json!({ "algorithm": "sha256", "value": value }),
        Some(pepper) => json!({ "algorithm": "hmac-sha256", "pepper": pepper, "value": value }),
    }
}

fn write_time(at: Timestamp) -> String {
    let nanos = i128::from(at.as_unix_millis()) * 1_000_000;
    // Past the year 9999 RFC 3339 has no words; such a key lives for ever anyway.
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| "9999-12-31T23:59:59Z".into())
}

fn is_id(text: &str) -> bool {
    (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A value as an error shows it: short, and its kind where it is not plain.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(_) => "an object".into(),
        Value::String(text) => format!("{text:.40?}"),
        plain => plain.to_string(),
    }
}

const VERSION: u64 = 1;

/// Ids, scopes and agents travel in one header of the assertion, which has a cap.
const ID_MAX: usize = 64;
const ID_ALLOWED: &str = "1 to 64 visible ASCII characters; it is required";

/// Bytes of scopes, and as many of agents: about 50 UUIDs. Both must fit, with all the
/// rest, into an assertion of 8 KiB.
const LIST_MAX: usize = 2048;
const LIST_ALLOWED: &str = "a list of texts of 1 to 64 visible ASCII characters, 2 KiB in all";

const RECORD_FIELDS: &[&str] = &[
    "id",
    "family",
    "account",
    "name",
    "prefix",
    "last_four",
    "env",
    "scopes",
    "agents",
    "per_minute",
    "burst",
    "created_at",
    "expires_at",
    "revoked_at",
    "last_used_at",
    "digest",
];

#[cfg(test)]
mod tests;
