//! Who is calling: written by authentication or by an assertion, read by everything behind it.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

/// The caller of a request, in its extensions.
///
/// Cheap to clone. A team with an authentication of its own makes one with
/// [`Principal::builder`] and puts it into the request's extensions; the layers behind
/// do not ask where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal(Arc<Facts>);

/// Builds a [`Principal`].
#[derive(Debug)]
pub struct PrincipalBuilder(Facts);

/// Whose budget and whose records a request touches: an environment and a key family.
///
/// A family survives the rotation of its keys, so a rotation neither doubles a budget
/// nor forgets what was executed. Everything that a store keeps for a caller lies under
/// this one name.
#[derive(Clone, Debug)]
pub struct Caller {
    name: Arc<str>,
    /// Of the name, computed once: every request looks its caller up. It is seeded for
    /// the process, so that nobody can choose names that collide.
    hash: u64,
}

/// The state of a key record that a request was judged by.
///
/// A store that keeps key records beside counters compares it at every charge, so that a
/// change of the record holds on the next request (design D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyVersion<'a> {
    /// The id of the key.
    pub id: &'a str,
    /// See [`Principal::version`].
    pub version: u64,
}

/// What a key may do: `resource:action` each, or `*` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Box<str>>);

#[derive(Debug, PartialEq, Eq)]
struct Facts {
    key_id: Box<str>,
    family: Box<str>,
    account: Box<str>,
    environment: Box<str>,
    caller: Caller,
    scopes: Scopes,
    agents: Option<Vec<Box<str>>>,
    per_minute: Option<u32>,
    burst: Option<u32>,
    version: u64,
    is_tracked: bool,
}

// === impl Principal ===

impl Principal {
    /// A caller of this account with this key, in environment `live`, of a family named
    /// like the key, with no scopes and no restriction to agents.
    pub fn builder(account: impl Into<Box<str>>, key_id: impl Into<Box<str>>) -> PrincipalBuilder {
        let key_id = key_id.into();
        PrincipalBuilder(Facts {
            family: key_id.clone(),
            caller: Caller::new("live", &key_id),
            key_id,
            account: account.into(),
            environment: "live".into(),
            scopes: Scopes::default(),
            agents: None,
            per_minute: None,
            burst: None,
            version: 0,
            is_tracked: false,
        })
    }

    /// The id of the key that was shown; never the key.
    pub fn key_id(&self) -> &str {
        &self.0.key_id
    }

    /// What the key has in common with those it was rotated from.
    pub fn family(&self) -> &str {
        &self.0.family
    }

    /// The account that owns the key.
    pub fn account(&self) -> &str {
        &self.0.account
    }

    /// `live`, `test`, or whatever else the keys are made for.
    pub fn environment(&self) -> &str {
        &self.0.environment
    }

    /// Whose budget and records a request touches.
    pub fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// What the key may do.
    pub fn scopes(&self) -> &Scopes {
        &self.0.scopes
    }

    /// The agents that the key is restricted to; none means all of the account's.
    pub fn agents(&self) -> Option<impl Iterator<Item = &str>> {
        self.0
            .agents
            .as_ref()
            .map(|agents| agents.iter().map(AsRef::as_ref))
    }

    /// Whether the key may act for this agent, as far as the key itself says.
    pub fn may_act_for(&self, agent: &str) -> bool {
        // Ids may be written in either case (RFC 9562 §4); a list that is compared by
        // case would refuse its own agent.
        self.0
            .agents
            .as_ref()
            .is_none_or(|agents| agents.iter().any(|id| id.eq_ignore_ascii_case(agent)))
    }

    /// Requests a minute, where the key has a limit of its own.
    pub fn per_minute(&self) -> Option<u32> {
        self.0.per_minute
    }

    /// Requests at once, where the key has a burst of its own.
    pub fn burst(&self) -> Option<u32> {
        self.0.burst
    }

    /// The version of the key record that this was read from.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// The same, where the store that counts this caller's requests can tell whether
    /// there is a newer one.
    pub fn tracked_version(&self) -> Option<KeyVersion<'_>> {
        self.0.is_tracked.then(|| KeyVersion {
            id: &self.0.key_id,
            version: self.0.version,
        })
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("key_id", &self.0.key_id)
            .field("account", &self.0.account)
            .field("caller", &self.0.caller)
            .finish_non_exhaustive()
    }
}

