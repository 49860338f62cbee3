//! Why a configuration is refused: each fault a sentence that names where it stands, the key,
//! the value that was found and what is allowed.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a configuration is refused: all that is wrong with it, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    faults: Vec<Fault>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    place: Place,
    text: String,
}

/// Where something of the configuration stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a file, the first of which is 1.
    Line(PathBuf, usize),
    /// A variable of the environment, or a flag.
    Named(String),
}

// === impl ConfigError ===

impl ConfigError {
    /// A refusal for these reasons; none where there are none.
    pub(super) fn of(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by(|one, other| one.place.cmp(&other.place));
        faults.dedup();
        (!faults.is_empty()).then_some(Self { faults })
    }

    /// A refusal for one reason.
    pub(crate) fn at(place: &Place, text: impl Into<String>) -> Self {
        Self {
            faults: vec![Fault::at(place, text)],
        }
    }

    /// All that is wrong.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            let separator = if n == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

// === impl Fault ===

impl Fault {
    pub(crate) fn at(place: &Place, text: impl Into<String>) -> Self {
        Self {
            place: place.clone(),
            text: text.into(),
        }
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is wrong there.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

// === impl Place ===

impl Place {
    /// The first line of a file, for what concerns the whole of it.
    pub(crate) fn file(file: &Path) -> Self {
        Self::Line(file.to_owned(), 1)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(file, line) => write!(f, "{}:{line}", file.display()),
            Self::Named(name) => f.write_str(name),
        }
    }
}
