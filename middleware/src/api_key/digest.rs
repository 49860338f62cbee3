//! What is stored instead of a key: a digest, with or without a pepper.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::key::ApiKey;

/// What a key record holds of its key, and what it is found by.
///
/// HMAC-SHA-256 under a pepper, or plain SHA-256: a key of 131 random bits needs no slow
/// hash (contract §4).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    pepper: Option<Arc<str>>,
    value: [u8; 32],
}

/// A secret of the deployment that goes into every digest, so that a stolen table of
/// digests cannot be tried against guessed keys.
#[derive(Clone)]
pub struct Pepper {
    id: Arc<str>,
    /// Keyed once: a request copies the state and hashes its key, no more.
    keyed: Hmac<Sha256>,
}

/// The peppers in use, newest first.
///
/// New digests are made with the first. During a rotation the older ones follow it, and
/// a key is looked up under each in turn; with no pepper at all the digest is plain.
#[derive(Clone, Debug, Default)]
pub struct Peppers(Vec<Pepper>);

/// A pepper that protects nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pepper has {0} bytes; it must have 16 or more")]
pub struct WeakPepper(usize);

// === impl Digest ===

impl Digest {
    /// The plain SHA-256 of a key.
    pub fn plain(key: &ApiKey<'_>) -> Self {
        Self::from_parts(None, Sha256::digest(key.expose()).into())
    }

    /// A digest that was stored before, and the id of the pepper in it.
    pub const fn from_parts(pepper: Option<Arc<str>>, value: [u8; 32]) -> Self {
        Self { pepper, value }
    }

    /// The id of the pepper; a plain SHA-256 has none.
    pub fn pepper(&self) -> Option<&str> {
        self.pepper.as_deref()
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.value
    }

    /// Whether both were made of one key in one way, in constant time.
    pub fn confirms(&self, other: &Self) -> bool {
        // By words: every comparison in constant time is a call, and bytes would be 32.
        self.pepper == other.pepper && bool::from(self.words().ct_eq(&other.words()))
    }

    fn words(&self) -> [u64; 4] {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.value.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        words
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever has the value can look a guessed key up.
        f.debug_struct("Digest")
            .field("pepper", &self.pepper)
            .finish_non_exhaustive()
    }
}

// === impl Pepper ===

impl Pepper {
    /// A pepper of at least 16 bytes, under the id that is stored beside its digests.
    ///
    /// # Errors
    ///
    /// [`WeakPepper`] where it is shorter.
    pub fn new(id: impl Into<Arc<str>>, secret: &[u8]) -> Result<Self, WeakPepper> {
        if secret.len() < PEPPER_MIN {
            return Err(WeakPepper(secret.len()));
        }
        Ok(Self {
            id: id.into(),
            keyed: Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"),
        })
    }

    /// Whether both make the same digests of every key.
    fn is(&self, other: &Self) -> bool {
        let made = |pepper: &Self| pepper.keyed.clone().finalize().into_bytes();
        self.id == other.id && bool::from(made(self)[..].ct_eq(&made(other)[..]))
    }

    /// The digest of a key.
    pub fn digest(&self, key: &ApiKey<'_>) -> Digest {
        let mac = self.keyed.clone().chain_update(key.expose());
        Digest::from_parts(
            Some(Arc::clone(&self.id)),
            mac.finalize().into_bytes().into(),
        )
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

// === impl Peppers ===

impl Peppers {
    /// No pepper: digests are plain SHA-256.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// These, newest first.
    pub fn new(peppers: impl IntoIterator<Item = Pepper>) -> Self {
        Self(peppers.into_iter().collect())
    }

    /// The digest to store for a new key.
    pub fn digest(&self, key: &ApiKey<'_>) -> Digest {
        self.0
            .first()
            .map_or_else(|| Digest::plain(key), |pepper| pepper.digest(key))
    }

    /// Whether there is a pepper of this id.
    pub fn has(&self, id: &str) -> bool {
        self.0.iter().any(|pepper| *pepper.id == *id)
    }

    /// The id of a pepper that is not among these any more, or has another secret here:
    /// keys that were handed out under it would be good no longer.
    pub fn lost_since<'a>(&self, before: &'a Self) -> Option<&'a str> {
        let lost = before
            .0
            .iter()
            .find(|old| !self.0.iter().any(|new| new.is(old)));
        lost.map(|pepper| &*pepper.id)
    }

