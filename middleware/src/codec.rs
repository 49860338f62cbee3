//! Bytes of a version, read with suspicion: how what is kept is written down.
//!
//! Numbers are big-endian; a length is a `u64` before what it counts. What another
//! version wrote, what ends too early and what goes on too long is [`Malformed`], never a
//! panic and never a guess.

use http::HeaderValue;

use crate::clock::Timestamp;
use crate::context::CorrelationId;

/// A value that this version of the code did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value in the store is malformed")]
pub(crate) struct Malformed;

/// What is left to be read.
pub(crate) struct Reader<'a>(&'a [u8]);

/// What was written so far.
pub(crate) struct Writer(Vec<u8>);

// === impl Reader ===

impl<'a> Reader<'a> {
    /// A value of this version.
    pub(crate) fn new(bytes: &'a [u8], version: u8) -> Result<Self, Malformed> {
        let mut reader = Self(bytes);
        match reader.byte()? {
            found if found == version => Ok(reader),
            _ => Err(Malformed),
        }
    }

    #[cfg(feature = "embedded")]
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn id(&mut self) -> Result<CorrelationId, Malformed> {
        let value = HeaderValue::from_bytes(self.text()?).map_err(|_| Malformed)?;
        CorrelationId::parse(&value).ok_or(Malformed)
    }

    pub(crate) fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    pub(crate) fn timestamp(&mut self) -> Result<Timestamp, Malformed> {
        self.number().map(Timestamp::from_unix_millis)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) const fn end(&self) -> Result<(), Malformed> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Malformed),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

// === impl Writer ===

impl Writer {
    /// A value of this version, which will have about so many bytes.
    pub(crate) fn new(version: u8, length: usize) -> Self {
        let mut bytes = Vec::with_capacity(length);
        bytes.push(version);
        Self(bytes)
    }

    pub(crate) fn text(&mut self, text: &[u8]) {
        self.length(text.len());
        self.put(text);
    }

    pub(crate) fn length(&mut self, length: usize) {
        self.put(&(length as u64).to_be_bytes());
    }

    pub(crate) fn timestamp(&mut self, at: Timestamp) {
        self.put(&at.as_unix_millis().to_be_bytes());
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
