//! Why a command on keys is refused: a sentence that names file, key, value and what is allowed.

use std::fmt::Display;
use std::io;

use vestibule::api_key::KeysError;

/// Why a command on keys is refused; nothing was changed then.
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

    /// The same, with the file, the key or the line that it is about in front.
    #[must_use]
    pub fn at(mut self, place: impl Display) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }

    pub(super) fn because(text: impl Into<String>, source: io::Error) -> Self {
        Self {
            text: text.into(),
            source: Some(source),
        }
    }
}

impl From<KeysError> for Fault {
    fn from(error: KeysError) -> Self {
        Self::new(error.to_string())
    }
}
