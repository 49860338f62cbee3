//! From the `Authorization` header to the caller, without the service around it.

use std::fmt;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderValue, Request};

use super::digest::Peppers;
use super::key::{ApiKey, KeyError, KeyFormat};
use super::keyring::Keyring;
use super::last_used::LastUsed;
use super::record::{KeyRecord, Refusal};
use crate::clock::{SharedClock, SystemClock};
use crate::error::{ApiError, StoreError};
use crate::principal::Principal;
use crate::route::RouteMatch;
use crate::telemetry::{self, KeyDecision, Observer};

/// Tells who is calling.
///
/// [`Authenticate`](super::Authenticate) is a thin service around this; use it directly
/// where requests do not come through tower. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator<K> {
    keyring: K,
    rules: Arc<Rules>,
}

#[derive(Clone, Debug)]
struct Rules {
    format: KeyFormat,
    peppers: Peppers,
    separate_codes: bool,
    last_used: Option<LastUsed>,
    clock: SharedClock,
}

/// A refusal, and the word for its reason.
struct Refused {
    reason: KeyDecision,
    error: ApiError,
}

// === impl Authenticator ===

impl<K> Authenticator<K> {
    /// Looks keys up here: keys of every brand and environment, plain digests, one code
    /// for every refusal, the machine's clock.
    pub fn new(keyring: K) -> Self {
        let rules = Rules {
            format: KeyFormat::new(),
            peppers: Peppers::none(),
            separate_codes: false,
            last_used: None,
            clock: SystemClock::shared(),
        };
        Self {
            keyring,
            rules: Arc::new(rules),
        }
    }

    /// The keys that are accepted. Default: ours, of every brand and environment.
    #[must_use]
    pub fn format(mut self, format: KeyFormat) -> Self {
        self.rules_mut().format = format;
        self
    }

    /// The peppers that digests are made with. Default: none, plain SHA-256.
    #[must_use]
    pub fn peppers(mut self, peppers: Peppers) -> Self {
        self.rules_mut().peppers = peppers;
        self
    }

    /// Refuses revoked and expired keys under codes of their own, `revoked_api_key` and
    /// `expired_api_key`. Default: off, `invalid_api_key` for all; the message tells.
    #[must_use]
    pub fn separate_codes(mut self) -> Self {
        self.rules_mut().separate_codes = true;
        self
    }

    /// Where the keys that are let in are noted. Default: nowhere.
    #[must_use]
    pub fn last_used(mut self, last_used: LastUsed) -> Self {
        self.rules_mut().last_used = Some(last_used);
        self
    }

    /// What expiry and revocation are judged by. Default: the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.rules_mut().clock = clock;
        self
    }

    /// The same rules for a keyring around this one, of which no use is noted.
    pub(crate) fn looking_at<J>(&self, around: impl FnOnce(&K) -> J) -> Authenticator<J> {
        let mut rules = Arc::clone(&self.rules);
        Arc::make_mut(&mut rules).last_used = None;
        let keyring = around(&self.keyring);
        Authenticator { keyring, rules }
    }

    /// Removes a credential that looks like one of our keys, mistyped or not.
    ///
    /// For public routes, where a key that was sent all the same must not reach the
    /// upstream. Opaque keys look like anybody's bearer token, so they are left.
    pub fn strip(&self, headers: &mut HeaderMap) {
        let ours =
            |value: &HeaderValue| bearer(value).is_ok_and(|text| self.rules.format.resembles(text));
        if headers.get_all(AUTHORIZATION).iter().any(ours) {
            headers.remove(AUTHORIZATION);
        }
    }

    fn rules_mut(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.rules)
    }
}

impl<K: Keyring> Authenticator<K> {
    /// Lets a request in: puts its [`Principal`] into its extensions and takes its key out.
    ///
    /// One that has a `Principal` already, or whose route asks for no key, passes as it is.
    ///
    /// # Errors
    ///
    /// As [`authenticate`](Self::authenticate).
    pub async fn enter<B>(&self, request: &mut Request<B>) -> Result<(), ApiError> {
        if let Some(principal) = request.extensions().get::<Principal>() {
            note(request.extensions(), KeyDecision::Given, Some(principal));
            return Ok(());
        }
        if is_public(request.extensions()) {
            note(request.extensions(), KeyDecision::Public, None);
            self.strip(request.headers_mut());
            return Ok(());
        }
        let observer = Observer::of(request.extensions()).cloned();
        let introduced = self.introduce(request, observer.as_ref()).await;
        introduced.map(drop)
    }

    /// Puts the caller of a request into its extensions and takes the key out.
    ///
    /// # Errors
    ///
    /// As [`authenticate`](Self::authenticate).
    pub(crate) async fn introduce<B>(
        &self,
        request: &mut Request<B>,
        observer: Option<&Observer>,
    ) -> Result<Principal, ApiError> {
        let judged = self.judge(request.headers()).await;
        let principal = admitted(judged, observer)?;
        request.headers_mut().remove(AUTHORIZATION);
        request.extensions_mut().insert(principal.clone());
        Ok(principal)
    }

