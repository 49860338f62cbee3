//! Reads one table of the configuration key by key. What is wrong is noted and reading goes on,
//! so that every fault is found at once.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeValue;

use super::entry::Entry;
use super::error::{Fault, Place};
use super::reading::{Layer, Reading, Text};

/// One table. Each key is taken once; what is left over is unknown.
pub(super) struct Section<'a> {
    reading: &'a Reading<'a>,
    /// `[limits]`, `[[route]]`, or nothing for the keys at the top.
    title: &'static str,
    place: Place,
    layers: Vec<Layer<'a>>,
    known: Vec<&'static str>,
}

/// What one text says of a key.
struct Said<'a> {
    text: Text<'a>,
    value: Spanned<DeValue<'a>>,
}

// === impl Section ===

impl<'a> Section<'a> {
    /// The keys at the top, as these texts say them, the loudest first.
    pub(super) fn top(reading: &'a Reading<'a>, place: Place, layers: Vec<Layer<'a>>) -> Self {
        Self {
            reading,
            title: "",
            place,
            layers,
            known: Vec::new(),
        }
    }

    /// A key that may be absent.
    pub(super) fn maybe<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Entry<'a>) -> Result<T, Fault>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        match read(&entry) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.reading.note(fault);
                None
            }
        }
    }

    /// A key that has a default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Entry<'a>) -> Result<T, Fault>,
    ) -> T {
        self.maybe(key, read).unwrap_or(default)
    }

    /// A key that must be there; without it, or where it is faulty, there is nothing.
    pub(super) fn must<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        read: impl FnOnce(&Entry<'a>) -> Result<T, Fault>,
    ) -> Option<T> {
        if !self.has(key) {
            self.known.push(key);
            self.lacks(key, wanted);
            return None;
        }
        self.maybe(key, read)
    }

    /// A key whose value is the path of a file, named from the folder of the configuration.
    pub(super) fn file(&mut self, key: &'static str) -> Option<PathBuf> {
        self.maybe(key, |entry| entry.path("the path of a file"))
    }

    /// Whether there is such a key, good or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.layers
            .iter()
            .any(|layer| layer.table.contains_key(key))
    }

    /// Whether nothing is said of a key, or an empty list.
    pub(super) fn is_void(&self, key: &str) -> bool {
        let mut said = self.layers.iter().filter_map(|layer| layer.table.get(key));
        said.next().is_none_or(|value| {
            let list = value.get_ref().as_array();
            list.is_some_and(|list| list.is_empty())
        })
    }

    /// Whether nothing is said in it.
    pub(super) fn is_empty(&self) -> bool {
        self.layers.iter().all(|layer| layer.table.is_empty())
    }

    /// A table of its own, `[title]`; an absent one is empty.
    pub(super) fn within<T: Default>(
        &mut self,
        key: &'static str,
        title: &'static str,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let said = self.take(key);
        let place = said.first().map(Said::place);
        let mut section = self.inner(title, place.unwrap_or_else(|| self.place.clone()));
        for Said { text, value } in said {
            let place = text.place(value.span().start);
            match value.into_inner() {
                DeValue::Table(table) => section.layers.push(Layer { text, table }),
                other => {
                    let found = kind(&other);
                    let fault = format!("'{key}' is {found}; expected the section {title}");
                    self.reading.note(Fault::at(&place, fault));
                    return T::default();
                }
            }
        }
        let read = read(&mut section);
        section.end();
        read
    }

    /// The tables of `[[title]]` that can be read, in the order of the file.
    pub(super) fn each<T>(
        &mut self,
        key: &'static str,
        title: &'static str,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Vec<T> {
        let Some(Said { text, value }) = self.take(key).into_iter().next() else {
            return Vec::new();
        };
        let fault = |offset, found: &str| {
            let fault = format!("'{key}' is {found}; expected sections {title}");
            self.reading.note(Fault::at(&text.place(offset), fault));
        };
        let start = value.span().start;
        let DeValue::Array(tables) = value.into_inner() else {
            fault(start, "no list");
            return Vec::new();
        };
        let mut all = Vec::new();
        for value in tables {
            let start = value.span().start;
            match value.into_inner() {
                DeValue::Table(table) => {
                    let mut section = self.inner(title, text.place(start));
                    section.layers.push(Layer { text, table });
                    all.extend(read(&mut section));
                    section.end();
                }
                other => fault(start, kind(&other)),
            }
        }
        all
    }

    /// Notes that a key must be there and is not.
    pub(super) fn lacks(&self, key: &str, wanted: &str) {
        let place = match self.title {
            "" => String::new(),
            title => format!("{title}: "),
        };
        let text = format!("{place}'{key}' is missing; expected {wanted}");
        self.note(text);
    }

    /// Notes a fault of the section as a whole.
    pub(super) fn fault(&self, fault: &str) {
        let text = match self.title {
            "" => fault.to_owned(),
            title => format!("{title}: {fault}"),
        };
        self.note(text);
    }

    /// Notes a fault in its own words.
    pub(super) fn note(&self, text: impl Into<String>) {
        self.reading.note(Fault::at(&self.place, text));
    }

    /// Where the section begins.
    pub(super) fn place(&self) -> Place {
        self.place.clone()
    }

    /// The folder from which files are named.
    pub(super) fn folder(&self) -> &'a Path {
        self.reading.folder
    }

    /// Notes what nobody took, so that a misspelt key is never silently without effect.
    pub(super) fn end(&self) {
        let place = match self.title {
            "" => "at the top".to_owned(),
            title => format!("in {title}"),
        };
        for layer in &self.layers {
            for (key, _) in layer.table.iter() {
                let found: &str = key.get_ref();
                let meant = self.nearest(found);
                let meant = meant.map_or_else(String::new, |known| format!(" (is it '{known}'?)"));
                let known = self.known.join(", ");
                let text =
                    format!("unknown key '{found}' {place}{meant}; expected one of: {known}");
                let at = layer.text.place(key.span().start);
                self.reading.note(Fault::at(&at, text));
            }
        }
    }

    /// The known key that was probably meant.
    fn nearest(&self, found: &str) -> Option<&'static str> {
        let distance = |known: &&'static str| (strsim::osa_distance(known, found), *known);
        let (distance, known) = self.known.iter().map(distance).min()?;
        (distance <= SLIP.min(found.len() / 3)).then_some(known)
    }

    fn inner(&self, title: &'static str, place: Place) -> Self {
        Self {
            reading: self.reading,
            title,
            place,
            layers: Vec::new(),
            known: Vec::new(),
        }
    }

    fn entry(&mut self, key: &'static str) -> Option<Entry<'a>> {
        let Said { text, value } = self.take(key).into_iter().next()?;
        Some(Entry::new(text, self.reading, self.title, key, value))
    }

    /// What is said of a key, the loudest first.
    fn take(&mut self, key: &'static str) -> Vec<Said<'a>> {
        self.known.push(key);
        let said = self.layers.iter_mut().filter_map(|layer| {
            let (_, value) = layer.table.remove_entry(key)?;
            Some(Said {
                text: layer.text,
                value,
            })
        });
        said.collect()
    }
}

// === impl Said ===

impl Said<'_> {
    fn place(&self) -> Place {
        self.text.place(self.value.span().start)
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Float(_) | DeValue::Integer(_) => "a number",
        DeValue::String(_) => "a string",
        DeValue::Table(_) => "a section",
    }
}

/// Two letters more, less, other or in another order are a slip of the pen.
const SLIP: usize = 2;
