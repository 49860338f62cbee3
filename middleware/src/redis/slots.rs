//! The slots of a Cluster.

use std::ops::RangeInclusive;

use redis::Value;

/// Slots in a row that one node has.
pub(super) type Range = RangeInclusive<u16>;

/// The slot of a key, of which only what stands in its first braces counts, if anything does.
pub(super) fn slot(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

/// Whether all keys that begin like this have one slot.
pub(super) fn has_tag(prefix: &str) -> bool {
    tag(prefix.as_bytes()).is_some()
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let begins = key.iter().position(|byte| *byte == b'{')? + 1;
    let length = key[begins..].iter().position(|byte| *byte == b'}')?;
    (length > 0).then(|| &key[begins..begins + length])
}

/// CRC-16/XMODEM, as the specification of Redis Cluster has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ 0x1021
            }
        })
    })
}

/// Reads the reply to CLUSTER SLOTS: each range with the places of its master and then of
/// its replicas. A node that has no name to give has the name it was asked by.
pub(super) fn ranges(reply: &Value, asked: &str) -> Option<Vec<(Range, Vec<(String, u16)>)>> {
    let Value::Array(ranges) = reply else {
        return None;
    };
    ranges.iter().map(|range| entry(range, asked)).collect()
}

fn entry(range: &Value, asked: &str) -> Option<(Range, Vec<(String, u16)>)> {
    let Value::Array(parts) = range else {
        return None;
    };
    let [Value::Int(from), Value::Int(to), nodes @ ..] = &parts[..] else {
        return None;
    };
    let range = u16::try_from(*from).ok()?..=u16::try_from(*to).ok()?;
    let places: Option<Vec<_>> = nodes.iter().map(|node| place(node, asked)).collect();
    places
        .filter(|places| !places.is_empty())
        .map(|places| (range, places))
}

fn place(node: &Value, asked: &str) -> Option<(String, u16)> {
    let Value::Array(parts) = node else {
        return None;
    };
    let (host, port) = match &parts[..] {
        [Value::BulkString(host), Value::Int(port), ..] => (&host[..], port),
        [Value::Nil, Value::Int(port), ..] => (&b""[..], port),
        _ => return None,
    };
    let host = std::str::from_utf8(host).ok()?;
    let host = if host.is_empty() { asked } else { host };
    Some((host.to_owned(), u16::try_from(*port).ok()?))
}

const SLOTS: u16 = 16_384;