    /// The digests under which a key may have been stored, the likeliest first.
    ///
    /// The plain one comes last, so that a pepper can be introduced without handing out
    /// new keys. Each is computed when it is asked for.
    pub fn candidates<'a>(&'a self, key: &'a ApiKey<'_>) -> impl Iterator<Item = Digest> + 'a {
        let peppered = self.0.iter().map(|pepper| pepper.digest(key));
        peppered.chain(std::iter::once_with(|| Digest::plain(key)))
    }
}

impl PartialEq for Peppers {
    /// Whether both are the same, in the same order.
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|(one, other)| one.is(other))
    }
}

impl Eq for Peppers {}

/// Half of what SHA-256 puts out: as many bits as a key itself has.
const PEPPER_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::key::KeyFormat;

    #[test]
    fn digests_are_the_published_algorithms() {
        let key = KeyFormat::new().parse(KEY).unwrap();
        let pepper = Pepper::new("p1", SECRET).unwrap();
        for (digest, pepper, value) in [
            (Digest::plain(&key), None, PLAIN),
            (pepper.digest(&key), Some("p1"), PEPPERED),
        ] {
            assert_eq!(hex::encode(digest.as_bytes()), value, "{pepper:?}");
            assert_eq!(digest.pepper(), pepper);
        }
    }

    #[test]
    fn a_key_is_looked_up_under_each_pepper_and_then_plainly() {
        let key = KeyFormat::new().parse(KEY).unwrap();
        let (new, old) = (Pepper::new("new", SECRET), Pepper::new("old", &[7; 16]));
        let peppers = Peppers::new([new.unwrap(), old.unwrap()]);
        let ids: Vec<_> = peppers
            .candidates(&key)
            .map(|digest| digest.pepper.as_deref().map(str::to_owned))
            .collect();
        assert_eq!(ids, [Some("new".into()), Some("old".into()), None]);
        assert_eq!(peppers.digest(&key).pepper(), Some("new"));
        assert!(peppers.has("old") && !peppers.has("other"));
        assert_eq!(Peppers::none().digest(&key), Digest::plain(&key));
    }

    #[test]
    fn a_digest_confirms_itself_only() {
        let key = KeyFormat::new().parse(KEY).unwrap();
        let digest = Digest::plain(&key);
        let mut value = *digest.as_bytes();
        value[31] ^= 1;
        let renamed = Digest::from_parts(Some("p1".into()), *digest.as_bytes());
        assert!(digest.confirms(&digest.clone()));
        assert!(!digest.confirms(&Digest::from_parts(None, value)));
        assert!(!digest.confirms(&renamed));
    }

    #[test]
    fn a_pepper_is_lost_with_its_id_or_its_secret() {
        let peppers = |all: &[(&str, &[u8])]| {
            let made = all
                .iter()
                .map(|(id, secret)| Pepper::new(*id, secret).unwrap());
            Peppers::new(made)
        };
        let (one, two) = (&[1; 16][..], &[2; 16][..]);
        for (before, after, want) in [
            (&[("a", one)][..], &[("a", one)][..], None),
            (&[("a", one)], &[("b", two), ("a", one)], None),
            (&[], &[("a", one)], None),
            (&[("b", two), ("a", one)], &[("b", two)], Some("a")),
            (&[("a", one)], &[("a", two)], Some("a")),
            (&[("a", one)], &[("b", one)], Some("a")),
        ] {
            let before = peppers(before);
            assert_eq!(peppers(after).lost_since(&before), want);
        }
    }

    #[test]
    fn a_short_pepper_is_refused() {
        assert_eq!(Pepper::new("p1", &[0; 15]).unwrap_err(), WeakPepper(15));
    }

    #[test]
    fn debug_shows_neither_pepper_nor_digest() {
        let key = KeyFormat::new().parse(KEY).unwrap();
        let pepper = Pepper::new("p1", SECRET).unwrap();
        let shown = format!("{:?} {:?}", pepper.digest(&key), Peppers::new([pepper]));
        assert_eq!(
            shown,
            "Digest { pepper: Some(\"p1\"), .. } Peppers([Pepper { id: \"p1\", .. }])"
        );
    }

    const KEY: &str = "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";
    const SECRET: &[u8] = b"a pepper of the deployment";
    const PLAIN: &str = "840de7fd59f9c3f0c936f08ad1353240b10d4d85c7dfe2028aaa368c29fa8a5f";
    const PEPPERED: &str = "85199683b84b43268b6ca09a92f99af2748948213290104f3f454a6478bef2fd";
}
