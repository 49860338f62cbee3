//! What the layers, the handler and the upstream tell one another through extensions.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use ulid::Ulid;

use crate::clock::{SharedClock, Timestamp};
use crate::principal::Caller;

/// The id that joins a request, its response, its log lines and its upstream calls.
///
/// In the extensions of every request behind [`Correlate`](crate::correlation_id::Correlate).
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct CorrelationId(HeaderValue);

/// What is known about the effect of a request that was not answered in the ordinary way.
///
/// The innermost service puts one into the extensions of a *response* that it had to
/// make up. Where there is none, the answer is the handler's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing was sent: the request may be executed again.
    Impossible,
    /// It was sent, and its answer was cut, late or never came: nobody can know.
    Unknown,
}

/// Marks a request that was charged and claimed already, by the layers that signed its
/// assertion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vouched;

/// The SHA-256 over what makes two requests the same one (contract §6).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The claim under which a keyed request is executed, in the extensions of that request.
///
/// A handler that de-duplicates by itself stores the key and the fingerprint with its
/// effect, and refuses to commit once the lease has ended. One whose records lie in its own
/// database ends the claim in the transaction of its effect, with `Claim::finish`.
#[derive(Clone)]
pub struct Claim {
    /// The `Idempotency-Key` as it was sent.
    pub idempotency_key: Bytes,
    /// What was asked for under that key.
    pub fingerprint: Fingerprint,
    /// The wall time at which the lease ends unless it is renewed.
    pub lease_ends: Timestamp,
    /// Compared by the store at each step, never ordered.
    pub token: u128,
    /// Where the record of the claim is kept by the layers of this process.
    pub(crate) terms: Option<Terms>,
}

/// On which terms a record is ended.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) caller: Caller,
    pub(crate) correlation_id: CorrelationId,
    pub(crate) retention: Duration,
    pub(crate) kept_bytes: usize,
    pub(crate) kept_headers: Vec<HeaderName>,
    pub(crate) clock: SharedClock,
}

// === impl CorrelationId ===

impl CorrelationId {
    /// Accepts 1 to 128 characters of `[A-Za-z0-9._:-]` (contract §2).
    pub fn parse(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
        ((1..=128).contains(&bytes.len()) && bytes.iter().all(allowed)).then(|| Self(value.clone()))
    }

    /// Mints `req_` and a ULID.
    pub fn mint(now: Timestamp, entropy: u128) -> Self {
        let mut text = [0; Self::PREFIX.len() + ulid::ULID_LEN];
        let (prefix, id) = text.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(Self::PREFIX);
        Ulid::from_parts(now.as_unix_millis(), entropy).array_to_str(
            id.try_into()
                .expect("the rest of the buffer is a ULID long"),
        );
        // Bytes that own an array are cloned without another allocation.
        let text = Bytes::from_owner(text);
        Self(HeaderValue::from_maybe_shared(text).expect("a ULID is visible ASCII"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0
            .to_str()
            .expect("both constructors admit visible ASCII only")
    }

    /// The id as the value of a header.
    pub const fn as_header_value(&self) -> &HeaderValue {
        &self.0
    }

    /// The same, without a copy.
    pub fn into_header_value(self) -> HeaderValue {
        self.0
    }

    const PREFIX: &[u8] = b"req_";
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CorrelationId({self})")
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// A digest that was computed or kept before.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

// === impl Claim ===

impl Claim {
    /// A claim that was made elsewhere, as one that an assertion tells of.
    pub const fn new(
        idempotency_key: Bytes,
        fingerprint: Fingerprint,
        lease_ends: Timestamp,
        token: u128,
    ) -> Self {
        Self {
            idempotency_key,
            fingerprint,
            lease_ends,
            token,
            terms: None,
        }
    }

    /// Whether the layers of another process made it and keep its record: it cannot be
    /// finished here.
    pub const fn is_vouched(&self) -> bool {
        self.terms.is_none()
    }

    /// How long the lease still runs.
    pub fn time_left(&self, now: Timestamp) -> Duration {
        self.lease_ends.since(now)
    }
}

/// By what the holder and the upstream learn of it.
impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        let told = |claim: &Self| (claim.fingerprint, claim.lease_ends, claim.token);
        self.idempotency_key == other.idempotency_key && told(self) == told(other)
    }
}

impl Eq for Claim {}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The caller's key may be guessable and the token proves ownership: neither is shown.
        f.debug_struct("Claim")
            .field("fingerprint", &self.fingerprint)
            .field("lease_ends", &self.lease_ends)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_the_ids_that_the_contract_admits() {
        let long = "a".repeat(129);
        for (given, admitted) in [
            ("a", true),
            ("req_01J.A:b-c", true),
            (&long[..128], true),
            (&long, false),
            ("", false),
            ("a b", false),
            ("a,b", false),
            ("a/b", false),
            ("${jndi:x}", false),
        ] {
            let value = HeaderValue::from_str(given).unwrap();
            assert_eq!(
                CorrelationId::parse(&value).is_some(),
                admitted,
                "{given:?}"
            );
        }
    }

    #[test]
    fn minted_ids_are_ulids_that_are_admitted_again() {
        let id = CorrelationId::mint(Timestamp::from_unix_millis(1_469_918_176_385), 7);
        assert_eq!(id.as_str(), "req_01ARYZ6S410000000000000007");
        assert_eq!(CorrelationId::parse(id.as_header_value()), Some(id));
    }

    #[test]
    fn debug_shows_neither_key_nor_token() {
        let key = Bytes::from_static(b"canary-key");
        let fingerprint = Fingerprint::from_bytes([0; 32]);
        let claim = Claim::new(key, fingerprint, Timestamp::EPOCH, 987_654_321);
        let shown = format!("{claim:?}");
        assert!(
            !shown.contains("canary") && !shown.contains("987654321"),
            "{shown}"
        );
    }
}
