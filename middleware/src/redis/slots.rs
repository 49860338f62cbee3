//! The slots of a Cluster.

use std::ops::RangeInclusive;

use redis::Value;

/// Slots in a row that one node has.
pub(super) type Range = RangeInclusive<u16>;

/// The host and the port of a node.
pub(super) type Place = (String, u16);

/// Slots, and where their master is and then its replicas.
pub(super) struct Shard {
    pub(super) slots: Range,
    pub(super) places: Vec<Place>,
}

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

/// Reads the reply to CLUSTER SLOTS. A node that has no name to give has the one that it
/// was asked by.
pub(super) fn shards(reply: &Value, asked: &str) -> Option<Vec<Shard>> {
    let Value::Array(shards) = reply else {
        return None;
    };
    shards.iter().map(|shard| read(shard, asked)).collect()
}

fn read(shard: &Value, asked: &str) -> Option<Shard> {
    let Value::Array(parts) = shard else {
        return None;
    };
    let [Value::Int(from), Value::Int(to), nodes @ ..] = &parts[..] else {
        return None;
    };
    let slots = u16::try_from(*from).ok()?..=u16::try_from(*to).ok()?;
    let places: Option<Vec<_>> = nodes.iter().map(|node| place(node, asked)).collect();
    let places = places.filter(|places| !places.is_empty())?;
    Some(Shard { slots, places })
}

fn place(node: &Value, asked: &str) -> Option<Place> {
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
