//! How a record and a counter are written down: bytes of a version, read with suspicion.
//!
//! Numbers are big-endian; a length is a `u64` before what it counts.
//!
//! ```text
//! record    version 1 · state u8 · expires u64 ms · token u128 · fingerprint 32 bytes · length, original id ·
//!   claimed      (state 1)  lease ends u64 ms
//!   done         (state 2)  status u16 · length, id · number of headers · (length, name · length, value)… · body to the end
//!   not stored   (state 3)
//!   unknown      (state 4)
//! counters  version 1 · (length, caller · ends u64 ms · span u64 µs · kind u8 · window (1): started u64 ms, count u32
//!                                                                             | arrival (2): expected u64 µs)…
//! ```
//!
//! What another version wrote, what ends too early and what goes on too long is
//! [`Malformed`], never a panic and never a guess.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::clock::Timestamp;
use crate::context::{CorrelationId, Fingerprint};
use crate::idempotency::{KeptResponse, Outcome, Parts, Record, State};
use crate::principal::Caller;
use crate::rate_limit::{Counted, Counter};

/// A value that this version of the code did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value in the store is malformed")]
pub(super) struct Malformed;

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

/// What was written so far.
#[derive(Default)]
struct Writer(Vec<u8>);

/// Writes a record down.
pub(super) fn encode_record(record: &Record) -> Vec<u8> {
    let parts = record.to_parts();
    let mut writer = Writer(Vec::with_capacity(record.weight()));
    writer.put(&[VERSION, state_code(&parts.state)]);
    writer.timestamp(parts.expires);
    writer.put(&parts.token.to_be_bytes());
    writer.put(parts.fingerprint.as_bytes());
    writer.text(parts.original.as_str().as_bytes());
    match &parts.state {
        State::Claimed { lease_ends } => writer.timestamp(*lease_ends),
        State::Ended(Outcome::Done(response)) => writer.response(response),
        State::Ended(Outcome::NotStored | Outcome::Unknown) => {}
    }
    writer.0
}

/// Reads a record.
pub(super) fn decode_record(bytes: &[u8]) -> Result<Record, Malformed> {
    let mut reader = Reader(bytes);
    reader.version()?;
    let code = reader.byte()?;
    let expires = reader.timestamp()?;
    let token = u128::from_be_bytes(reader.array()?);
    let fingerprint = Fingerprint::from_bytes(reader.array()?);
    let original = reader.id()?;
    let state = reader.state(code)?;
    reader.end()?;
    Ok(Record::from_parts(Parts {
        fingerprint,
        original,
        token,
        state,
        expires,
    }))
}

/// Writes counters down.
pub(super) fn encode_counters<'a>(
    counters: impl Iterator<Item = (&'a Caller, &'a Counted)>,
) -> Vec<u8> {
    let mut writer = Writer(vec![VERSION]);
    for (caller, counted) in counters {
        writer.text(caller.as_str().as_bytes());
        writer.timestamp(counted.ends);
        let span = u64::try_from(counted.span.as_micros()).unwrap_or(u64::MAX);
        writer.put(&span.to_be_bytes());
        writer.counter(counted.counter);
    }
    writer.0
}

