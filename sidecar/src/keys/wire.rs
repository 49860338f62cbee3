//! Key records between a command and the admin socket of a sidecar, as JSON.

use std::sync::Arc;

use form_urlencoded::{Serializer, parse};
use serde_json::{Value, json};
use vestibule::api_key::{Digest, KeyChange, KeyRecord};
use vestibule::clock::Timestamp;

use super::fault::Fault;

/// Where the records are read and written.
pub(crate) const PATH: &str = "/v1/keys";

/// Where it is told when keys were used.
pub(crate) const SEEN: &str = "/v1/keys/seen";

/// Records in one answer.
pub(crate) const PAGE_MAX: usize = 500;

/// More than as many of the largest records take as one command sends at once.
pub(crate) const BODY_MAX: usize = 8 << 20;

/// Which records are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    Page { after: String, most: usize },
    Id(String),
    Digest(Digest),
}

// === impl Query ===

impl Query {
    /// Reads the query of a URI.
    pub(crate) fn parse(query: &str) -> Result<Self, &'static str> {
        let (mut id, mut digest, mut pepper) = (None, None, None);
        let (mut after, mut most) = (String::new(), PAGE_MAX);
        for (name, value) in parse(query.as_bytes()) {
            match &*name {
                "id" => id = Some(value.into_owned()),
                "digest" => digest = Some(value),
                "pepper" => pepper = Some(Arc::from(&*value)),
                "after" => after = value.into_owned(),
                "most" => most = value.parse().map_err(|_| "'most' must be a number.")?,
                _ => return Err("The query may have: after and most, id, or digest and pepper."),
            }
        }
        match (id, digest) {
            (Some(id), None) => Ok(Self::Id(id)),
            (None, Some(hex)) => Ok(Self::Digest(Digest::from_parts(pepper, bytes(&hex)?))),
            (None, None) => Ok(Self::Page { after, most }),
            (Some(_), Some(_)) => Err("Ask by 'id' or by 'digest', not by both."),
        }
    }

    /// The query of a URI.
    pub(crate) fn write(&self) -> String {
        let mut query = Serializer::new(String::new());
        match self {
            Self::Page { after, most } => {
                query.append_pair("after", after);
                query.append_pair("most", &most.to_string());
            }
            Self::Id(id) => {
                query.append_pair("id", id);
            }
            Self::Digest(digest) => {
                query.append_pair("digest", &hex::encode(digest.as_bytes()));
                if let Some(pepper) = digest.pepper() {
                    query.append_pair("pepper", pepper);
                }
            }
        }
        query.finish()
    }
}

/// Records and their versions.
pub(crate) fn records(records: &[Arc<KeyRecord>]) -> Value {
    let keys = records.iter().map(|record| {
        json!({ "record": record.to_json(), "version": version(record.principal().version()) })
    });
    json!({ "keys": keys.collect::<Vec<_>>() })
}

pub(crate) fn read_records(json: &Value) -> Result<Vec<Arc<KeyRecord>>, Fault> {
    let read = |one: &Value| {
        let record = KeyRecord::from_json(&one["record"])?.to_builder();
        let version = read_version(&one["version"]).ok_or_else(|| missing("version"))?;
        Ok(record.version(version).build())
    };
    list(json, "keys")?.iter().map(read).collect()
}

/// Changes, with the versions that they were made from.
pub(crate) fn changes(changes: &[KeyChange]) -> Value {
    let changes = changes.iter().map(|change| {
        json!({ "record": change.record.to_json(), "replaces": change.replaces.map(version) })
    });
    json!({ "changes": changes.collect::<Vec<_>>() })
}

pub(crate) fn read_changes(json: &Value) -> Result<Vec<KeyChange>, Fault> {
    let read = |(index, one): (usize, &Value)| {
        let at = |fault: Fault| fault.at(format_args!("changes[{index}]"));
        let record = KeyRecord::from_json(&one["record"]).map_err(|fault| at(fault.into()))?;
        let replaces = match &one["replaces"] {
            Value::Null => None,
            held => Some(read_version(held).ok_or_else(|| at(missing("replaces")))?),
        };
        Ok(KeyChange { record, replaces })
    };
    list(json, "changes")?
        .iter()
        .enumerate()
        .map(read)
        .collect()
}

/// When keys were used.
pub(crate) fn seen(seen: &[(Box<str>, Timestamp)]) -> Value {
    let seen = seen
        .iter()
        .map(|(id, at)| json!({ "id": id, "at": at.as_unix_millis() }));
    json!({ "seen": seen.collect::<Vec<_>>() })
}

pub(crate) fn read_seen(json: &Value) -> Result<Vec<(Box<str>, Timestamp)>, Fault> {
    let read = |one: &Value| {
        let id = one["id"].as_str().ok_or_else(|| missing("id"))?;
        let at = one["at"].as_u64().ok_or_else(|| missing("at"))?;
        Ok((id.into(), Timestamp::from_unix_millis(at)))
    };
    list(json, "seen")?.iter().map(read).collect()
}

fn list<'a>(json: &'a Value, field: &'static str) -> Result<&'a Vec<Value>, Fault> {
    json[field].as_array().ok_or_else(|| missing(field))
}

fn missing(field: &str) -> Fault {
    Fault::new(format!("{field}: it is missing, or not what it must be"))
}

/// JSON has no whole numbers of 64 bits.
fn version(version: u64) -> String {
    format!("{version:016x}")
}

fn read_version(json: &Value) -> Option<u64> {
    u64::from_str_radix(json.as_str()?, 16).ok()
}

fn bytes(text: &str) -> Result<[u8; 32], &'static str> {
    let mut bytes = [0; 32];
    let decoded = hex::decode_to_slice(text.as_bytes(), &mut bytes);
    decoded.map_err(|_| "'digest' must be 64 characters of hex.")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_it_was_written() {
        let digest = |pepper: Option<&str>| Digest::from_parts(pepper.map(Into::into), [7; 32]);
        for query in [
            Query::Page {
                after: "a&b=%+#?".into(),
                most: 7,
            },
            Query::Id("k/1 &".into()),
            Query::Digest(digest(None)),
            Query::Digest(digest(Some("p&1"))),
        ] {
            assert_eq!(Query::parse(&query.write()), Ok(query));
        }
        for (query, want) in [
            ("most=x", "'most' must be a number."),
            ("digest=00", "'digest' must be 64 characters of hex."),
            ("id=a&digest=00", "Ask by 'id' or by 'digest', not by both."),
            (
                "page=1",
                "The query may have: after and most, id, or digest and pepper.",
            ),
        ] {
            assert_eq!(Query::parse(query), Err(want), "{query}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (json, want) in [
            (json!({}), "changes: it is missing"),
            (
                json!({ "changes": [{}] }),
                "changes[0]: the record: found null",
            ),
            (
                json!({ "changes": [{ "record": record(), "replaces": 7 }] }),
                "changes[0]: replaces: it is missing",
            ),
        ] {
            let fault = read_changes(&json).unwrap_err().to_string();
            assert!(fault.starts_with(want), "{fault}");
        }
    }

    fn record() -> Value {
        let digest = Digest::from_parts(None, [1; 32]);
        KeyRecord::builder("k", "a", digest).build().to_json()
    }
}
