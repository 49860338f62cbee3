//! `keys import`: records from elsewhere, as JSON Lines.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use ulid::Ulid;
use vestibule::api_key::{KeyError, KeyFormat, KeyRecord, Peppers};

use super::create::Mint;
use super::fault::Fault;
use super::set::KeySet;

/// Takes one record a line, and tells how many there were.
///
/// A record that is there already, as it is, is passed over.
///
/// # Errors
///
/// [`Fault`] names each line, its field, what was found and what is allowed; a secret is
/// never repeated. Nothing is taken then.
pub fn import(
    keys: &mut KeySet,
    lines: &str,
    format: &KeyFormat,
    mint: &Mint<'_>,
) -> Result<usize, Fault> {
    let records = judge(Taken::of(keys), lines, format, mint)?;
    let count = records.len();
    for record in records {
        // What is there is the same, and knows when it was used.
        if !keys.has(record.principal().key_id()) {
            keys.put(record);
        }
    }
    Ok(count)
}

/// Reads one record a line.
///
/// A line is a record of the key file, with its `digest`, or with the `secret` itself in
/// its place, of which only the digest is kept. Without an `id` it gets one that follows
/// from the digest, so that the same line is the same key when it is taken again. Empty
/// lines are skipped.
///
/// # Errors
///
/// [`Fault`] names each line, its field, what was found and what is allowed; a secret is
/// never repeated.
pub fn read(
    lines: &str,
    format: &KeyFormat,
    mint: &Mint<'_>,
) -> Result<Vec<Arc<KeyRecord>>, Fault> {
    judge(Taken::of(&KeySet::default()), lines, format, mint)
}

fn judge(
    mut taken: Taken<'_>,
    lines: &str,
    format: &KeyFormat,
    mint: &Mint<'_>,
) -> Result<Vec<Arc<KeyRecord>>, Fault> {
    let (mut records, mut faults) = (Vec::new(), Vec::new());
    for (index, line) in lines.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        let record = parse(line, format, mint).and_then(|record| taken.admit(record, number));
        match record {
            Ok(record) => records.push(record),
            Err(fault) => faults.push(fault.at(format_args!("line {number}"))),
        }
    }
    if faults.is_empty() {
        Ok(records)
    } else {
        Err(summary(&faults))
    }
}

/// Who has an id or a digest already.
struct Taken<'a> {
    keys: &'a KeySet,
    ids: HashMap<Box<str>, String>,
    digests: HashMap<[u8; 32], String>,
}

// === impl Taken ===

impl<'a> Taken<'a> {
    fn of(keys: &'a KeySet) -> Self {
        let here = |record: &Arc<KeyRecord>| {
            let id = record.principal().key_id();
            (*record.digest().as_bytes(), format!("the file's {id}"))
        };
        let id = |record: &Arc<KeyRecord>| record.principal().key_id().into();
        Self {
            keys,
            ids: keys.iter().map(|r| (id(r), HELD.into())).collect(),
            digests: keys.iter().map(here).collect(),
        }
    }

    fn admit(&mut self, record: Arc<KeyRecord>, line: usize) -> Result<Arc<KeyRecord>, Fault> {
        let id = record.principal().key_id();
        let place = format!("line {line}");
        let other = self.ids.insert(id.into(), place.clone());
        if other.as_deref() == Some(HELD) && self.holds(&record) {
            return Ok(record);
        }
        if let Some(other) = other {
            return Err(Fault::new(format!("id: {other} has {id:?} already")));
        }
        let digest = *record.digest().as_bytes();
        match self.digests.insert(digest, place) {
            Some(other) => Err(Fault::new(format!("digest: it is the key of {other}"))),
            None => Ok(record),
        }
    }

    /// Whether this very record was there before.
    fn holds(&self, record: &KeyRecord) -> bool {
        self.keys
            .get(record.principal().key_id())
            .is_ok_and(|held| {
                held.digest() == record.digest()
                    && held.principal().version() == record.principal().version()
            })
    }
}

/// An id that is the same whenever the same key is taken, and tells nothing of its digest.
fn id_of(digest: &Value) -> String {
    let text = |field: &str| digest[field].as_str().unwrap_or_default().to_lowercase();
    let name = format!("vestibule import {} {}", text("pepper"), text("value"));
    let hash = Sha256::digest(name);
    let bytes = hash.first_chunk().expect("32 bytes begin with 16");
    format!("key_{}", Ulid::from_bytes(*bytes))
}

