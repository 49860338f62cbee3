//! Reads one section of the configuration key by key, so that a fault names its place.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;

/// The file that is read: its name and text, from which a span becomes a line.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

/// One table of the file. Each key is taken once; what is left over is unknown.
pub(super) struct Section<'a> {
    source: Source<'a>,
    /// `[limits]`, `[[route]]`, or nothing for the keys at the top.
    title: &'static str,
    line: usize,
    table: DeTable<'a>,
    known: Vec<&'static str>,
}

/// The value of one key, and where it stands.
pub(super) struct Entry<'a> {
    source: Source<'a>,
    title: &'static str,
    key: &'static str,
    value: Spanned<DeValue<'a>>,
}

// === impl Source ===

impl<'a> Source<'a> {
    /// The keys at the top of the file.
    pub(super) fn parse(self) -> Result<Section<'a>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|cause| {
            let line = cause.span().map_or(1, |span| self.line(span.start));
            ConfigError::new(self.file, line, cause.message())
        })?;
        Ok(Section::new(self, "", 1, table.into_inner()))
    }

    fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

// === impl Section ===

impl<'a> Section<'a> {
    fn new(source: Source<'a>, title: &'static str, line: usize, table: DeTable<'a>) -> Self {
        Self {
            source,
            title,
            line,
            table,
            known: Vec::new(),
        }
    }

    /// Takes a key that may be absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.known.push(key);
        let (_, value) = self.table.remove_entry(key)?;
        Some(Entry {
            source: self.source,
            title: self.title,
            key,
            value,
        })
    }

    /// Takes a key that must be there.
    pub(super) fn require(
        &mut self,
        key: &'static str,
        wanted: &str,
    ) -> Result<Entry<'a>, ConfigError> {
        self.take(key).ok_or_else(|| self.lacks(key, wanted))
    }

    /// The fault of a key that must be there and is not.
    pub(super) fn lacks(&self, key: &str, wanted: &str) -> ConfigError {
        let place = if self.title.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.title)
        };
        let text = format!("{place}'{key}' is missing; expected {wanted}");
        ConfigError::new(self.source.file, self.line, text)
    }

    /// Takes the path of a file, named from the folder of the configuration.
    pub(super) fn file(
        &mut self,
        key: &'static str,
        folder: &Path,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let Some(entry) = self.take(key) else {
            return Ok(None);
        };
        let file = entry.path().map(|path| folder.join(path));
        file.map(Some)
            .ok_or_else(|| entry.refused("the path of a file"))
    }

    /// Takes a table of its own, `[title]`; an absent one is empty.
    pub(super) fn section(
        &mut self,
        key: &'static str,
        title: &'static str,
    ) -> Result<Self, ConfigError> {
        let Some(entry) = self.take(key) else {
            return Ok(Self::new(self.source, title, self.line, DeTable::new()));
        };
        let line = entry.line();
        match entry.value.into_inner() {
            DeValue::Table(table) => Ok(Self::new(self.source, title, line, table)),
            other => Err(ConfigError::new(
                self.source.file,
                line,
                format!("'{key}' is {}; expected the section {title}", kind(&other)),
            )),
        }
    }

    /// Takes the tables of `[[title]]`, in the order of the file.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
        title: &'static str,
    ) -> Result<Vec<Self>, ConfigError> {
        let Some(entry) = self.take(key) else {
            return Ok(Vec::new());
        };
        let (source, line) = (self.source, entry.line());
        let fault = move |line, found: &str| {
            ConfigError::new(
                source.file,
                line,
                format!("'{key}' is {found}; expected sections {title}"),
            )
        };
        let DeValue::Array(tables) = entry.value.into_inner() else {
            return Err(fault(line, "no list"));
        };
        let sections = tables.into_iter().map(|table| {
            let line = source.line(table.span().start);
            match table.into_inner() {
                DeValue::Table(table) => Ok(Self::new(source, title, line, table)),
                other => Err(fault(line, kind(&other))),
            }
        });
        sections.collect()
    }

    /// The fault of the section as a whole.
    pub(super) fn fault(&self, fault: &str) -> ConfigError {
        let text = format!("{}: {fault}", self.title);
        ConfigError::new(self.source.file, self.line, text)
    }

    /// The line on which the section begins.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Refuses what nobody took, so that a misspelt key is never silently without effect.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let Some((key, _)) = self.table.iter().next() else {
            return Ok(());
        };
        let line = self.source.line(key.span().start);
        let place = if self.title.is_empty() {
            "at the top".to_owned()
        } else {
            format!("in {}", self.title)
        };
        let text = format!(
            "unknown key '{}' {place}; expected one of: {}",
            key.get_ref(),
            self.known.join(", ")
        );
        Err(ConfigError::new(self.source.file, line, text))
    }
}

// === impl Entry ===

