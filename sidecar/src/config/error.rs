//! A fault of the configuration: a sentence that names file, line, key, value and what is allowed.

use std::path::{Path, PathBuf};

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {text}", file.display())]
pub struct ConfigError {
    file: PathBuf,
    line: usize,
    text: String,
}

// === impl ConfigError ===

impl ConfigError {
    pub(crate) fn new(file: &Path, line: usize, text: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            text: text.into(),
        }
    }
}