fn parse(line: &str, format: &KeyFormat, mint: &Mint<'_>) -> Result<Arc<KeyRecord>, Fault> {
    let mut fields: Map<String, Value> = match serde_json::from_str(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(Fault::new("found no object, allowed is {\"account\":…}")),
        // Its own words would name line 1: of the file there is one only.
        Err(cause) => {
            let column = cause.column();
            return Err(Fault::new(format!("column {column}: it is not JSON")));
        }
    };
    if let Some(secret) = fields.remove("secret") {
        replace_secret(&mut fields, &secret, format, mint.peppers)?;
    }
    if fields.get("id").is_none_or(Value::is_null) {
        let digest = fields.get("digest").unwrap_or(&Value::Null);
        fields.insert("id".into(), id_of(digest).into());
    }
    Ok(KeyRecord::from_json(&Value::Object(fields))?)
}

/// Puts what may be kept of a secret in its place.
fn replace_secret(
    fields: &mut Map<String, Value>,
    secret: &Value,
    format: &KeyFormat,
    peppers: &Peppers,
) -> Result<(), Fault> {
    let refused = |why: &str| Fault::new(format!("secret: {why}"));
    if fields.get("digest").is_some_and(|digest| !digest.is_null()) {
        return Err(refused("found one beside a digest, allowed is either"));
    }
    let text = secret.as_str().ok_or_else(|| refused("it is not a text"))?;
    let key = format.parse(text).map_err(|error| match error {
        KeyError::Malformed => refused("it is not shaped like a key; other makes need --opaque"),
        other => refused(&other.to_string()),
    })?;
    let env = fields.get("env").filter(|env| !env.is_null());
    if let (Some(found), Some(said)) = (env, key.environment())
        && found != said
    {
        let text = format!("env: found {found:.40}, allowed is {said:?}, as the key says");
        return Err(Fault::new(text));
    }
    let tells_env = env.is_some();
    // The id and the account here are none of its own; those of the line stand.
    let record = KeyRecord::of(&key, peppers, "_", "_").build();
    let known = record.to_json();
    for field in ["digest", "prefix", "last_four"] {
        fields.insert(field.into(), known[field].clone());
    }
    if !tells_env {
        fields.insert("env".into(), known["env"].clone());
    }
    Ok(())
}

fn summary(faults: &[Fault]) -> Fault {
    let mut text = format!("nothing was taken: {} of the lines are wrong", faults.len());
    for fault in faults.iter().take(FAULTS_SHOWN) {
        text.push_str("\n  ");
        text.push_str(&fault.to_string());
    }
    if faults.len() > FAULTS_SHOWN {
        let more = faults.len() - FAULTS_SHOWN;
        text.push_str(&format!("\n  and {more} more"));
    }
    Fault::new(text)
}

/// Where a record is that was there before.
const HELD: &str = "the file";

/// As many as one screen shows.
const FAULTS_SHOWN: usize = 20;

#[cfg(test)]
mod tests {
    use vestibule::clock::Timestamp;
    use vestibule::entropy::SystemEntropy;

    use super::super::export;
    use super::*;

    #[test]
    fn a_secret_is_kept_as_its_digest_alone() {
        let mut keys = KeySet::default();
        let line = format!("{{\"id\":\"k\",\"account\":\"a\",\"secret\":\"{KEY}\"}}\n\n");
        assert_eq!(take(&mut keys, &line).unwrap(), 1);
        let key = KeyFormat::new().parse(KEY).unwrap();
        let record = keys.get("k").unwrap();
        assert_eq!(*record.digest(), Peppers::none().digest(&key));
        let shown = (record.prefix(), record.last_four());
        assert_eq!(shown, ("8aB3cD", "2d9f"));
        assert_eq!(record.principal().environment(), "live");
    }

    #[tokio::test]
    async fn what_is_exported_is_imported() {
        let plain = format!("{{\"account\":\"a\",\"secret\":\"{KEY}\",\"scopes\":[\"a:b\"]}}");
        let hashed = hashed("k2", &"ab".repeat(32));
        let mut keys = KeySet::default();
        assert_eq!(take(&mut keys, &format!("{plain}\n{hashed}")).unwrap(), 2);
        assert_eq!(keys.get("k2").unwrap().digest().pepper(), Some("p1"));
        let exported = async |keys: &KeySet| export(&keys.keyring().unwrap()).await.unwrap();
        let lines = exported(&keys).await;
        let mut again = KeySet::default();
        assert_eq!(take(&mut again, &lines).unwrap(), 2);
        assert_eq!(exported(&again).await, lines);
        assert_eq!(take(&mut again, &lines).unwrap(), 2, "they are there");
        assert_eq!(
            take(&mut again, &plain).unwrap(),
            1,
            "its id follows from its key"
        );
        assert_eq!(again.iter().count(), 2);
        assert!(!lines.contains(KEY) && !lines.contains("secret"));
    }

