//! What is known of a key, and the decision whether it is still good.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::digest::{Digest, Peppers};
use super::key::ApiKey;
use super::last_used::Noted;
use crate::clock::Timestamp;
use crate::principal::Principal;

/// A key as it is stored: everything but the key (contract §4).
///
/// What the layers behind authentication ask is in its [`Principal`], made once.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    principal: Principal,
    digest: Digest,
    name: Box<str>,
    prefix: Box<str>,
    last_four: Box<str>,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    revoked: Option<Timestamp>,
    last_used: Option<Timestamp>,
    noted: Noted,
}

/// Builds a [`KeyRecord`].
#[derive(Clone, Debug)]
pub struct KeyRecordBuilder {
    id: Box<str>,
    account: Box<str>,
    digest: Digest,
    family: Option<Box<str>>,
    environment: Box<str>,
    name: Box<str>,
    prefix: Box<str>,
    last_four: Box<str>,
    scopes: Vec<Box<str>>,
    agents: Option<Vec<Box<str>>>,
    per_minute: Option<u32>,
    burst: Option<u32>,
    created: Option<Timestamp>,
    expires: Option<Timestamp>,
    revoked: Option<Timestamp>,
    last_used: Option<Timestamp>,
    version: Option<u64>,
    is_tracked: bool,
}

/// Why a known key is not good now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its time is over; after a rotation, the overlap is.
    Expired,
    /// It was taken back.
    Revoked,
}

// === impl KeyRecord ===

impl KeyRecord {
    /// A record for a key that is at hand, as when it was minted.
    pub fn of(
        key: &ApiKey<'_>,
        peppers: &Peppers,
        id: impl Into<Box<str>>,
        account: impl Into<Box<str>>,
    ) -> KeyRecordBuilder {
        Self::builder(id, account, peppers.digest(key))
            .environment(key.environment().unwrap_or(DEFAULT_ENVIRONMENT))
            .shown_as(key.prefix(), key.last_four())
    }

    /// A record for a key of which only the digest is known: in environment `live`, of a
    /// family named like the key, with no scopes, no restriction to agents, and no end.
    pub fn builder(
        id: impl Into<Box<str>>,
        account: impl Into<Box<str>>,
        digest: Digest,
    ) -> KeyRecordBuilder {
        KeyRecordBuilder {
            id: id.into(),
            account: account.into(),
            digest,
            family: None,
            environment: DEFAULT_ENVIRONMENT.into(),
            name: Box::default(),
            prefix: Box::default(),
            last_four: Box::default(),
            scopes: Vec::new(),
            agents: None,
            per_minute: None,
            burst: None,
            created: None,
            expires: None,
            revoked: None,
            last_used: None,
            version: None,
            is_tracked: false,
        }
    }

    /// The caller behind the key, if the key is good at this moment.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: it is revoked or expired. From the very moment named it is.
    pub fn admit(&self, now: Timestamp) -> Result<&Principal, Refusal> {
        let reached = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment <= now);
        if reached(self.revoked) {
            Err(Refusal::Revoked)
        } else if reached(self.expires) {
            Err(Refusal::Expired)
        } else {
            Ok(&self.principal)
        }
    }

    /// Whether there is a moment from which on the key is not good.
    pub const fn has_end(&self) -> bool {
        self.revoked.is_some() || self.expires.is_some()
    }

    /// The caller behind the key, good or not.
    pub const fn principal(&self) -> &Principal {
        &self.principal
    }

    /// What the key is found by.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// What people call the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first six characters of the key's body; empty where they are not known.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The last four characters of the key; empty where they are not known.
    pub fn last_four(&self) -> &str {
        &self.last_four
    }

    /// When the key was made.
    pub const fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// When the key ceases to be good by itself.
    pub const fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// When the key was, or will be, taken back.
    pub const fn revoked(&self) -> Option<Timestamp> {
        self.revoked
    }

    /// When the key was last seen, as far as its store knows.
    pub const fn last_used(&self) -> Option<Timestamp> {
        self.last_used
    }

    /// When this process noted that the key was used.
    pub(super) const fn noted(&self) -> &Noted {
        &self.noted
    }

    /// The same record with changes; unless it is given, it gets a version of its own.
    pub fn to_builder(&self) -> KeyRecordBuilder {
        let who = &self.principal;
        KeyRecordBuilder {
            id: who.key_id().into(),
            account: who.account().into(),
            digest: self.digest.clone(),
            family: Some(who.family().into()),
            environment: who.environment().into(),
            name: self.name.clone(),
            prefix: self.prefix.clone(),
            last_four: self.last_four.clone(),
            scopes: who.scopes().iter().map(Box::from).collect(),
            agents: who.agents().map(|agents| agents.map(Box::from).collect()),
            per_minute: who.per_minute(),
            burst: who.burst(),
            created: self.created,
            expires: self.expires,
            revoked: self.revoked,
            last_used: self.last_used,
            version: None,
            is_tracked: who.tracked_version().is_some(),
        }
    }
}

