//! What a layer says of a request, and what is said of keys and of records.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Finding;
use super::onlooker::{Found, Sights};
use crate::api_key::KeyRecord;
use crate::error::{ApiError, Code, StoreErrorKind};
use crate::header;
use crate::idempotency::{Decision, KeptResponse};
use crate::principal::Principal;

/// What a layer has to say.
pub(super) struct Said {
    pub(super) finding: Finding,
    pub(super) reason: String,
    pub(super) facts: Map<String, Value>,
}

// === impl Said ===

impl Said {
    fn new(finding: Finding, reason: impl Into<String>) -> Self {
        Self {
            finding,
            reason: reason.into(),
            facts: Map::new(),
        }
    }

    pub(super) fn passes(reason: impl Into<String>) -> Self {
        Self::new(Finding::Passes, reason)
    }

    pub(super) fn refuses(reason: impl Into<String>) -> Self {
        Self::new(Finding::Refuses, reason)
    }

    pub(super) fn not_asked(reason: impl Into<String>) -> Self {
        Self::new(Finding::NotAsked, reason)
    }

    /// What is null is left out.
    pub(super) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.facts.insert(name.to_owned(), value);
        }
        self
    }

    /// Of a key record, what tells whose it is and what it may do; never its digest.
    fn of_key(mut self, record: &KeyRecord) -> Self {
        let Value::Object(fields) = record.to_json() else {
            return self;
        };
        let told = fields
            .into_iter()
            .filter(|(name, _)| TOLD.contains(&&**name));
        for (name, value) in told {
            self = self.fact(&name, value);
        }
        self
    }
}

pub(super) fn not_reached() -> Said {
    Said::new(Finding::NotReached, "")
}

/// Who is calling, where that came to light.
pub(super) fn principal(sights: &Sights) -> Option<&Principal> {
    match &sights.key {
        Some(Found::Record(record)) => Some(record.principal()),
        _ => sights.caller.as_ref(),
    }
}

pub(super) fn key_known(sights: &Sights) -> Said {
    match (&sights.key, principal(sights)) {
        (Some(Found::Record(record)), _) => {
            Said::passes(format!("it is good: {}", owner(record.principal()))).of_key(record)
        }
        (_, Some(who)) => Said::not_asked(format!("the caller is known already: {}", owner(who))),
        (_, None) => Said::not_asked("the caller is known already"),
    }
}

pub(super) fn key_refused(refusal: &ApiError, sights: &Sights) -> Said {
    let message = refusal.message();
    match &sights.key {
        Some(Found::Lost) => Said::refuses("the key records cannot be read"),
        Some(Found::Nothing) => Said::refuses("it is well-formed, and no record is of it"),
        Some(Found::Record(record)) => {
            let who = owner(record.principal());
            Said::refuses(format!("{message} It is {who}")).of_key(record)
        }
        None => Said::refuses(message),
    }
}

/// What would be replayed.
pub(super) fn replayed(sights: &Sights) -> Option<&KeptResponse> {
    match &sights.claim.as_ref()?.as_ref().ok()?.decision {
        Decision::Replay(kept) => Some(kept),
        _ => None,
    }
}

pub(super) fn claimed(sights: &Sights) -> Said {
    let Some(Ok(preview)) = &sights.claim else {
        return Said::not_asked("the request is not to be executed once");
    };
    let said = match (&preview.decision, preview.kept_for) {
        (Decision::Execute { .. }, None) => {
            Said::passes("the Idempotency-Key is free: the request is executed under a claim")
        }
        (Decision::Execute { .. }, Some(_)) => Said::passes(
            "what became of the first request is unknown, and the service de-duplicates: it is sent again",
        ),
        (decision, _) => Said::new(
            Finding::Answers,
            format!("{}: its response is replayed", first(decision)),
        ),
    };
    said.fact(
        "record_kept_seconds",
        preview.kept_for.map(|left| left.as_secs()),
    )
}

pub(super) fn not_executed(refusal: &ApiError, sights: &Sights) -> Said {
    let preview = match &sights.claim {
        Some(Ok(preview)) => preview,
        Some(Err(StoreErrorKind::Full)) => {
            return Said::refuses("there is no room for another record");
        }
        Some(Err(_)) => return Said::refuses("the store of the records is lost"),
        None if refusal.code() == Code::OVERLOADED => {
            return Said::refuses(
                "as many requests of this caller run as may, or as many bytes are buffered",
            );
        }
        None => return Said::refuses(refusal.message()),
    };
    let first = first(&preview.decision);
    let reason = match &preview.decision {
        Decision::InProgress { wait, .. } => {
            let wait = header::whole_seconds(*wait);
            format!("{first}: it still runs, under a claim of {wait} s more unless it is renewed")
        }
        Decision::InUse { .. } => {
            format!("{first}: its method, path, query or body was another")
        }
        Decision::NotStored { .. } => {
            format!("{first}: it was executed, and its response was not kept")
        }
        Decision::Unknown { .. } => format!("{first}: nobody can know whether it was executed"),
        Decision::Execute { .. } | Decision::Replay(_) => refusal.message().to_owned(),
    };
    let kept = preview.kept_for.as_ref().map(Duration::as_secs);
    Said::refuses(reason).fact("record_kept_seconds", kept)
}

pub(super) fn listed(words: &[&str]) -> String {
    if words.is_empty() {
        return "none".to_owned();
    }
    words.join(", ")
}

/// Whose an Idempotency-Key is.
fn first(decision: &Decision) -> String {
    let original = match decision {
        Decision::Execute { .. } => return String::new(),
        Decision::Replay(kept) => &kept.original,
        Decision::InProgress { original, .. }
        | Decision::InUse { original }
        | Decision::NotStored { original }
        | Decision::Unknown { original } => original,
    };
    format!("the Idempotency-Key was used first by {original}")
}

fn owner(who: &Principal) -> String {
    let (key, account, environment) = (who.key_id(), who.account(), who.environment());
    format!("{key} of account {account}, environment {environment}")
}

/// The fields of a key record that are facts.
const TOLD: [&str; 8] = [
    "id",
    "account",
    "family",
    "env",
    "scopes",
    "agents",
    "expires_at",
    "revoked_at",
];