    /// The caller behind the key in these headers.
    ///
    /// # Errors
    ///
    /// 401 `invalid_api_key` with a message that tells what is wrong, or 503
    /// `auth_store_unavailable` where the keyring cannot tell.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, ApiError> {
        self.judge(headers).await.map_err(|refused| refused.error)
    }

    async fn judge(&self, headers: &HeaderMap) -> Result<Principal, Refused> {
        let key = self.rules.key(headers)?;
        let record = self.find(&key).await?.ok_or_else(unknown)?;
        let principal = self.rules.admit(&record)?;
        if let Some(last_used) = &self.rules.last_used {
            last_used.note(&record);
        }
        Ok(principal)
    }

    /// The caller by the record as it is now, whom an older one spoke for.
    ///
    /// # Errors
    ///
    /// 401 where the key is not good any more, or 503 where the keyring cannot tell.
    pub(crate) async fn renew(
        &self,
        outdated: &Principal,
        observer: Option<&Observer>,
    ) -> Result<Principal, ApiError> {
        admitted(self.judge_anew(outdated).await, observer)
    }

    async fn judge_anew(&self, outdated: &Principal) -> Result<Principal, Refused> {
        let record = self.keyring.reread(outdated).await.map_err(|e| lost(&e))?;
        let record = record.ok_or_else(unknown)?;
        let principal = self.rules.admit(&record)?;
        if principal.version() == outdated.version() {
            let key = outdated.key_id();
            tracing::error!(key, "the store counts by another key record than it tells");
            return Err(unavailable());
        }
        Ok(principal)
    }

    async fn find(&self, key: &ApiKey<'_>) -> Result<Option<Arc<KeyRecord>>, Refused> {
        for digest in self.rules.peppers.candidates(key) {
            match self.keyring.find(&digest).await {
                Ok(Some(record)) if record.digest().confirms(&digest) => return Ok(Some(record)),
                Ok(_) => {}
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(None)
    }
}

impl<K> fmt::Debug for Authenticator<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

// === impl Rules ===

impl Rules {
    /// The well-formed key that was sent; nothing is looked up for any other.
    fn key<'a>(&self, headers: &'a HeaderMap) -> Result<ApiKey<'a>, Refused> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or_else(|| Refused {
            reason: KeyDecision::Missing,
            error: ApiError::missing_api_key(),
        })?;
        let malformed = |message| refused(KeyDecision::Malformed, message);
        if values.next().is_some() {
            return Err(malformed("Send one Authorization header only."));
        }
        let text = bearer(value).map_err(malformed)?;
        self.format.parse(text).map_err(unfit)
    }

    fn admit(&self, record: &KeyRecord) -> Result<Principal, Refused> {
        // An opaque key tells its environment only here.
        if !self.format.serves(record.principal().environment()) {
            return Err(unfit(KeyError::Environment));
        }
        // Most keys have no end, and then the time need not be asked for.
        let refusal = match record.has_end().then(|| record.admit(self.clock.now())) {
            None | Some(Ok(_)) => return Ok(record.principal().clone()),
            Some(Err(refusal)) => refusal,
        };
        let (reason, error) = match (refusal, self.separate_codes) {
            (Refusal::Revoked, true) => (KeyDecision::Revoked, ApiError::revoked_api_key()),
            (Refusal::Expired, true) => (KeyDecision::Expired, ApiError::expired_api_key()),
            (Refusal::Revoked, false) => {
                return Err(refused(
                    KeyDecision::Revoked,
                    "This API key has been revoked.",
                ));
            }
            (Refusal::Expired, false) => {
                return Err(refused(KeyDecision::Expired, "This API key has expired."));
            }
        };
        Err(Refused { reason, error })
    }
}

/// Whether the route that was found takes no keys; without a table all do.
fn is_public(extensions: &Extensions) -> bool {
    extensions.get().is_some_and(RouteMatch::is_public)
}

/// The token of a bearer credential (RFC 6750 §2.1); the scheme is case-insensitive
/// (RFC 9110 §11.1).
fn bearer(value: &HeaderValue) -> Result<&str, &'static str> {
    let text = value.to_str().map_err(|_| message(KeyError::Malformed))?;
    let scheme_ends = text.bytes().position(|byte| byte == b' ');
    let (scheme, token) = text.split_at(scheme_ends.unwrap_or(text.len()));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err("The scheme of the Authorization header must be 'Bearer'.");
    }
    Ok(token.trim_matches(' '))
}

const fn message(error: KeyError) -> &'static str {
    match error {
        KeyError::Checksum => "This API key is mistyped: its checksum does not match.",
        KeyError::Environment => "This API key belongs to another environment.",
        KeyError::Malformed => "This is not shaped like an API key.",
    }
}

/// Notes how a caller was judged.
fn admitted(
    judged: Result<Principal, Refused>,
    observer: Option<&Observer>,
) -> Result<Principal, ApiError> {
    telemetry::note(observer, |seen| match &judged {
        Ok(principal) => {
            seen.key = Some(KeyDecision::Accepted);
            seen.caller = Some(principal.clone());
        }
        Err(refused) => seen.key = Some(refused.reason),
    });
    judged.map_err(|refused| refused.error)
}

fn note(extensions: &Extensions, decision: KeyDecision, caller: Option<&Principal>) {
    telemetry::note(Observer::of(extensions), |seen| {
        seen.key = Some(decision);
        seen.caller = caller.cloned();
    });
}

fn refused(reason: KeyDecision, message: &'static str) -> Refused {
    let error = ApiError::invalid_api_key(message);
    Refused { reason, error }
}

fn unfit(error: KeyError) -> Refused {
    let reason = match error {
        KeyError::Environment => KeyDecision::Environment,
        KeyError::Checksum | KeyError::Malformed => KeyDecision::Malformed,
    };
    refused(reason, message(error))
}

fn lost(error: &StoreError) -> Refused {
    let cause = std::error::Error::source(error);
    tracing::error!(error = %error, cause, "an API key could not be checked");
    unavailable()
}

fn unavailable() -> Refused {
    Refused {
        reason: KeyDecision::Unavailable,
        error: ApiError::auth_store_unavailable(),
    }
}

fn unknown() -> Refused {
    refused(KeyDecision::Unknown, "This API key is not known.")
}