// === impl KeyRecordBuilder ===

impl KeyRecordBuilder {
    /// What the key has in common with those it was rotated from.
    #[must_use]
    pub fn family(mut self, family: impl Into<Box<str>>) -> Self {
        self.family = Some(family.into());
        self
    }

    /// The environment that the key is made for.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<Box<str>>) -> Self {
        self.environment = environment.into();
        self
    }

    /// What people call the key.
    #[must_use]
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// What may be shown of the key: the first six characters of its body and its last four.
    #[must_use]
    pub fn shown_as(mut self, prefix: impl Into<Box<str>>, last_four: impl Into<Box<str>>) -> Self {
        self.prefix = prefix.into();
        self.last_four = last_four.into();
        self
    }

    /// What the key may do: `resource:action` each, or `*` for all.
    #[must_use]
    pub fn scopes<I: IntoIterator<Item: Into<Box<str>>>>(mut self, scopes: I) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Restricts the key to these agents.
    #[must_use]
    pub fn agents<I: IntoIterator<Item: Into<Box<str>>>>(mut self, agents: I) -> Self {
        self.agents = Some(agents.into_iter().map(Into::into).collect());
        self
    }

    /// Requests a minute, instead of the default.
    #[must_use]
    pub const fn per_minute(mut self, limit: u32) -> Self {
        self.per_minute = Some(limit);
        self
    }

    /// Requests at once, instead of the default.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = Some(burst);
        self
    }

    /// When the key was made.
    #[must_use]
    pub const fn created(mut self, at: Timestamp) -> Self {
        self.created = Some(at);
        self
    }

    /// When the key ceases to be good. A rotation sets this on the old key: the overlap.
    #[must_use]
    pub const fn expires(mut self, at: Timestamp) -> Self {
        self.expires = Some(at);
        self
    }

    /// When the key is taken back.
    #[must_use]
    pub const fn revoked(mut self, at: Timestamp) -> Self {
        self.revoked = Some(at);
        self
    }

    /// When the key was last seen.
    #[must_use]
    pub const fn last_used(mut self, at: Timestamp) -> Self {
        self.last_used = Some(at);
        self
    }

    /// The version that the store counts, instead of one made of the contents.
    #[must_use]
    pub const fn version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// Says that the record lies in the store that counts the key's requests, which then
    /// compares its version at every charge.
    #[must_use]
    pub const fn tracked(mut self) -> Self {
        self.is_tracked = true;
        self
    }

    /// The finished record, ready to be shared.
    pub fn build(self) -> Arc<KeyRecord> {
        let version = self.version.unwrap_or_else(|| self.fingerprint());
        let mut principal = Principal::builder(self.account, self.id.clone())
            .family(self.family.unwrap_or(self.id))
            .environment(self.environment)
            .scopes(self.scopes)
            .version(version);
        if let Some(agents) = self.agents {
            principal = principal.agents(agents);
        }
        if let Some(limit) = self.per_minute {
            principal = principal.per_minute(limit);
        }
        if let Some(burst) = self.burst {
            principal = principal.burst(burst);
        }
        if self.is_tracked {
            principal = principal.tracked();
        }
        Arc::new(KeyRecord {
            principal: principal.build(),
            digest: self.digest,
            name: self.name,
            prefix: self.prefix,
            last_four: self.last_four,
            created: self.created,
            expires: self.expires,
            revoked: self.revoked,
            last_used: self.last_used,
            noted: Noted::default(),
        })
    }

    /// A version that changes with whatever can be changed but `last_used`, and is the same
    /// in each process that reads the same record.
    fn fingerprint(&self) -> u64 {
        let mut hash = Sha256::new();
        let family = self.family.as_ref().unwrap_or(&self.id);
        for text in [
            &self.id,
            &self.account,
            family,
            &self.environment,
            &self.name,
        ] {
            absorb(&mut hash, text);
        }
        for list in [Some(&self.scopes), self.agents.as_ref()] {
            hash.update(
                list.map_or(u64::MAX, |list| list.len() as u64)
                    .to_be_bytes(),
            );
            list.into_iter()
                .flatten()
                .for_each(|text| absorb(&mut hash, text));
        }
        for number in [self.per_minute, self.burst] {
            hash.update(number.map_or(u64::MAX, u64::from).to_be_bytes());
        }
        for moment in [self.expires, self.revoked] {
            let millis = moment.map_or(u64::MAX, Timestamp::as_unix_millis);
            hash.update(millis.to_be_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        u64::from_be_bytes(*digest.first_chunk().expect("32 bytes begin with 8"))
    }
}

/// Each text after its length, so that no two lists of texts read alike.
fn absorb(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text);
}

