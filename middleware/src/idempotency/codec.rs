//! How a record is written down.
//!
//! ```text
//! version 1 · state u8 · expires u64 ms · token u128 · fingerprint 32 bytes · length, original id ·
//!   claimed      (state 1)  lease ends u64 ms
//!   done         (state 2)  status u16 · length, id · number of headers · (length, name · length, value)… · body to the end
//!   not stored   (state 3)
//!   unknown      (state 4)
//! ```

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use super::record::{Outcome, Parts, Record, State};
use super::replay::KeptResponse;
use crate::codec::{Malformed, Reader, Writer};
use crate::context::Fingerprint;

impl Record {
    /// Writes the record down.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let parts = self.to_parts();
        let mut writer = Writer::new(VERSION, self.weight());
        writer.put(&[code(&parts.state)]);
        writer.timestamp(parts.expires);
        writer.put(&parts.token.to_be_bytes());
        writer.put(parts.fingerprint.as_bytes());
        writer.text(parts.original.as_str().as_bytes());
        match &parts.state {
            State::Claimed { lease_ends } => writer.timestamp(*lease_ends),
            State::Ended(Outcome::Done(response)) => write(&mut writer, response),
            State::Ended(Outcome::NotStored | Outcome::Unknown) => {}
        }
        writer.into_bytes()
    }

    /// Reads a record.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes, VERSION)?;
        let code = reader.byte()?;
        let expires = reader.timestamp()?;
        let token = u128::from_be_bytes(reader.array()?);
        let fingerprint = Fingerprint::from_bytes(reader.array()?);
        let original = reader.id()?;
        let state = state(&mut reader, code)?;
        reader.end()?;
        Ok(Self::from_parts(Parts {
            fingerprint,
            original,
            token,
            state,
            expires,
        }))
    }
}

fn state(reader: &mut Reader<'_>, code: u8) -> Result<State, Malformed> {
    match code {
        CLAIMED => reader
            .timestamp()
            .map(|lease_ends| State::Claimed { lease_ends }),
        DONE => {
            let response = response(reader)?;
            Ok(State::Ended(Outcome::Done(Arc::new(response))))
        }
        NOT_STORED => Ok(State::Ended(Outcome::NotStored)),
        UNKNOWN => Ok(State::Ended(Outcome::Unknown)),
        _ => Err(Malformed),
    }
}

fn response(reader: &mut Reader<'_>) -> Result<KeptResponse, Malformed> {
    let status = u16::from_be_bytes(reader.array()?);
    let status = StatusCode::from_u16(status).map_err(|_| Malformed)?;
    let original = reader.id()?;
    let mut headers = Vec::new();
    // Read one by one: a number that lies reserves nothing.
    for _ in 0..reader.number()? {
        let name = HeaderName::from_bytes(reader.text()?).map_err(|_| Malformed)?;
        let value = HeaderValue::from_bytes(reader.text()?).map_err(|_| Malformed)?;
        headers.push((name, value));
    }
    Ok(KeptResponse {
        status,
        headers,
        body: Bytes::copy_from_slice(reader.rest()),
        original,
    })
}

fn write(writer: &mut Writer, response: &KeptResponse) {
    writer.put(&response.status.as_u16().to_be_bytes());
    writer.text(response.original.as_str().as_bytes());
    writer.length(response.headers.len());
    for (name, value) in &response.headers {
        writer.text(name.as_str().as_bytes());
        writer.text(value.as_bytes());
    }
    writer.put(&response.body);
}

const fn code(state: &State) -> u8 {
    match state {
        State::Claimed { .. } => CLAIMED,
        State::Ended(Outcome::Done(_)) => DONE,
        State::Ended(Outcome::NotStored) => NOT_STORED,
        State::Ended(Outcome::Unknown) => UNKNOWN,
    }
}

/// A new layout gets a new number, and reads this one too.
const VERSION: u8 = 1;

const CLAIMED: u8 = 1;
const DONE: u8 = 2;
const NOT_STORED: u8 = 3;
const UNKNOWN: u8 = 4;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::context::CorrelationId;

    proptest! {
        #[test]
        fn a_record_is_read_as_it_was_written(record in record()) {
            let written = record.encode();
            prop_assert_eq!(Record::decode(&written), Ok(record));
        }

        #[test]
        fn what_is_cut_anywhere_before_the_body_is_malformed(record in record(), at in any::<prop::sample::Index>()) {
            let written = record.encode();
            let body = match &record.to_parts().state {
                State::Ended(Outcome::Done(response)) => response.body.len(),
                _ => 0,
            };
            let cut = &written[..at.index(written.len() - body)];
            prop_assert_eq!(Record::decode(cut), Err(Malformed));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..300), state in 0..6u8, record in record(), at in any::<prop::sample::Index>()) {
            let _read = Record::decode(&bytes);
            let _read = Record::decode(&[&[VERSION, state], &bytes[..]].concat());
            let mut written = record.encode();
            let flipped = at.index(written.len());
            written[flipped] ^= 0xff;
            let read = Record::decode(&written);
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
        assert_eq!(hex::encode(record.encode()), want.concat());
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
        let mut written = record.encode();
        written.push(0);
        assert_eq!(Record::decode(&written), Err(Malformed), "longer");
        written.pop();
        written[0] = VERSION + 1;
        assert_eq!(Record::decode(&written), Err(Malformed), "newer");
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

    fn id() -> impl Strategy<Value = CorrelationId> {
        "[A-Za-z0-9._:-]{1,128}"
            .prop_map(|id| CorrelationId::parse(&HeaderValue::from_str(&id).unwrap()).unwrap())
    }
}
