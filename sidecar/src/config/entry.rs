//! The value of one key: what it can be read as, and what is said where it is something else.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{Fault, Place};
use super::reading::{Reading, Text};
use super::unit;

/// The value of one key, and where it stands.
pub(super) struct Entry<'a> {
    text: Text<'a>,
    reading: &'a Reading<'a>,
    title: &'static str,
    key: &'static str,
    value: Spanned<DeValue<'a>>,
}

// === impl Entry ===

impl<'a> Entry<'a> {
    pub(super) fn new(
        text: Text<'a>,
        reading: &'a Reading<'a>,
        title: &'static str,
        key: &'static str,
        value: Spanned<DeValue<'a>>,
    ) -> Self {
        Self {
            text,
            reading,
            title,
            key,
            value,
        }
    }

    /// A string that `parse` accepts; its error says what is expected.
    pub(super) fn word<T, E: Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Fault> {
        match self.string() {
            Some(text) => parse(text).map_err(|wanted| self.refused(wanted)),
            None => Err(self.refused("a string")),
        }
    }

    /// A string that is not shown in a fault, because it is a secret.
    pub(super) fn secret(&self) -> Result<&str, Fault> {
        self.string()
            .ok_or_else(|| self.withheld("it must be a string"))
    }

    /// One string or a list of them, each of which `accepts` takes.
    pub(super) fn strings(
        &self,
        accepts: impl Fn(&str) -> bool,
        wanted: &str,
    ) -> Result<Vec<String>, Fault> {
        let texts: Option<Vec<&str>> = match self.value.get_ref() {
            DeValue::Array(list) => list.iter().map(|one| one.get_ref().as_str()).collect(),
            _ => self.string().map(|text| vec![text]),
        };
        match texts {
            Some(texts) if !texts.is_empty() && texts.iter().all(|text| accepts(text)) => {
                Ok(texts.into_iter().map(ToOwned::to_owned).collect())
            }
            _ => Err(self.refused(wanted)),
        }
    }

    /// The path of a file, named from the folder of the configuration.
    pub(super) fn path(&self, wanted: &str) -> Result<PathBuf, Fault> {
        match self.string() {
            None | Some("") => Err(self.refused(wanted)),
            Some(path) => Ok(self.folder().join(path)),
        }
    }

    /// What is in the file whose path this is.
    pub(super) fn read(&self) -> Result<Vec<u8>, Fault> {
        let path = self.path("the path of a file")?;
        let content = self.reading.open(path);
        content.map_err(|cause| self.refused(format!("a file that can be read ({cause})")))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool, Fault> {
        let flag = self.value.get_ref().as_bool();
        flag.ok_or_else(|| self.refused("true or false"))
    }

    /// A whole number within bounds.
    pub(super) fn whole<T>(&self, bounds: RangeInclusive<T>) -> Result<T, Fault>
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

    /// A share, from 0 to 1.
    pub(super) fn share(&self) -> Result<f64, Fault> {
        let parsed: Option<f64> = match self.value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let share = parsed.filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| self.refused("a share from 0 to 1, like 0.01"))
    }

    /// A duration like `"250ms"`, `"15s"`, `"5m"`.
    pub(super) fn duration(&self, bounds: RangeInclusive<Duration>) -> Result<Duration, Fault> {
        let parsed = self.value.get_ref().as_str().and_then(unit::duration);
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
    pub(super) fn size(&self, bounds: RangeInclusive<u64>) -> Result<u64, Fault> {
        let parsed = match self.value.get_ref() {
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::String(text) => unit::size(text),
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

    /// The same, for what is held in memory.
    pub(super) fn bytes(&self, bounds: RangeInclusive<usize>) -> Result<usize, Fault> {
        let bounds = *bounds.start() as u64..=*bounds.end() as u64;
        let size = self.size(bounds)?;
        Ok(usize::try_from(size).expect("it is between two of them"))
    }

    /// Where the value stands.
    pub(super) fn place(&self) -> Place {
        self.text.place(self.value.span().start)
    }

    /// The folder from which files are named.
    pub(super) fn folder(&self) -> &'a Path {
        self.reading.folder
    }

    /// The fault of a value that is a secret: the text says what is wrong, not what it is.
    pub(super) fn withheld(&self, fault: &str) -> Fault {
        let text = format!("{}{}: {fault}", self.title(), self.key);
        Fault::at(&self.place(), text)
    }

    /// The fault of this value.
    pub(super) fn refused(&self, wanted: impl Display) -> Fault {
        let found = self.text.at(self.value.span());
        let text = format!("{}{} = {found}: expected {wanted}", self.title(), self.key);
        Fault::at(&self.place(), text)
    }

    fn string(&self) -> Option<&str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text),
            DeValue::Table(_) => None,
            // What reads like a number, say, in the environment.
            _ if self.text.is_bare() => Some(self.text.at(self.value.span())),
            _ => None,
        }
    }

    fn title(&self) -> String {
        match self.title {
            "" => String::new(),
            title => format!("{title} "),
        }
    }
}
