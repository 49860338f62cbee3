//! The steps of a keyed request, each one statement, and how a record lies in a row.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Row as _, query};

use super::connection::Step;
use super::room::Bounds;
use super::statements::Statements;
use crate::clock::Timestamp;
use crate::context::{CorrelationId, Fingerprint};
use crate::idempotency::{Attempt, KeptResponse, Outcome, Owner, Parts, Record, State};
use crate::principal::Caller;

/// Where the steps go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) statements: &'a Statements,
    /// Milliseconds that the clock is moved by, in tests.
    pub(super) offset: i64,
}

/// Enters a claim, or says what is held.
pub(super) struct Claim<'a> {
    pub(super) place: Place<'a>,
    pub(super) attempt: &'a Attempt,
    pub(super) room: Enter,
    pub(super) bounds: Bounds,
}

/// Looks what a claim would come upon.
pub(super) struct Peek<'a> {
    pub(super) place: Place<'a>,
    pub(super) owner: &'a Owner,
    pub(super) bounds: Bounds,
}

/// Whether a new record may be entered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Enter {
    /// It may.
    Free,
    /// If there are few enough.
    Counted,
    /// It may not.
    Never,
}

/// What a claim came upon.
pub(super) struct Found {
    pub(super) now: Timestamp,
    /// Records of the caller and in all, where they were counted.
    pub(super) own: u64,
    pub(super) all: u64,
    /// The end of the lease, where the claim was entered.
    pub(super) made: Option<Timestamp>,
    pub(super) held: Option<Record>,
}

/// Enters a claim in the place of a record.
pub(super) struct TakeOver<'a> {
    pub(super) place: Place<'a>,
    pub(super) owner: &'a Owner,
    pub(super) held: Parts,
    pub(super) claimed: Parts,
}

/// Extends a lease.
pub(super) struct Renew<'a> {
    pub(super) place: Place<'a>,
    pub(super) owner: &'a Owner,
    pub(super) lease: Duration,
}

/// Ends an execution.
///
/// It may be taken inside a transaction of somebody else's, and counts with it.
pub(super) struct Finish<'a> {
    pub(super) place: Place<'a>,
    pub(super) owner: &'a Owner,
    pub(super) outcome: &'a Outcome,
    pub(super) retention: Duration,
}

/// Takes a claim back.
pub(super) struct Release<'a> {
    pub(super) place: Place<'a>,
    pub(super) owner: &'a Owner,
}

/// Forgets what is over.
pub(super) struct Sweep<'a> {
    pub(super) place: Place<'a>,
    pub(super) most: i64,
}

// === impl Claim ===

impl Step for Claim<'_> {
    type Answer = Found;

    async fn take(&self, connection: &mut PgConnection) -> Result<Found, sqlx::Error> {
        let Attempt { owner, .. } = self.attempt;
        let row = query(self.place.statements.claim.text())
            .bind(self.place.offset)
            .bind(caller(&owner.caller))
            .bind(&owner.key.as_bytes()[..])
            .bind(&self.attempt.fingerprint.as_bytes()[..])
            .bind(owner.token.to_be_bytes())
            .bind(self.attempt.correlation_id.as_str())
            .bind(millis(self.attempt.lease))
            .bind(millis(self.attempt.retention))
            .bind(self.room == Enter::Counted)
            .bind(self.room == Enter::Free)
            .bind(number(self.bounds.share))
            .bind(number(self.bounds.whole.unwrap_or_default()))
            .fetch_one(connection)
            .await?;
        Found::read(&row)
    }
}

// === impl Peek ===

impl Step for Peek<'_> {
    type Answer = Found;

    async fn take(&self, connection: &mut PgConnection) -> Result<Found, sqlx::Error> {
        let row = query(self.place.statements.peek.text())
            .bind(self.place.offset)
            .bind(caller(&self.owner.caller))
            .bind(&self.owner.key.as_bytes()[..])
            .bind(number(self.bounds.share))
            .bind(number(self.bounds.whole.unwrap_or_default()))
            .fetch_one(connection)
            .await?;
        Found::read(&row)
    }
}

// === impl Found ===

impl Found {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let made: Option<i64> = row.try_get("made")?;
        Ok(Self {
            now: moment(row.try_get("now")?),
            own: row.try_get::<i64, _>("own")?.unsigned_abs(),
            all: row.try_get::<i64, _>("whole")?.unsigned_abs(),
            made: made.map(moment),
            held: held(row)?,
        })
    }
}

// === impl TakeOver ===

impl Step for TakeOver<'_> {
    type Answer = bool;

    async fn take(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let State::Claimed { lease_ends } = self.claimed.state else {
            return Ok(false);
        };
        let taken = query(self.place.statements.take_over.text())
            .bind(caller(&self.owner.caller))
            .bind(&self.owner.key.as_bytes()[..])
            .bind(self.held.token.to_be_bytes())
            .bind(code(&self.held.state))
            .bind(number(self.held.expires.as_unix_millis()))
            .bind(&self.claimed.fingerprint.as_bytes()[..])
            .bind(self.claimed.token.to_be_bytes())
            .bind(self.claimed.original.as_str())
            .bind(number(lease_ends.as_unix_millis()))
            .bind(number(self.claimed.expires.as_unix_millis()))
            .execute(connection)
            .await?;
        Ok(taken.rows_affected() == 1)
    }
}

// === impl Renew ===

