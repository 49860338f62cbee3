//! How counters are written down: bytes of a version, read with suspicion.
//!
//! ```text
//! version 1 · (length, caller · ends u64 ms · span u64 µs · kind u8 · window (1): started u64 ms, count u32
//!                                                                   | arrival (2): expected u64 µs)…
//! ```

use std::time::Duration;

use crate::codec::{Malformed, Reader, Writer};
use crate::principal::Caller;
use crate::rate_limit::{Counted, Counter};

/// Writes counters down.
pub(super) fn encode_counters<'a>(
    counters: impl Iterator<Item = (&'a Caller, &'a Counted)>,
) -> Vec<u8> {
    let mut writer = Writer::new(VERSION, 0);
    for (caller, counted) in counters {
        writer.text(caller.as_str().as_bytes());
        writer.timestamp(counted.ends);
        let span = u64::try_from(counted.span.as_micros()).unwrap_or(u64::MAX);
        writer.put(&span.to_be_bytes());
        write(&mut writer, counted.counter);
    }
    writer.into_bytes()
}

/// Reads counters.
pub(super) fn decode_counters(bytes: &[u8]) -> Result<Vec<(Caller, Counted)>, Malformed> {
    let mut reader = Reader::new(bytes, VERSION)?;
    let mut counters = Vec::new();
    while !reader.is_empty() {
        let caller = caller(&mut reader)?;
        let ends = reader.timestamp()?;
        let span = Duration::from_micros(reader.number()?);
        let counter = counter(&mut reader)?;
        let counted = Counted {
            counter,
            ends,
            span,
        };
        counters.push((caller, counted));
    }
    Ok(counters)
}

fn counter(reader: &mut Reader<'_>) -> Result<Counter, Malformed> {
    match reader.byte()? {
        WINDOW => Ok(Counter::Window {
            started: reader.timestamp()?,
            count: u32::from_be_bytes(reader.array()?),
        }),
        ARRIVAL => Ok(Counter::Arrival {
            expected: reader.number()?,
        }),
        _ => Err(Malformed),
    }
}

fn caller(reader: &mut Reader<'_>) -> Result<Caller, Malformed> {
    let name = std::str::from_utf8(reader.text()?).map_err(|_| Malformed)?;
    let (environment, family) = name.split_once(':').ok_or(Malformed)?;
    Ok(Caller::new(environment, family))
}

fn write(writer: &mut Writer, counter: Counter) {
    match counter {
        Counter::Window { started, count } => {
            writer.put(&[WINDOW]);
            writer.timestamp(started);
            writer.put(&count.to_be_bytes());
        }
        Counter::Arrival { expected } => {
            writer.put(&[ARRIVAL]);
            writer.put(&expected.to_be_bytes());
        }
    }
}

/// A new layout gets a new number, and reads this one too.
const VERSION: u8 = 1;

const WINDOW: u8 = 1;
const ARRIVAL: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    proptest! {
        #[test]
        fn counters_are_read_as_they_were_written(counters in vec(counted(), 0..9)) {
            let written = encode_counters(counters.iter().map(|(caller, counted)| (caller, counted)));
            prop_assert_eq!(decode_counters(&written), Ok(counters));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
            let _read = decode_counters(&bytes);
            let _read = decode_counters(&[&[VERSION], &bytes[..]].concat());
        }
    }

    fn counted() -> impl Strategy<Value = (Caller, Counted)> {
        let window = (any::<u64>(), any::<u32>()).prop_map(|(started, count)| Counter::Window {
            started: Timestamp::from_unix_millis(started),
            count,
        });
        let arrival = any::<u64>().prop_map(|expected| Counter::Arrival { expected });
        let counter = prop_oneof![window, arrival];
        ("[a-z:é]{0,12}", counter, any::<u64>(), any::<u64>()).prop_map(
            |(family, counter, ends, span)| {
                let counted = Counted {
                    counter,
                    ends: Timestamp::from_unix_millis(ends),
                    span: Duration::from_micros(span),
                };
                (Caller::new("live", &family), counted)
            },
        )
    }
}
