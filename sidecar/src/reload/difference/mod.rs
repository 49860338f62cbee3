//! What another configuration changes, and whether it can without a restart.

use std::fmt;

use super::keys::{KEYS, Key, Read};
use crate::config::{Config, Route};

/// The keys whose value is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    changes: Vec<Change>,
}

/// One key whose value is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    key: &'static str,
    is_live: bool,
    /// What can be shown of it.
    says: String,
}

// === impl Difference ===

impl Difference {
    /// From one configuration to another.
    pub(crate) fn between(old: &Config, new: &Config) -> Self {
        let changes = KEYS.iter().filter_map(|key| {
            Some(Change {
                key: key.name,
                is_live: key.is_live,
                says: key.change(old, new)?,
            })
        });
        Self {
            changes: changes.collect(),
        }
    }

    /// Whether nothing is another.
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether one of these keys, or of the tables that end with a dot, is another.
    pub(crate) fn touches(&self, keys: &[&str]) -> bool {
        let is_meant = |change: &Change, key: &&str| {
            change.key == *key || (key.ends_with('.') && change.key.starts_with(key))
        };
        let mut changes = self.changes.iter();
        changes.any(|change| keys.iter().any(|key| is_meant(change, key)))
    }

    /// The part of it that needs a restart; nothing where all of it can be taken now.
    pub(crate) fn fixed(&self) -> Option<Self> {
        let fixed = self.changes.iter().filter(|change| !change.is_live);
        let changes: Vec<Change> = fixed.cloned().collect();
        (!changes.is_empty()).then_some(Self { changes })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, change) in self.changes.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{}{}", change.key, change.says)?;
        }
        Ok(())
    }
}

// === impl Key ===

impl Key {
    /// What can be shown of the change; nothing where there is none.
    fn change(&self, old: &Config, new: &Config) -> Option<String> {
        match self.read {
            Read::Value(shown) => {
                let (before, after) = (shown(old), shown(new));
                (before != after).then(|| format!(": {before} -> {after}"))
            }
            Read::Hidden(is_same) => (!is_same(old, new)).then(String::new),
            Read::Lost(lost) => lost(old, new).map(|id| format!(": {id} is lost")),
            Read::Routes => routes(&old.routes, &new.routes),
        }
    }
}

/// The routes that are new, gone or other than before, by their patterns.
fn routes(old: &[Route], new: &[Route]) -> Option<String> {
    let find = |all: &[Route], pattern: &str| {
        let found = all.iter().find(|route| route.pattern == pattern);
        found.map(|route| route.policy())
    };
    let mut said = Vec::new();
    for route in new {
        match find(old, &route.pattern) {
            None => said.push(format!("+{:?}", route.pattern)),
            Some(policy) if policy != route.policy() => said.push(format!("~{:?}", route.pattern)),
            Some(_) => {}
        }
    }
    let gone = old
        .iter()
        .filter(|route| find(new, &route.pattern).is_none());
    said.extend(gone.map(|route| format!("-{:?}", route.pattern)));
    (!said.is_empty()).then(|| format!(": {}", said.join(" ")))
}

#[cfg(test)]
mod tests;