impl<'a> Entry<'a> {
    /// A string that `parse` accepts; its error says what is expected.
    pub(super) fn text<T, E: Display>(
        self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        match self.value.get_ref() {
            DeValue::String(text) => parse(text).map_err(|wanted| self.refused(wanted)),
            _ => Err(self.refused("a string")),
        }
    }

    /// A string that is not shown in an error, because it is a secret.
    pub(super) fn secret(self) -> Result<String, ConfigError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text.clone().into_owned()),
            _ => Err(self.withheld("it must be a string")),
        }
    }

    /// One string or a list of them, each of which `accepts` takes.
    pub(super) fn strings(
        self,
        accepts: impl Fn(&str) -> bool,
        wanted: &str,
    ) -> Result<Vec<String>, ConfigError> {
        let texts: Option<Vec<&str>> = match self.value.get_ref() {
            DeValue::String(text) => Some(vec![text]),
            DeValue::Array(list) => list.iter().map(|one| one.get_ref().as_str()).collect(),
            _ => None,
        };
        match texts {
            Some(texts) if !texts.is_empty() && texts.iter().all(|text| accepts(text)) => {
                Ok(texts.into_iter().map(ToOwned::to_owned).collect())
            }
            _ => Err(self.refused(wanted)),
        }
    }

    /// The text of a path, where it is one.
    pub(super) fn path(&self) -> Option<&str> {
        self.value
            .get_ref()
            .as_str()
            .filter(|text| !text.is_empty())
    }

    /// Any string.
    pub(super) fn string(self) -> Result<String, ConfigError> {
        self.text(|text| Ok::<_, &str>(text.to_owned()))
    }

    /// `true` or `false`.
    pub(super) fn flag(self) -> Result<bool, ConfigError> {
        self.value
            .get_ref()
            .as_bool()
            .ok_or_else(|| self.refused("true or false"))
    }

    /// A whole number within bounds.
    pub(super) fn whole<T>(self, bounds: RangeInclusive<T>) -> Result<T, ConfigError>
    where
        T: FromStr + Display + PartialOrd,
    {
        let parsed = self.value.get_ref().as_integer().and_then(|number| {
            let text = number.as_str();
            (number.radix() == 10).then(|| text.parse().ok()).flatten()
        });
        parsed
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| {
                self.refused(format!(
                    "a whole number from {} to {}",
                    bounds.start(),
                    bounds.end()
                ))
            })
    }

    /// A duration like `"250ms"`, `"15s"`, `"5m"`.
    pub(super) fn duration(
        self,
        bounds: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let parsed = self.value.get_ref().as_str().and_then(duration);
        parsed
            .filter(|duration| bounds.contains(duration))
            .ok_or_else(|| {
                self.refused(format!(
                    "a duration like \"250ms\", \"15s\" or \"5m\", from {:?} to {:?}",
                    bounds.start(),
                    bounds.end()
                ))
            })
    }

    /// A number of bytes like `"512KB"` or `"4MB"` (of 1024), or a plain number.
    pub(super) fn size(self, bounds: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let parsed = match self.value.get_ref() {
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::String(text) => size(text),
            _ => None,
        };
        parsed.filter(|size| bounds.contains(size)).ok_or_else(|| {
            self.refused(format!(
                "a size like \"512KB\" or \"4MB\", from {} to {} bytes",
                bounds.start(),
                bounds.end()
            ))
        })
    }

    /// The line of the value.
    pub(super) fn line(&self) -> usize {
        self.source.line(self.value.span().start)
    }

    /// The fault of a value that is a secret: the text says what is wrong, not what it is.
    pub(super) fn withheld(&self, fault: &str) -> ConfigError {
        let text = format!("{} {}: {fault}", self.title, self.key);
        ConfigError::new(self.source.file, self.line(), text)
    }

    /// The fault of this value.
    pub(super) fn refused(&self, wanted: impl Display) -> ConfigError {
        let span = self.value.span();
        let found: Cow<'_, str> = self.source.text.get(span).unwrap_or("").into();
        let place = if self.title.is_empty() {
            String::new()
        } else {
            format!("{} ", self.title)
        };
        let text = format!("{place}{} = {found}: expected {wanted}", self.key);
        ConfigError::new(self.source.file, self.line(), text)
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

/// `250ms`, `15s`, `5m`, `24h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(millis)?))
}

/// `300`, `300B`, `512KB`, `4MB`, `1GB`.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes = match unit {
        "" | "B" => 1,
        "KB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_carry_their_unit() {
        for (given, want) in [
            ("250ms", Some(250)),
            ("15s", Some(15_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("15", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("15 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(duration(given), want.map(Duration::from_millis), "{given}");
        }
        for (given, want) in [
            ("0", Some(0)),
            ("300B", Some(300)),
            ("512KB", Some(512 << 10)),
            ("4MB", Some(4 << 20)),
            ("1GB", Some(1 << 30)),
            ("4mb", None),
            ("4M", None),
            ("", None),
            ("18446744073709551615GB", None),
        ] {
            assert_eq!(size(given), want, "{given}");
        }
    }
}
