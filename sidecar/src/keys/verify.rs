//! `keys verify`: whom a key belongs to, or why it would be refused.

use std::sync::Arc;

use vestibule::api_key::{KeyError, KeyFormat, KeyRecord, KeyStore, Peppers, Refusal};
use vestibule::clock::Timestamp;

use super::fault::Fault;
use super::place::each_page;
use super::view::moment;

/// What would become of a request with a key, in the order in which it is judged.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is let in, as this.
    Good(Arc<KeyRecord>),
    /// The text is no key, or none for here.
    NoKey(KeyError),
    /// It is a key, and no record has its digest. So many records lie under a pepper,
    /// which is not at hand here.
    Unknown {
        /// Records that could not be compared.
        peppered: usize,
    },
    /// The key belongs to an environment that is not served here, says its record.
    Elsewhere(Arc<KeyRecord>),
    /// The key is known and good no more.
    Refused(Arc<KeyRecord>, Refusal),
}

/// Judges a text as a sidecar of this format and these peppers does.
///
/// # Errors
///
/// [`Fault`] where the keys cannot be looked up.
pub async fn verify(
    keys: &impl KeyStore,
    text: &str,
    (format, peppers): (&KeyFormat, &Peppers),
    now: Timestamp,
) -> Result<Verdict, Fault> {
    let key = match format.parse(text) {
        Ok(key) => key,
        Err(error) => return Ok(Verdict::NoKey(error)),
    };
    for digest in peppers.candidates(&key) {
        let found = keys.find(&digest).await?;
        if let Some(record) = found.filter(|record| record.digest().confirms(&digest)) {
            return Ok(Verdict::of(record, format, now));
        }
    }
    let foreign = |record: &&Arc<KeyRecord>| {
        let pepper = record.digest().pepper();
        pepper.is_some_and(|id| !peppers.has(id))
    };
    let mut peppered = 0;
    each_page(keys, |page| peppered += page.iter().filter(foreign).count()).await?;
    Ok(Verdict::Unknown { peppered })
}

// === impl Verdict ===

impl Verdict {
    fn of(record: Arc<KeyRecord>, format: &KeyFormat, now: Timestamp) -> Self {
        if !format.serves(record.principal().environment()) {
            return Self::Elsewhere(record);
        }
        match record.admit(now).err() {
            None => Self::Good(record),
            Some(refusal) => Self::Refused(record, refusal),
        }
    }

    /// Whether the key is let in.
    pub const fn is_good(&self) -> bool {
        matches!(self, Self::Good(_))
    }

