//! What the layers decided about a request, as plain data for whoever counts, logs or traces.
//!
//! # Example
//!
//! ```
//! use http::Request;
//! use tower::{Layer, ServiceExt, service_fn};
//! use vestibule::correlation_id::CorrelateLayer;
//! use vestibule::telemetry::{IdDecision, Observer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! # let inner = service_fn(|_: Request<()>| async {
//! #     Ok::<_, std::io::Error>(http::Response::new(http_body_util::Full::<bytes::Bytes>::default()))
//! # });
//! let observer = Observer::new();
//! let mut request = Request::new(());
//! request.extensions_mut().insert(observer.clone());
//! CorrelateLayer::new().layer(inner).oneshot(request).await.unwrap();
//! assert_eq!(observer.decisions().id, Some(IdDecision::Minted));
//! # }
//! ```
//!
//! Whoever wants to know puts an [`Observer`] into the extensions of a request, outside of
//! the layers, and reads it whenever it likes: when the response has come, or when the caller
//! has left before it. A request without one costs a look into its extensions. Nothing here
//! knows a library of metrics; every word is one of a fixed set, fit for a label.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Extensions;

use crate::context::CorrelationId;
use crate::error::{Code, StoreError, StoreErrorKind};
use crate::principal::Principal;

/// Where the layers write what they decide about one request. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Observer(Arc<Mutex<Decisions>>);

/// What was decided so far; what nobody has decided is none.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Decisions {
    /// The id of the request.
    pub correlation_id: Option<CorrelationId>,
    /// Where the id comes from.
    pub id: Option<IdDecision>,
    /// The path pattern of the route that was found, as it was entered.
    pub route: Option<Arc<str>>,
    /// Whether it is known who is calling.
    pub key: Option<KeyDecision>,
    /// Who is calling; never the key itself.
    pub caller: Option<Principal>,
    /// Whether the caller's budget allows the request.
    pub limit: Option<LimitDecision>,
    /// What became of the Idempotency-Key; none where the request is not keyed.
    pub idempotency: Option<KeyedDecision>,
    /// The refusal or the fault that was answered, where a layer or a handler made one.
    pub refusal: Option<Code>,
}

/// Learns of the steps that are taken at a store.
///
/// Called within the request: what it does must be short, and it must not wait.
pub trait StoreObserver: fmt::Debug + Send + Sync {
    /// A step has ended after so long.
    fn ended(&self, step: StoreStep, outcome: StoreOutcome, took: Duration);
}

/// Declares a set of words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$row:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$row])* $variant,)*
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word for a label or a field of a log.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// Where a correlation id comes from.
    IdDecision {
        /// There was none, or none that is good.
        Minted = "minted",
        /// The caller sent it.
        Taken = "taken",
    }
}

words! {
    /// Whether it is known who is calling, and how, or why not.
    KeyDecision {
        /// The key is good.
        Accepted = "accepted",
        /// The key is of an environment that is not served here.
        Environment = "environment",
        /// The key has ended.
        Expired = "expired",
        /// Whoever is around the layers had said who is calling.
        Given = "given",
        /// What was sent is no key, and nothing was looked up.
        Malformed = "malformed",
        /// No key was sent.
        Missing = "missing",
        /// The route asks for none.
        Public = "public",
        /// The key was taken back.
        Revoked = "revoked",
        /// The assertion was refused, or there was none where only assertions count.
        UnprovenAssertion = "unproven_assertion",
        /// The store of the keys could not tell.
        Unavailable = "unavailable",
        /// The key is not known.
        Unknown = "unknown",
        /// A signed assertion vouches for the request.
        Vouched = "vouched",
    }
}

words! {
    /// Whether a caller's budget allows a request.
    LimitDecision {
        /// The store allowed it.
        Allowed = "allowed",
        /// The store is lost, and this process alone allowed it.
        AllowedDegraded = "allowed_degraded",
        /// The budget is spent.
        Limited = "limited",
        /// The store is lost, and this process alone found the budget spent.
        LimitedDegraded = "limited_degraded",
        /// Neither the store nor this process could count it.
        Unavailable = "unavailable",
    }
}

words! {
    /// What became of an Idempotency-Key.
    KeyedDecision {
        /// The request is executed: it is the first one.
        Executed = "executed",
        /// There is no room for another key.
        Full = "full",
        /// The first request still runs.
        InProgress = "in_progress",
        /// The key was used for another request.
        Mismatch = "mismatch",
        /// It was executed, and its response was not kept.
        NotStored = "not_stored",
        /// The first response is given again.
        Replayed = "replayed",
        /// The store is lost, and nothing is executed.
        Unavailable = "unavailable",
        /// Nobody can know whether the first request was executed.
        Unknown = "unknown",
    }
}

words! {
    /// A step at a store.
    StoreStep {
        /// Charge and claim in one.
        Admit = "admit",
        /// A claim of an Idempotency-Key.
        Claim = "claim",
        /// The end of an execution.
        Finish = "finish",
        /// A charge.
        Hit = "hit",
        /// A key record is looked up.
        ReadKey = "read_key",
        /// A claim is taken back.
        Release = "release",
        /// A lease is made longer.
        Renew = "renew",
    }
}

words! {
    /// How a step at a store ended.
    StoreOutcome {
        /// The store answered.
        Answered = "answered",
        /// The breaker is open, and the store was not asked.
        CutOff = "cut_off",
        /// The store failed, or did not answer in time.
        Failed = "failed",
        /// The store has no room.
        Full = "full",
    }
}

// === impl Observer ===

impl Observer {
    /// Nothing was decided yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was decided so far.
    #[must_use]
    pub fn decisions(&self) -> Decisions {
        self.lock().clone()
    }

    /// The one of a request, where somebody wants to know.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Decisions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl StoreOutcome ===

impl StoreOutcome {
    /// What is told of a store's answer.
    pub(crate) fn of<T>(answer: &Result<T, StoreError>) -> Self {
        match answer.as_ref().map_err(StoreError::kind) {
            Ok(_) => Self::Answered,
            Err(StoreErrorKind::Full) => Self::Full,
            Err(StoreErrorKind::NotSent | StoreErrorKind::Unanswered) => Self::Failed,
        }
    }
}

/// Writes a decision down, where somebody wants to know.
pub(crate) fn note(observer: Option<&Observer>, decide: impl FnOnce(&mut Decisions)) {
    if let Some(observer) = observer {
        decide(&mut observer.lock());
    }
}

/// Writes down whether an assertion vouches for a request, and for whom.
pub(crate) fn vouched(extensions: &Extensions, caller: Option<&Principal>) {
    note(Observer::of(extensions), |seen| {
        seen.key = Some(match caller {
            Some(_) => KeyDecision::Vouched,
            None => KeyDecision::UnprovenAssertion,
        });
        seen.caller = caller.cloned();
    });
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn words_are_told_apart_and_fit_for_a_label() {
        fn check(words: &[&str]) {
            let fit = |letter: u8| letter.is_ascii_lowercase() || letter == b'_';
            assert!(words.iter().all(|word| word.bytes().all(fit)), "{words:?}");
            let unlike: HashSet<&&str> = words.iter().collect();
            assert_eq!(unlike.len(), words.len(), "{words:?}");
        }
        macro_rules! check {
            ($($name:ident)*) => {
                $(check(&$name::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>());)*
            };
        }
        check!(IdDecision KeyDecision LimitDecision KeyedDecision StoreStep StoreOutcome);
    }
}
