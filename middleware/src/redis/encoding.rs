//! What is written to the server and read from it, byte for byte.
//!
//! A kept response is one string; numbers are big-endian:
//!
//! ```text
//! 1 byte     1, the version of this layout
//! 2          status
//! 1 + n      id of the request that was executed, after its length
//! 2          how many headers follow
//!   2 + n      name, after its length
//!   4 + n      value, after its length
//! the rest   body
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderName, HeaderValue, StatusCode};
use redis::Value;

use crate::clock::Timestamp;
use crate::context::CorrelationId;
use crate::error::StoreError;
use crate::idempotency::{Decision, KeptResponse};
use crate::rate_limit::{Charge, Quota, Verdict};
use crate::stack::Admitted;

/// Encodes a kept response.
pub(super) fn response(kept: &KeptResponse) -> Vec<u8> {
    let original = kept.original.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(kept.weight() + 16 + 6 * kept.headers.len());
    bytes.put_u8(VERSION);
    bytes.put_u16(kept.status.as_u16());
    bytes.put_u8(u8::try_from(original.len()).expect("an id is at most 128 bytes long"));
    bytes.put_slice(original);
    bytes.put_u16(u16::try_from(kept.headers.len()).expect("a header map has at most 32,768"));
    for (name, value) in &kept.headers {
        let name = name.as_str().as_bytes();
        bytes.put_u16(u16::try_from(name.len()).expect("a header's name is under 64 KiB"));
        bytes.put_slice(name);
        bytes.put_u32(u32::try_from(value.len()).expect("a header's value is under 4 GiB"));
        bytes.put_slice(value.as_bytes());
    }
    bytes.put_slice(&kept.body);
    bytes
}

/// Decodes a kept response; nothing where it is none.
pub(super) fn kept(mut bytes: Bytes) -> Option<KeptResponse> {
    if bytes.try_get_u8().ok()? != VERSION {
        return None;
    }
    let status = StatusCode::from_u16(bytes.try_get_u16().ok()?).ok()?;
    let length = bytes.try_get_u8().ok()?.into();
    let original = HeaderValue::from_maybe_shared(take(&mut bytes, length)?).ok()?;
    let mut headers = Vec::new();
    for _ in 0..bytes.try_get_u16().ok()? {
        let length = bytes.try_get_u16().ok()?.into();
        let name = HeaderName::from_bytes(&take(&mut bytes, length)?).ok()?;
        let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
        let value = HeaderValue::from_maybe_shared(take(&mut bytes, length)?).ok()?;
        headers.push((name, value));
    }
    Some(KeptResponse {
        status,
        headers,
        body: bytes,
        original: CorrelationId::parse(&original)?,
    })
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

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
            let response = kept(Bytes::copy_from_slice(response))?;
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
            [charge] => (judged(charge, quota), None),
            [charge, claim] => (judged(charge, quota), Some(decision(claim))),
            _ => (Err(unreadable()), None),
        },
        _ => (Err(unreadable()), None),
    }
}

fn judged(reply: &Value, quota: &Quota) -> Result<Charge, StoreError> {
    verdict(reply, quota).map(Charge::Judged)
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

/// A layout that changes gets another number: processes of two releases share a store
/// while one replaces the other.
const VERSION: u8 = 1;