// === impl PrincipalBuilder ===

impl PrincipalBuilder {
    /// The family that the key belongs to.
    #[must_use]
    pub fn family(mut self, family: impl Into<Box<str>>) -> Self {
        self.0.family = family.into();
        self
    }

    /// The environment that the key is made for.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<Box<str>>) -> Self {
        self.0.environment = environment.into();
        self
    }

    /// What the key may do.
    #[must_use]
    pub fn scopes<I: IntoIterator<Item: Into<Box<str>>>>(mut self, scopes: I) -> Self {
        self.0.scopes = Scopes::new(scopes);
        self
    }

    /// Restricts the key to these agents.
    #[must_use]
    pub fn agents<I: IntoIterator<Item: Into<Box<str>>>>(mut self, agents: I) -> Self {
        self.0.agents = Some(agents.into_iter().map(Into::into).collect());
        self
    }

    /// Requests a minute, instead of the default.
    #[must_use]
    pub fn per_minute(mut self, limit: u32) -> Self {
        self.0.per_minute = Some(limit);
        self
    }

    /// Requests at once, instead of the default; read where bursts are in use.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.0.burst = Some(burst);
        self
    }

    /// The version of the key record.
    #[must_use]
    pub fn version(mut self, version: u64) -> Self {
        self.0.version = version;
        self
    }

    /// Has the store that counts the requests compare the version at every charge. For
    /// keyrings whose records lie in that same store.
    #[must_use]
    pub fn tracked(mut self) -> Self {
        self.0.is_tracked = true;
        self
    }

    /// The finished principal.
    pub fn build(mut self) -> Principal {
        self.0.caller = Caller::new(&self.0.environment, &self.0.family);
        Principal(Arc::new(self.0))
    }
}

// === impl Caller ===

impl Caller {
    /// The caller of this environment and key family.
    pub fn new(environment: &str, family: &str) -> Self {
        static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let name: Arc<str> = format!("{environment}:{family}").into();
        let hash = SEED.hash_one(&*name);
        Self { name, hash }
    }

    /// `environment:family`.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// One of so many parts, over which callers are spread evenly.
    pub(crate) fn share_of(&self, parts: usize) -> usize {
        // A multiplication spreads as a remainder would, and is no division.
        let part = (u128::from(self.hash) * parts as u128) >> u64::BITS;
        usize::try_from(part).expect("less than the number of parts")
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.name == other.name
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

// === impl Scopes ===

impl Scopes {
    /// These scopes.
    pub fn new<I: IntoIterator<Item: Into<Box<str>>>>(scopes: I) -> Self {
        Self(scopes.into_iter().map(Into::into).collect())
    }

    /// Whether they include this one.
    pub fn allow(&self, scope: &str) -> bool {
        self.0.iter().any(|held| &**held == scope || &**held == "*")
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_exact_and_a_star_is_all() {
        for (held, asked, want) in [
            (vec!["whatsapp:send"], "whatsapp:send", true),
            (vec!["whatsapp:send"], "whatsapp:read", false),
            (vec!["whatsapp:*"], "whatsapp:read", false),
            (vec!["*"], "whatsapp:read", true),
            (vec![], "whatsapp:read", false),
        ] {
            assert_eq!(
                Scopes::new(held.clone()).allow(asked),
                want,
                "{held:?} {asked}"
            );
        }
    }

    #[test]
    fn a_key_without_a_list_may_act_for_every_agent() {
        let free = Principal::builder("acc", "k").build();
        let bound = Principal::builder("acc", "k").agents(["A1"]).build();
        assert!(free.may_act_for("a1") && bound.may_act_for("a1") && !bound.may_act_for("a2"));
    }

    #[test]
    fn a_rotated_key_is_the_same_caller() {
        let of = |key| Principal::builder("acc", key).family("f").build();
        assert_eq!(of("k1").caller(), of("k2").caller());
        assert_eq!(of("k1").caller().as_str(), "live:f");
    }
}