const DEFAULT_ENVIRONMENT: &str = "live";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::key::KeyFormat;
    use crate::entropy::SystemEntropy;

    #[test]
    fn a_key_is_good_until_the_moment_it_is_not() {
        for (expires, revoked, now, want) in [
            (None, None, u64::MAX, None),
            (Some(10), None, 9, None),
            (Some(10), None, 10, Some(Refusal::Expired)),
            (None, Some(10), 9, None),
            (None, Some(10), 10, Some(Refusal::Revoked)),
            (Some(5), Some(10), 10, Some(Refusal::Revoked)),
            (Some(5), Some(10), 7, Some(Refusal::Expired)),
        ] {
            let mut record = plain();
            record.expires = expires.map(Timestamp::from_unix_millis);
            record.revoked = revoked.map(Timestamp::from_unix_millis);
            let record = record.build();
            let got = record.admit(Timestamp::from_unix_millis(now)).err();
            assert_eq!(got, want, "{expires:?} {revoked:?} at {now}");
        }
    }

    #[test]
    fn whatever_can_be_changed_changes_the_version() {
        let version = |record: KeyRecordBuilder| record.build().principal().version();
        let at = Timestamp::from_unix_seconds(1);
        let mut seen = vec![version(plain())];
        for (change, record) in [
            ("account", KeyRecord::builder("k", "b", plain().digest)),
            ("family", plain().family("f")),
            ("name", plain().name("n")),
            ("environment", plain().environment("test")),
            ("scopes", plain().scopes(["a", "b"])),
            ("scopes joined", plain().scopes(["ab"])),
            ("agents", plain().agents(["a", "b"])),
            ("no agents", plain().agents::<[&str; 0]>([])),
            ("per_minute", plain().per_minute(1)),
            ("burst", plain().burst(1)),
            ("expires", plain().expires(at)),
            ("revoked", plain().revoked(at)),
        ] {
            let version = version(record);
            assert!(!seen.contains(&version), "{change}");
            seen.push(version);
        }
        assert_eq!(version(plain().last_used(at)), seen[0]);
        assert_eq!(version(plain().version(7)), 7);
    }

    #[test]
    fn a_record_of_a_key_shows_how_the_key_looks_and_never_the_key() {
        let key = ApiKey::mint("mk", "test", &SystemEntropy);
        let record = KeyRecord::of(&key, &Peppers::none(), "key_1", "acc").build();
        assert_eq!(record.principal().environment(), "test");
        assert_eq!(record.prefix(), key.prefix());
        assert_eq!(record.last_four(), key.last_four());
        assert!(!format!("{record:?}").contains(&key.expose()[8..30]));
    }

    #[test]
    fn a_rebuilt_record_is_the_same() {
        let record = plain().agents(["a"]).scopes(["s"]).per_minute(3).build();
        let again = record.to_builder().build();
        assert_eq!(record.principal(), again.principal());
    }

    fn plain() -> KeyRecordBuilder {
        let key = "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";
        let key = KeyFormat::new().parse(key).unwrap();
        KeyRecord::builder("k", "a", Digest::plain(&key))
    }
}