impl Step for Renew<'_> {
    type Answer = bool;

    async fn take(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let renewed = query(self.place.statements.renew.text())
            .bind(self.place.offset)
            .bind(caller(&self.owner.caller))
            .bind(&self.owner.key.as_bytes()[..])
            .bind(self.owner.token.to_be_bytes())
            .bind(millis(self.lease))
            .bind(millis(Timestamp::SKEW))
            .execute(connection)
            .await?;
        Ok(renewed.rows_affected() == 1)
    }
}

// === impl Finish ===

impl Step for Finish<'_> {
    type Answer = bool;

    async fn take(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let response = match self.outcome {
            Outcome::Done(response) => Some(response.encode()),
            Outcome::NotStored | Outcome::Unknown => None,
        };
        let finished = query(self.place.statements.finish.text())
            .bind(self.place.offset)
            .bind(caller(&self.owner.caller))
            .bind(&self.owner.key.as_bytes()[..])
            .bind(self.owner.token.to_be_bytes())
            .bind(millis(self.retention))
            .bind(outcome_code(self.outcome))
            .bind(response)
            .execute(&mut *connection)
            .await?;
        if finished.rows_affected() == 1 {
            return Ok(true);
        }
        let ended = query(self.place.statements.ended.text())
            .bind(caller(&self.owner.caller))
            .bind(&self.owner.key.as_bytes()[..])
            .bind(self.owner.token.to_be_bytes())
            .fetch_optional(connection)
            .await?;
        Ok(ended.is_some())
    }
}

// === impl Release ===

impl Step for Release<'_> {
    type Answer = bool;

    async fn take(&self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let released = query(self.place.statements.release.text())
            .bind(caller(&self.owner.caller))
            .bind(&self.owner.key.as_bytes()[..])
            .bind(self.owner.token.to_be_bytes())
            .execute(connection)
            .await?;
        Ok(released.rows_affected() == 1)
    }
}

// === impl Sweep ===

impl Step for Sweep<'_> {
    /// How many there were.
    type Answer = u64;

    async fn take(&self, connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
        let swept = query(self.place.statements.sweep.text())
            .bind(self.place.offset)
            .bind(self.most)
            .execute(connection)
            .await?;
        Ok(swept.rows_affected())
    }
}

/// The record in a row that may have none.
pub(super) fn held(row: &PgRow) -> Result<Option<Record>, sqlx::Error> {
    let Some(code) = row.try_get::<Option<i16>, _>("state")? else {
        return Ok(None);
    };
    let malformed = || sqlx::Error::Decode("a record in the store is malformed".into());
    let original = HeaderValue::from_str(row.try_get("original")?).map_err(|_| malformed())?;
    let response = || -> Result<KeptResponse, sqlx::Error> {
        let response: Vec<u8> = row.try_get("response")?;
        KeptResponse::decode(Bytes::from(response)).ok_or_else(malformed)
    };
    let state = match code {
        CLAIMED => State::Claimed {
            lease_ends: moment(row.try_get("lease_ends")?),
        },
        DONE => State::Ended(Outcome::Done(Arc::new(response()?))),
        NOT_STORED => State::Ended(Outcome::NotStored),
        UNKNOWN => State::Ended(Outcome::Unknown),
        _ => return Err(malformed()),
    };
    let parts = Parts {
        fingerprint: Fingerprint::from_bytes(row.try_get("fingerprint")?),
        original: CorrelationId::parse(&original).ok_or_else(malformed)?,
        token: u128::from_be_bytes(row.try_get("token")?),
        state,
        expires: moment(row.try_get("expires")?),
    };
    Ok(Some(Record::from_parts(parts)))
}

/// A name too long for an index is kept as its hash, after a byte that no text begins with.
pub(super) fn caller(caller: &Caller) -> Cow<'_, [u8]> {
    let name = caller.as_str().as_bytes();
    if name.len() <= NAME_MAX {
        return Cow::Borrowed(name);
    }
    let mut hashed = vec![0xff];
    hashed.extend_from_slice(&Sha256::digest(name));
    Cow::Owned(hashed)
}

const fn code(state: &State) -> i16 {
    match state {
        State::Claimed { .. } => CLAIMED,
        State::Ended(outcome) => outcome_code(outcome),
    }
}

const fn outcome_code(outcome: &Outcome) -> i16 {
    match outcome {
        Outcome::Done(_) => DONE,
        Outcome::NotStored => NOT_STORED,
        Outcome::Unknown => UNKNOWN,
    }
}

/// So few that some of them and a moment can be added up.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).map_or(MILLIS_MAX, |millis| millis.min(MILLIS_MAX))
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn moment(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(u64::try_from(millis).unwrap_or_default())
}

const CLAIMED: i16 = 1;
const DONE: i16 = 2;
const NOT_STORED: i16 = 3;
const UNKNOWN: i16 = 4;

/// An entry of an index has 2,704 bytes at most, and a key 255 of them.
const NAME_MAX: usize = 1024;

const MILLIS_MAX: i64 = i64::MAX / 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_kept_as_a_hash_that_no_name_is_like() {
        let short = Caller::new("live", "family");
        assert_eq!(&*caller(&short), b"live:family");
        let long = Caller::new("live", &"x".repeat(2000));
        let longer = Caller::new("live", &"x".repeat(2001));
        assert_eq!(caller(&long).len(), 33);
        assert_ne!(caller(&long), caller(&longer));
        assert!(std::str::from_utf8(&caller(&long)).is_err());
    }

    #[test]
    fn no_duration_overflows_a_moment() {
        let now = 4_000_000_000_000;
        let sum = millis(Duration::MAX) * 2 + millis(Timestamp::SKEW) + now;
        assert!(sum > now);
    }
}