    /// One word for it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Good(_) => "good",
            Self::NoKey(KeyError::Checksum) => "checksum",
            Self::NoKey(KeyError::Environment) | Self::Elsewhere(_) => "environment",
            Self::NoKey(KeyError::Malformed) => "malformed",
            Self::Unknown { .. } => "unknown",
            Self::Refused(_, Refusal::Expired) => "expired",
            Self::Refused(_, Refusal::Revoked) => "revoked",
        }
    }

    /// The record of the key, where there is one.
    pub const fn record(&self) -> Option<&Arc<KeyRecord>> {
        match self {
            Self::Good(record) | Self::Elsewhere(record) | Self::Refused(record, _) => Some(record),
            Self::NoKey(_) | Self::Unknown { .. } => None,
        }
    }

    /// A sentence for people, without the key.
    pub fn sentence(&self) -> String {
        let named = |record: &KeyRecord| {
            let who = record.principal();
            format!("{} of account {}", who.key_id(), who.account())
        };
        match self {
            Self::Good(record) => format!("it is good: {}", named(record)),
            Self::NoKey(KeyError::Checksum) => {
                "it is mistyped or cut short: its last ten characters do not fit the rest".into()
            }
            Self::NoKey(KeyError::Environment) => {
                "it belongs to an environment that is not served here".into()
            }
            Self::NoKey(KeyError::Malformed) => {
                "it is not shaped like a key of this brand; 'keys pattern' tells the shape".into()
            }
            Self::Unknown { peppered: 0 } => "it is well-formed, and no record is of it".into(),
            Self::Unknown { peppered } => format!(
                "it is well-formed, and no record is of it; {peppered} lie under a pepper and were not compared"
            ),
            Self::Elsewhere(record) => format!(
                "{} belongs to the environment {}, which is not served here",
                named(record),
                record.principal().environment()
            ),
            Self::Refused(record, Refusal::Expired) => {
                format!(
                    "{} expired at {}",
                    named(record),
                    moment(record, "expires_at")
                )
            }
            Self::Refused(record, Refusal::Revoked) => {
                format!(
                    "{} was revoked at {}",
                    named(record),
                    moment(record, "revoked_at")
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vestibule::api_key::{Digest, KeyRecordBuilder, Keys, Pepper};

    use super::*;

    #[tokio::test]
    async fn every_verdict_has_its_word_and_its_sentence() {
        let mistyped = KEY.replace("2d9f", "2d9e");
        let (any, test) = (KeyFormat::new(), KeyFormat::new().environment("test"));
        let revoked = "key_1 of account acc_1 was revoked at 1970-01-01T00:16:40Z";
        let expired = "key_1 of account acc_1 expired at 1970-01-01T00:16:40Z";
        let strange = "it is well-formed, and no record is of it";
        let peppered = "it is well-formed, and no record is of it; 1 lie under a pepper";
        let elsewhere = "it belongs to an environment that is not served here";
        for (text, format, record, word, sentence) in [
            (KEY, &any, key(), "good", "it is good: key_1 of account"),
            ("mk_live", &any, key(), "malformed", "it is not shaped"),
            (&mistyped, &any, key(), "checksum", "it is mistyped or cut"),
            (KEY, &test, key(), "environment", elsewhere),
            (KEY, &any, stranger(None), "unknown", strange),
            (KEY, &any, stranger(Some("p1")), "unknown", peppered),
            (KEY, &any, key().revoked(NOW), "revoked", revoked),
            (KEY, &any, key().expires(NOW), "expired", expired),
        ] {
            judged((text, format), record, word, sentence).await;
        }
    }

    #[tokio::test]
    async fn an_opaque_key_tells_its_environment_by_its_record() {
        let opaque = KeyFormat::new().opaque();
        let live = KeyFormat::new().opaque().environment("live");
        let elsewhere = "theirs of account acc_1 belongs to the environment test";
        for (format, word, sentence) in [
            (&opaque, "good", "it is good: theirs of account acc_1"),
            (&live, "environment", elsewhere),
        ] {
            judged((OPAQUE, format), theirs(), word, sentence).await;
        }
    }

    #[tokio::test]
    async fn a_key_is_looked_up_under_the_peppers_that_are_at_hand() {
        let pepper = |id: &str| Pepper::new(id, &[7; 16]).unwrap();
        let key = KeyFormat::new().parse(KEY).unwrap();
        let record = KeyRecord::of(&key, &Peppers::new([pepper("p1")]), "k", "a");
        let keys = Keys::new([record.build()]).unwrap();
        for (peppers, word) in [
            (vec![pepper("p2"), pepper("p1")], "good"),
            (vec![pepper("p2")], "unknown"),
        ] {
            let peppers = Peppers::new(peppers);
            let verdict = verify(&keys, KEY, (&KeyFormat::new(), &peppers), NOW).await;
            assert_eq!(verdict.unwrap().word(), word);
        }
    }

    async fn judged(
        (text, format): (&str, &KeyFormat),
        record: KeyRecordBuilder,
        word: &str,
        sentence: &str,
    ) {
        let keys = Keys::new([record.build()]).unwrap();
        let verdict = verify(&keys, text, (format, &Peppers::none()), NOW).await;
        let verdict = verdict.unwrap();
        let said = verdict.sentence();
        assert_eq!(verdict.word(), word, "{said}");
        assert!(said.starts_with(sentence), "{said}");
        assert_eq!(verdict.is_good(), word == "good", "{said}");
        assert!(!said.contains(text), "{said}");
    }

    fn key() -> KeyRecordBuilder {
        let key = KeyFormat::new().parse(KEY).unwrap();
        KeyRecord::of(&key, &Peppers::none(), "key_1", "acc_1")
    }

    fn theirs() -> KeyRecordBuilder {
        let key = KeyFormat::new().opaque();
        let key = key.parse(OPAQUE).unwrap();
        KeyRecord::of(&key, &Peppers::none(), "theirs", "acc_1").environment("test")
    }

    fn stranger(pepper: Option<&str>) -> KeyRecordBuilder {
        let digest = Digest::from_parts(pepper.map(Into::into), [9; 32]);
        KeyRecord::builder("other", "acc_1", digest)
    }

    const KEY: &str = "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";
    const OPAQUE: &str = "an-opaque-key-of-theirs";
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000);
}
