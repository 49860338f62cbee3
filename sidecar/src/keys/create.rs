//! `keys create`: a new key, and its secret for the one time that it is shown.

use std::fmt;
use std::sync::Arc;

use ulid::Ulid;
use vestibule::api_key::{ApiKey, KeyFormat, KeyRecord, Peppers};
use vestibule::clock::Timestamp;
use vestibule::entropy::Entropy;

use super::change::Change;
use super::fault::Fault;
use super::set::KeySet;

/// What new keys are made of.
#[derive(Clone, Copy, Debug)]
pub struct Mint<'a> {
    /// The first part of a key, `mk` in `mk_live_…`.
    pub brand: &'a str,
    /// The moment of their making.
    pub now: Timestamp,
    /// Where the secret comes from; it must be cryptographically strong.
    pub entropy: &'a dyn Entropy,
    /// What their digests are made with.
    pub peppers: &'a Peppers,
}

/// A new key. Its `Debug` shows nothing of the secret.
pub struct Minted {
    /// To be shown once.
    pub secret: ApiKey<'static>,
    /// What is kept of it.
    pub record: Arc<KeyRecord>,
}

/// Makes a key of this account and environment.
///
/// # Errors
///
/// [`Fault`] names the field that cannot be, or that makes a key that is never good.
pub fn create(
    keys: &mut KeySet,
    (account, environment): (&str, &str),
    change: &Change,
    mint: &Mint<'_>,
) -> Result<Minted, Fault> {
    let secret = mint.secret(environment)?;
    let bare = mint.record(&secret, account).created(mint.now).build();
    let record = change.apply(&bare, mint.now)?;
    if record.admit(mint.now).is_err() {
        return Err(Fault::new(format!(
            "expires_at: found {}, allowed is a moment that lies ahead",
            record.to_json()["expires_at"]
        )));
    }
    keys.put(Arc::clone(&record));
    Ok(Minted { secret, record })
}

// === impl Mint ===

impl Mint<'_> {
    pub(super) fn secret(&self, environment: &str) -> Result<ApiKey<'static>, Fault> {
        for (field, word) in [("brand", self.brand), ("env", environment)] {
            if !KeyFormat::is_word(word) {
                return Err(Fault::new(format!(
                    "{field}: found {word:.40?}, allowed is 1 to 16 lower-case letters and digits"
                )));
            }
        }
        Ok(ApiKey::mint(self.brand, environment, self.entropy))
    }

    pub(super) fn record(
        &self,
        secret: &ApiKey<'_>,
        account: &str,
    ) -> vestibule::api_key::KeyRecordBuilder {
        KeyRecord::of(secret, self.peppers, self.id(), account)
    }

    /// Ids sort by the moment of their making.
    pub(super) fn id(&self) -> String {
        let id = Ulid::from_parts(self.now.as_unix_millis(), self.entropy.draw());
        format!("key_{id}")
    }
}

// === impl Minted ===

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use vestibule::entropy::SystemEntropy;

    use super::super::change::Expiry;
    use super::*;

    #[test]
    fn a_new_key_is_known_by_its_digest_and_shown_in_part() {
        let mut keys = KeySet::default();
        let change = Change::default().scopes(&["a:b".to_owned()]).name("A");
        let minted = create(&mut keys, ("acc_1", "test"), &change, &mint()).unwrap();
        let record = &minted.record;
        let who = record.principal();
        assert!(minted.secret.expose().starts_with("mk_test_"));
        assert_eq!(*record.digest(), Peppers::none().digest(&minted.secret));
        assert_eq!((who.account(), who.environment()), ("acc_1", "test"));
        assert_eq!(who.family(), who.key_id());
        assert_eq!(record.created(), Some(NOW));
        assert_eq!(record.prefix(), minted.secret.prefix());
        assert!(keys.has(who.key_id()));
    }

    #[test]
    fn what_cannot_be_is_refused_by_field() {
        let past = Change::default().expires(Expiry::parse("1970-01-01T00:00:00Z"));
        let plain = Change::default();
        for (account, environment, change, want) in [
            (
                "a b",
                "live",
                &plain,
                "account: found \"a b\", allowed is 1",
            ),
            (
                "acc",
                "Live",
                &plain,
                "env: found \"Live\", allowed is 1 to",
            ),
            (
                "acc",
                "live",
                &past,
                "expires_at: found \"1970-01-01T00:00:00Z\"",
            ),
        ] {
            let mut keys = KeySet::default();
            let fault = create(&mut keys, (account, environment), change, &mint()).unwrap_err();
            assert!(fault.to_string().starts_with(want), "{fault}");
            assert_eq!(keys.iter().count(), 0, "{want}");
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_secret() {
        let minted = create(
            &mut KeySet::default(),
            ("acc", "live"),
            &Change::default(),
            &mint(),
        );
        let minted = minted.unwrap();
        let shown = format!("{minted:?}");
        let body = &minted.secret.expose()["mk_live_".len()..][..22];
        assert!(!shown.contains(body), "{shown}");
    }

    fn mint() -> Mint<'static> {
        Mint {
            brand: "mk",
            now: NOW,
            entropy: &SystemEntropy,
            peppers: &NONE,
        }
    }

    static NONE: Peppers = Peppers::none();
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000);
}