    #[test]
    fn a_wrong_line_is_told_by_field_and_never_shows_the_secret() {
        let mistyped = KEY.replace("2d9f", "2d9e");
        for (line, want) in [
            ("{", "column 1: it is not JSON".into()),
            ("7", "found no object".into()),
            (
                r#"{"account":"a"}"#,
                "digest: found nothing, allowed is".into(),
            ),
            (
                r#"{"account":"a","secret":"hunter2"}"#,
                "secret: it is not shaped like a key; other makes need --opaque".into(),
            ),
            (
                r#"{"account":"a","secret":7}"#,
                "secret: it is not a text".into(),
            ),
            (
                &*format!(r#"{{"account":"a","secret":"{mistyped}"}}"#),
                "secret: the checksum does not match".into(),
            ),
            (
                &*format!(r#"{{"account":"a","secret":"{KEY}","digest":{{}}}}"#),
                "secret: found one beside a digest, allowed is either".into(),
            ),
            (
                &*format!(r#"{{"account":"a","secret":"{KEY}","env":"test"}}"#),
                "env: found \"test\", allowed is \"live\", as the key says".into(),
            ),
            (
                &*format!(r#"{{"account":"a","secret":"{KEY}","expires":"30d"}}"#),
                "the record: found a field \"expires\"".into(),
            ),
            (
                &*format!(r#"{{"account":"a","secret":"{KEY}","burst":0}}"#),
                String::from("burst: found 0, allowed is"),
            ),
        ] {
            let mut keys = KeySet::default();
            let good = hashed("good", &"cd".repeat(32));
            let fault = take(&mut keys, &format!("{good}\n{line}")).unwrap_err();
            let said = fault.to_string();
            assert!(said.contains(&format!("\n  line 2: {want}")), "{said}");
            assert!(
                !said.contains("hunter2") && !said.contains("8aB3cD"),
                "{said}"
            );
            assert_eq!(keys.iter().count(), 0, "{line}");
        }
    }

    #[test]
    fn an_id_and_a_key_are_there_once() {
        let (one, other) = ("ab".repeat(32), "cd".repeat(32));
        for (lines, want) in [
            (
                hashed("old", &other),
                "line 1: id: the file has \"old\" already",
            ),
            (
                hashed("k", &one),
                "line 1: digest: it is the key of the file's old",
            ),
            (
                format!("{}\n{}", hashed("k", &other), hashed("k", &"ef".repeat(32))),
                "line 2: id: line 1 has \"k\" already",
            ),
            (
                format!("{}\n{}", hashed("k", &other), hashed("l", &other)),
                "line 2: digest: it is the key of line 1",
            ),
        ] {
            let mut keys = KeySet::default();
            take(&mut keys, &hashed("old", &one)).unwrap();
            let said = take(&mut keys, &lines).unwrap_err().to_string();
            assert!(said.ends_with(want), "{said}");
            assert_eq!(keys.iter().count(), 1, "{want}");
        }
    }

    #[test]
    fn of_many_faults_a_screenful_is_shown() {
        let said = take(&mut KeySet::default(), &"7\n".repeat(50)).unwrap_err();
        let said = said.to_string();
        assert!(
            said.starts_with("nothing was taken: 50 of the lines"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1 + 20 + 1);
        assert!(said.ends_with("and 30 more"), "{said}");
    }

    fn take(keys: &mut KeySet, lines: &str) -> Result<usize, Fault> {
        let mint = Mint {
            brand: "mk",
            now: Timestamp::from_unix_seconds(1_000),
            entropy: &SystemEntropy,
            peppers: &Peppers::none(),
        };
        import(keys, lines, &KeyFormat::new(), &mint)
    }

    fn hashed(id: &str, value: &str) -> String {
        format!(
            r#"{{"id":"{id}","account":"a","digest":{{"algorithm":"hmac-sha256","pepper":"p1","value":"{value}"}}}}"#
        )
    }

    const KEY: &str = "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";
}
