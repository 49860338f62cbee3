//! How a kept response lies in a store that several processes share, byte for byte.
//!
//! Numbers are big-endian:
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

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderName, HeaderValue, StatusCode};

use super::replay::KeptResponse;
use crate::context::CorrelationId;

// === impl KeptResponse ===

impl KeptResponse {
    /// Writes it down.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let original = self.original.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(self.weight() + 16 + 6 * self.headers.len());
        bytes.put_u8(VERSION);
        bytes.put_u16(self.status.as_u16());
        bytes.put_u8(u8::try_from(original.len()).expect("an id is at most 128 bytes long"));
        bytes.put_slice(original);
        bytes.put_u16(u16::try_from(self.headers.len()).expect("a header map has at most 32,768"));
        for (name, value) in &self.headers {
            let name = name.as_str().as_bytes();
            bytes.put_u16(u16::try_from(name.len()).expect("a header's name is under 64 KiB"));
            bytes.put_slice(name);
            bytes.put_u32(u32::try_from(value.len()).expect("a header's value is under 4 GiB"));
            bytes.put_slice(value.as_bytes());
        }
        bytes.put_slice(&self.body);
        bytes
    }

    /// Reads it; nothing where it is none.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
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
        Some(Self {
            status,
            headers,
            body: bytes,
            original: CorrelationId::parse(&original)?,
        })
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

/// A layout that changes gets another number: processes of two releases share a store
/// while one replaces the other.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_encoding_is_no_response() {
        let id = HeaderValue::from_static("req_1");
        let response = KeptResponse {
            status: StatusCode::OK,
            headers: vec![(http::header::LOCATION, HeaderValue::from_static("/1"))],
            body: Bytes::new(),
            original: CorrelationId::parse(&id).unwrap(),
        };
        let encoded = response.encode();
        let decoded = KeptResponse::decode(encoded.clone().into());
        assert_eq!(decoded.as_ref(), Some(&response));
        for length in 0..encoded.len() {
            let cut = Bytes::copy_from_slice(&encoded[..length]);
            assert_eq!(KeptResponse::decode(cut), None, "{length}");
        }
    }
}
