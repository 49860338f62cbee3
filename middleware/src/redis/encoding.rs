//! What is written to the server and read from it, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use redis::Value;

use crate::clock::Timestamp;
use crate::context::CorrelationId;
use crate::error::StoreError;
use crate::idempotency::{Decision, KeptResponse, Preview};
use crate::rate_limit::{Charge, Quota, Verdict};
use crate::stack::Admitted;

/// Reads a 0 or a 1.
pub(super) fn truth(reply: &Value) -> Result<bool, StoreError> {
    match reply {
        Value::Int(0) => Ok(false),
        Value::Int(1) => Ok(true),
        _ => Err(unreadable()),
    }
}

/// Reads the reply of `judge`.
pub(super) fn verdict(reply: &Value, quota: &Quota) -> Result<Verdict, StoreError> {
    let Value::Array(parts) = reply else {
        return Err(unreadable());
    };
    let numbers: Option<Vec<u64>> = parts.iter().map(number).collect();
    let Some(&[allowed, remaining, reset, wait]) = numbers.as_deref() else {
        return Err(unreadable());
    };
    Ok(Verdict {
        allowed: allowed == 1,
        limit: quota.limit(),
        remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
        reset: Timestamp::from_unix_millis(reset),
        wait: Duration::from_micros(wait),
    })
}

/// Reads the reply of a charge that compares the key record first.
pub(super) fn charge(reply: &Value, quota: &Quota) -> Result<Charge, StoreError> {
    match reply {
        Value::Int(-1) => Ok(Charge::Outdated),
        reply => verdict(reply, quota).map(Charge::Judged),
    }
}

/// Reads the reply of `decide`.
pub(super) fn decision(reply: &Value) -> Result<Decision, StoreError> {
    let Value::Array(parts) = reply else {
        return Err(unreadable());
    };
    let [Value::BulkString(kind), rest @ ..] = &parts[..] else {
        return Err(unreadable());
    };
    if kind == b"full" {
        return Err(StoreError::full());
    }
    if kind == FORGETTABLE {
        return Err(forgettable());
    }
    told(kind, rest).ok_or_else(unreadable)
}

/// Reads the reply to the question what a claim would come upon.
pub(super) fn preview(reply: &Value) -> Result<Preview, StoreError> {
    let Value::Array(parts) = reply else {
        return Err(unreadable());
    };
    let [answer, Value::Int(left)] = &parts[..] else {
        return Err(unreadable());
    };
    Ok(Preview {
        decision: decision(answer)?,
        kept_for: u64::try_from(*left).ok().map(Duration::from_millis),
    })
}

fn told(kind: &[u8], rest: &[Value]) -> Option<Decision> {
    Some(match (kind, rest) {
        (b"execute", [ends]) => Decision::Execute {
            lease_ends: Timestamp::from_unix_millis(number(ends)?),
        },
        (b"in progress", [original, wait]) => Decision::InProgress {
            original: id(original)?,
            wait: Duration::from_millis(number(wait)?),
        },
        (b"in use", [original]) => Decision::InUse {
            original: id(original)?,
        },
        (b"not stored", [original]) => Decision::NotStored {
            original: id(original)?,
        },
        (b"unknown", [original]) => Decision::Unknown {
            original: id(original)?,
        },
        (b"replay", [Value::BulkString(response)]) => {
            let response = KeptResponse::decode(Bytes::copy_from_slice(response))?;
            Decision::Replay(Arc::new(response))
        }
        _ => return None,
    })
}

/// What is left of a reply that too few replicas have confirmed: what was counted, and
/// what was so before. Of nothing else it is known that it stays.
pub(super) fn unconfirmed(reply: Value) -> Result<Value, StoreError> {
    let Value::Array(mut parts) = reply else {
        return Err(forgettable());
    };
    let claim = match &mut parts[..] {
        [_charge, Value::Array(claim)] => claim,
        _ => &mut parts,
    };
    if let Some(Value::BulkString(kind)) = claim.first_mut()
        && kind == b"execute"
    {
        *kind = FORGETTABLE.to_vec();
    }
    Ok(Value::Array(parts))
}

/// Reads the reply to both steps at once.
pub(super) fn admitted(reply: &Value, quota: &Quota) -> Admitted {
    match reply {
        Value::Array(answers) => match &answers[..] {
            [judged] => (charge(judged, quota), None),
            [judged, claim] => (charge(judged, quota), Some(decision(claim))),
            _ => (Err(unreadable()), None),
        },
        _ => (Err(unreadable()), None),
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn id(value: &Value) -> Option<CorrelationId> {
    let Value::BulkString(text) = value else {
        return None;
    };
    CorrelationId::parse(&HeaderValue::from_bytes(text).ok()?)
}

fn unreadable() -> StoreError {
    StoreError::unanswered().because("its reply cannot be read")
}

fn forgettable() -> StoreError {
    StoreError::unanswered().because("too few replicas have it")
}

/// In the place of a claim that a failover may undo.
const FORGETTABLE: &[u8] = b"forgettable";
