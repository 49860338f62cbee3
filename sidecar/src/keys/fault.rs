//! Why a command on keys is refused: a sentence that names file, key, value and what is allowed.

use std::error::Error;
use std::fmt::Display;
use std::io;

use vestibule::api_key::{KeyWriteError, KeysError};
use vestibule::error::StoreError;

/// Why a command on keys is refused. Nothing was changed then, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    text: String,
    source: Option<io::Error>,
}

// === impl Fault ===

impl Fault {
    /// A sentence.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            source: None,
        }
    }

    /// There is no such key.
    pub fn no_key(id: &str) -> Self {
        Self::new(format!("there is no key with the id {id:.80?}"))
    }

    /// The same, with the file, the key or the line that it is about in front.
    #[must_use]
    pub fn at(mut self, place: impl Display) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }

    /// An error and all that led to it, in one sentence.
    fn told(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        Self::new(text)
    }

    pub(super) fn because(text: impl Into<String>, source: io::Error) -> Self {
        Self {
            text: text.into(),
            source: Some(source),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::told(&error)
    }
}

impl From<KeyWriteError> for Fault {
    fn from(error: KeyWriteError) -> Self {
        Self::told(&error)
    }
}

impl From<KeysError> for Fault {
    fn from(error: KeysError) -> Self {
        Self::new(error.to_string())
    }
}