/// Reads counters.
pub(super) fn decode_counters(bytes: &[u8]) -> Result<Vec<(Caller, Counted)>, Malformed> {
    let mut reader = Reader(bytes);
    reader.version()?;
    let mut counters = Vec::new();
    while !reader.0.is_empty() {
        let caller = reader.caller()?;
        let ends = reader.timestamp()?;
        let span = Duration::from_micros(reader.number()?);
        let counter = reader.counter()?;
        let counted = Counted {
            counter,
            ends,
            span,
        };
        counters.push((caller, counted));
    }
    Ok(counters)
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn version(&mut self) -> Result<(), Malformed> {
        match self.byte()? {
            VERSION => Ok(()),
            _ => Err(Malformed),
        }
    }

    fn state(&mut self, code: u8) -> Result<State, Malformed> {
        match code {
            CLAIMED => self
                .timestamp()
                .map(|lease_ends| State::Claimed { lease_ends }),
            DONE => {
                let response = self.response()?;
                Ok(State::Ended(Outcome::Done(Arc::new(response))))
            }
            NOT_STORED => Ok(State::Ended(Outcome::NotStored)),
            UNKNOWN => Ok(State::Ended(Outcome::Unknown)),
            _ => Err(Malformed),
        }
    }

    fn response(&mut self) -> Result<KeptResponse, Malformed> {
        let status = u16::from_be_bytes(self.array()?);
        let status = StatusCode::from_u16(status).map_err(|_| Malformed)?;
        let original = self.id()?;
        let mut headers = Vec::new();
        // Read one by one: a number that lies reserves nothing.
        for _ in 0..self.number()? {
            let name = HeaderName::from_bytes(self.text()?).map_err(|_| Malformed)?;
            let value = HeaderValue::from_bytes(self.text()?).map_err(|_| Malformed)?;
            headers.push((name, value));
        }
        let body = Bytes::copy_from_slice(std::mem::take(&mut self.0));
        Ok(KeptResponse {
            status,
            headers,
            body,
            original,
        })
    }

    fn counter(&mut self) -> Result<Counter, Malformed> {
        match self.byte()? {
            WINDOW => Ok(Counter::Window {
                started: self.timestamp()?,
                count: u32::from_be_bytes(self.array()?),
            }),
            ARRIVAL => Ok(Counter::Arrival {
                expected: self.number()?,
            }),
            _ => Err(Malformed),
        }
    }

    fn caller(&mut self) -> Result<Caller, Malformed> {
        let name = std::str::from_utf8(self.text()?).map_err(|_| Malformed)?;
        let (environment, family) = name.split_once(':').ok_or(Malformed)?;
        Ok(Caller::new(environment, family))
    }

    fn id(&mut self) -> Result<CorrelationId, Malformed> {
        let value = HeaderValue::from_bytes(self.text()?).map_err(|_| Malformed)?;
        CorrelationId::parse(&value).ok_or(Malformed)
    }

    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    fn timestamp(&mut self) -> Result<Timestamp, Malformed> {
        self.number().map(Timestamp::from_unix_millis)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn end(&self) -> Result<(), Malformed> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Malformed),
        }
    }
}

// === impl Writer ===

impl Writer {
    fn response(&mut self, response: &KeptResponse) {
        self.put(&response.status.as_u16().to_be_bytes());
        self.text(response.original.as_str().as_bytes());
        self.length(response.headers.len());
        for (name, value) in &response.headers {
            self.text(name.as_str().as_bytes());
            self.text(value.as_bytes());
        }
        self.put(&response.body);
    }

    fn counter(&mut self, counter: Counter) {
        match counter {
            Counter::Window { started, count } => {
                self.put(&[WINDOW]);
                self.timestamp(started);
                self.put(&count.to_be_bytes());
            }
            Counter::Arrival { expected } => {
                self.put(&[ARRIVAL]);
                self.put(&expected.to_be_bytes());
            }
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.put(text);
    }

    fn length(&mut self, length: usize) {
        self.put(&(length as u64).to_be_bytes());
    }

    fn timestamp(&mut self, at: Timestamp) {
        self.put(&at.as_unix_millis().to_be_bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

fn state_code(state: &State) -> u8 {
    match state {
        State::Claimed { .. } => CLAIMED,
        State::Ended(Outcome::Done(_)) => DONE,
        State::Ended(Outcome::NotStored) => NOT_STORED,
        State::Ended(Outcome::Unknown) => UNKNOWN,
    }
}

/// Of each value. A new layout gets a new number, and reads this one too.
const VERSION: u8 = 1;

const CLAIMED: u8 = 1;
const DONE: u8 = 2;
const NOT_STORED: u8 = 3;
const UNKNOWN: u8 = 4;

const WINDOW: u8 = 1;
const ARRIVAL: u8 = 2;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in record()) {
            let written = encode_record(&record);
            prop_assert_eq!(decode_record(&written), Ok(record));
        }

        #[test]
        fn counters_are_read_as_they_were_written(counters in vec(counted(), 0..9)) {
            let written = encode_counters(counters.iter().map(|(caller, counted)| (caller, counted)));
            prop_assert_eq!(decode_counters(&written), Ok(counters));
        }

        #[test]
        fn what_is_cut_anywhere_before_the_body_is_malformed(record in record(), at in any::<prop::sample::Index>()) {
            let written = encode_record(&record);
            let body = match &record.to_parts().state {
                State::Ended(Outcome::Done(response)) => response.body.len(),
                _ => 0,
            };
            let cut = &written[..at.index(written.len() - body)];
            prop_assert_eq!(decode_record(cut), Err(Malformed));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300), state in 0..6u8, record in record(), at in any::<prop::sample::Index>()) {
            let _read = (decode_record(&bytes), decode_counters(&bytes));
            let _read = decode_record(&[&[VERSION, state], &bytes[..]].concat());
            let mut written = encode_record(&record);
            let flipped = at.index(written.len());
            written[flipped] ^= 0xff;
            let read = decode_record(&written);
            prop_assert!(read != Ok(record));
        }
    }

