//! One reading of a configuration: the texts that say something, and what is wrong with them.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::error::{ConfigError, Fault, Place};
use super::louder::Louder;
use super::section::Section;

/// A reading: from which folder files are named, and what was found to be wrong so far.
pub(super) struct Reading<'a> {
    pub(super) folder: &'a Path,
    faults: RefCell<Vec<Fault>>,
    /// Files whose contents went into it.
    files: RefCell<Vec<PathBuf>>,
}

/// A text in which values stand, from which a span becomes a line.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    text: &'a str,
    origin: Origin<'a>,
}

#[derive(Clone, Copy)]
enum Origin<'a> {
    File(&'a Path),
    Named(&'a str),
}

/// What one text says in a table; the first of several that names a key is heard.
pub(super) struct Layer<'a> {
    pub(super) text: Text<'a>,
    pub(super) table: DeTable<'a>,
}

// === impl Reading ===

impl<'a> Reading<'a> {
    pub(super) fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            faults: RefCell::default(),
            files: RefCell::default(),
        }
    }

    /// What is in a file that a key names.
    pub(super) fn open(&self, file: PathBuf) -> io::Result<Vec<u8>> {
        let content = std::fs::read(&file);
        self.files.borrow_mut().push(file);
        content
    }

    /// The files that were named and read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.borrow().clone()
    }

    /// The keys at the top of a file, where it is TOML, under those that are louder.
    pub(super) fn top(
        &'a self,
        file: &'a Path,
        text: &'a str,
        louder: &'a Louder,
    ) -> Option<Section<'a>> {
        let text = Text {
            text,
            origin: Origin::File(file),
        };
        let (table, causes) = DeTable::parse_recoverable(text.text);
        for cause in &causes {
            let start = cause.span().map_or(0, |span| span.start);
            self.note(Fault::at(&text.place(start), cause.message()));
        }
        // What else is wrong would be said of what was not meant.
        causes.is_empty().then(|| {
            let table = table.into_inner();
            let layers = louder.layers().chain([Layer { text, table }]);
            Section::top(self, Place::file(file), layers.collect())
        })
    }

    /// Notes what is wrong.
    pub(super) fn note(&self, fault: Fault) {
        self.faults.borrow_mut().push(fault);
    }

    /// What was read, where nothing is wrong with it.
    ///
    /// # Errors
    ///
    /// All that was noted.
    pub(super) fn outcome<T>(self, read: Option<T>) -> Result<T, ConfigError> {
        match (ConfigError::of(self.faults.into_inner()), read) {
            (Some(error), _) => Err(error),
            (None, read) => Ok(read.expect("a fault says why there is nothing")),
        }
    }
}

// === impl Text ===

impl<'a> Text<'a> {
    /// The value of what has a name and no lines.
    pub(super) fn named(name: &'a str, text: &'a str) -> Self {
        Self {
            text,
            origin: Origin::Named(name),
        }
    }

    /// Where this offset is.
    pub(super) fn place(&self, offset: usize) -> Place {
        match self.origin {
            Origin::Named(name) => Place::Named(name.to_owned()),
            Origin::File(file) => {
                let before = &self.text.as_bytes()[..offset.min(self.text.len())];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                Place::Line(file.to_owned(), line)
            }
        }
    }

    /// What stands there.
    pub(super) fn at(&self, span: Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }

    /// Whether a string may stand without quotation marks.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.origin, Origin::Named(_))
    }
}
