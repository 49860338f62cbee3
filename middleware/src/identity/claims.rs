//! What an assertion says, and the decision whether it may be believed for this request.

use std::borrow::Cow;
use std::time::Duration;

use http::{Extensions, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::verify::Refused;
use crate::clock::Timestamp;
use crate::context::{Claim, CorrelationId, Fingerprint};
use crate::principal::Principal;

/// What a signer asserts and a verifier believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// Who is calling.
    pub principal: Principal,
    /// The id of the request.
    pub correlation_id: CorrelationId,
    /// For keyed requests: what is executed, and until when. The token stays with the
    /// signer, who alone talks to the store: a verified claim has token 0.
    pub claim: Option<Claim>,
}

/// The payload of the token. Field by field it is the table in the module docs; serde
/// refuses a claim that is there twice, is missing or has another type.
#[derive(Serialize, Deserialize)]
pub(super) struct Claims<'a> {
    #[serde(borrow)]
    pub(super) iss: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) aud: Cow<'a, str>,
    nbf: u64,
    exp: u64,
    #[serde(borrow)]
    jti: Cow<'a, str>,
    #[serde(borrow)]
    kid: Cow<'a, str>,
    #[serde(borrow)]
    fam: Cow<'a, str>,
    #[serde(borrow)]
    acc: Cow<'a, str>,
    #[serde(borrow)]
    env: Cow<'a, str>,
    scp: Vec<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agt: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow)]
    cid: Cow<'a, str>,
    #[serde(borrow)]
    htm: Cow<'a, str>,
    #[serde(borrow)]
    htu: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    idk: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fpr: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lse: Option<u64>,
}

/// How long a token is good for, and from when.
#[derive(Clone, Copy)]
pub(super) struct Life {
    pub(super) now: Timestamp,
    pub(super) length: Duration,
}

// === impl Asserted ===

impl Asserted {
    /// Puts what is asserted where the layers and the handler look for it.
    pub fn enter(self, extensions: &mut Extensions) {
        extensions.insert(self.principal);
        extensions.insert(self.correlation_id);
        if let Some(claim) = self.claim {
            extensions.insert(claim);
        }
    }
}

// === impl Claims ===

impl<'a> Claims<'a> {
    pub(super) fn new(
        asserted: &'a Asserted,
        (iss, aud): (&'a str, &'a str),
        (method, uri): (&'a Method, &'a Uri),
        life: Life,
        id: u128,
    ) -> Self {
        let who = &asserted.principal;
        let claim = asserted.claim.as_ref();
        let key = claim.map(|claim| String::from_utf8_lossy(&claim.idempotency_key));
        Self {
            iss: iss.into(),
            aud: aud.into(),
            nbf: life.now.as_unix_seconds(),
            exp: (life.now + life.length).as_unix_seconds_ceil(),
            jti: format!("{id:032x}").into(),
            kid: who.key_id().into(),
            fam: who.family().into(),
            acc: who.account().into(),
            env: who.environment().into(),
            scp: who.scopes().iter().map(Cow::from).collect(),
            agt: who.agents().map(|agents| agents.map(Cow::from).collect()),
            cid: asserted.correlation_id.as_str().into(),
            htm: method.as_str().into(),
            htu: target(uri),
            idk: key,
            fpr: claim.map(|claim| claim.fingerprint.to_string().into()),
            lse: claim.map(|claim| claim.lease_ends.as_unix_millis()),
        }
    }

    /// What these claims assert, if they are for this request and this moment.
    ///
    /// That they come from a signer and for this audience is judged before.
    pub(super) fn admit(
        &self,
        method: &Method,
        uri: &Uri,
        now: Timestamp,
    ) -> Result<Asserted, Refused> {
        let (from, until) = (seconds(self.nbf), seconds(self.exp));
        if from > now + LEEWAY {
            return Err(Refused::Early);
        }
        if until + LEEWAY <= now {
            return Err(Refused::Expired);
        }
        if until.since(now) > LIFE_MAX + LEEWAY {
            return Err(Refused::TooLong);
        }
        if self.htm != method.as_str() || self.htu != target(uri) {
            return Err(Refused::OtherRequest);
        }
        Ok(Asserted {
            principal: self.principal(),
            correlation_id: self.correlation_id().ok_or(Refused::Claims)?,
            claim: self.claim()?,
        })
    }

    fn principal(&self) -> Principal {
        let principal = Principal::builder(&*self.acc, &*self.kid)
            .family(&*self.fam)
            .environment(&*self.env)
            .scopes(self.scp.iter().map(|scope| &**scope));
        match &self.agt {
            None => principal.build(),
            Some(agents) => principal
                .agents(agents.iter().map(|agent| &**agent))
                .build(),
        }
    }

    fn correlation_id(&self) -> Option<CorrelationId> {
        CorrelationId::parse(&HeaderValue::from_str(&self.cid).ok()?)
    }

    fn claim(&self) -> Result<Option<Claim>, Refused> {
        let (key, print, lease_ends) = match (&self.idk, &self.fpr, self.lse) {
            (None, None, None) => return Ok(None),
            (Some(key), Some(print), Some(lease_ends)) => (key, print, lease_ends),
            _ => return Err(Refused::Claims),
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(&**print, &mut bytes).map_err(|_| Refused::Claims)?;
        Ok(Some(Claim::new(
            key.as_bytes().to_vec().into(),
            Fingerprint::from_bytes(bytes),
            Timestamp::from_unix_millis(lease_ends),
            0,
        )))
    }
}

/// Path and query as they are compared; a long one by its digest, so that a token never
/// outgrows its cap because of a query. A path begins with `/` or `*`, so neither form
/// can be taken for the other.
fn target(uri: &Uri) -> Cow<'_, str> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if target.len() <= TARGET_MAX {
        target.into()
    } else {
        format!("sha256:{}", hex::encode(Sha256::digest(target))).into()
    }
}

const fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

/// How far the clocks of both sides may be apart.
pub const LEEWAY: Duration = Duration::from_secs(5);

/// A token that would live longer was not made by a signer of ours.
pub(super) const LIFE_MAX: Duration = Duration::from_secs(300);

const TARGET_MAX: usize = 256;