    #[test]
    fn the_bytes_of_version_1_stay_what_they_are() {
        let id = CorrelationId::parse(&HeaderValue::from_static("r")).unwrap();
        let record = Record::from_parts(Parts {
            fingerprint: Fingerprint::from_bytes([0xfe; 32]),
            original: id.clone(),
            token: 7,
            state: State::Ended(Outcome::Done(Arc::new(KeptResponse {
                status: StatusCode::CREATED,
                headers: vec![(HeaderName::from_static("a"), HeaderValue::from_static("b"))],
                body: Bytes::from_static(b"!"),
                original: id,
            }))),
            expires: Timestamp::from_unix_millis(258),
        });
        let want = [
            "0102",
            "0000000000000102",
            "00000000000000000000000000000007",
            &"fe".repeat(32),
            "000000000000000172",
            "00c9",
            "000000000000000172",
            "0000000000000001",
            "000000000000000161",
            "000000000000000162",
            "21",
        ];
        assert_eq!(hex::encode(encode_record(&record)), want.concat());
    }

    #[test]
    fn what_goes_on_too_long_or_is_of_another_version_is_malformed() {
        let record = Record::from_parts(Parts {
            fingerprint: Fingerprint::from_bytes([0; 32]),
            original: CorrelationId::mint(Timestamp::EPOCH, 1),
            token: 1,
            state: State::Ended(Outcome::Unknown),
            expires: Timestamp::EPOCH,
        });
        let mut written = encode_record(&record);
        written.push(0);
        assert_eq!(decode_record(&written), Err(Malformed), "longer");
        written.pop();
        written[0] = VERSION + 1;
        assert_eq!(decode_record(&written), Err(Malformed), "newer");
    }

    fn record() -> impl Strategy<Value = Record> {
        let numbers = (any::<[u8; 32]>(), any::<u128>(), any::<u64>());
        (numbers, id(), state()).prop_map(|((fingerprint, token, expires), original, state)| {
            Record::from_parts(Parts {
                fingerprint: Fingerprint::from_bytes(fingerprint),
                original,
                token,
                state,
                expires: Timestamp::from_unix_millis(expires),
            })
        })
    }

    fn state() -> impl Strategy<Value = State> {
        let claimed = any::<u64>().prop_map(|millis| State::Claimed {
            lease_ends: Timestamp::from_unix_millis(millis),
        });
        let done = response().prop_map(|response| State::Ended(Outcome::Done(Arc::new(response))));
        prop_oneof![
            claimed,
            done,
            Just(State::Ended(Outcome::NotStored)),
            Just(State::Ended(Outcome::Unknown)),
        ]
    }

    fn response() -> impl Strategy<Value = KeptResponse> {
        let header = ("[a-z][a-z0-9-]{0,20}", vec(b' '..=b'~', 0..40)).prop_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(&value).unwrap())
        });
        let body = vec(any::<u8>(), 0..200);
        (100..1000u16, vec(header, 0..5), body, id()).prop_map(
            |(status, headers, body, original)| KeptResponse {
                status: StatusCode::from_u16(status).unwrap(),
                headers,
                body: body.into(),
                original,
            },
        )
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

    fn id() -> impl Strategy<Value = CorrelationId> {
        "[A-Za-z0-9._:-]{1,128}"
            .prop_map(|id| CorrelationId::parse(&HeaderValue::from_str(&id).unwrap()).unwrap())
    }
}
