//! `[keys]`: whose API keys are taken.

use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::value::Section;

/// Where key records come from, and how keys look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// `source`: a JSON file of key records, watched for changes. Without one no key is
    /// good, and only public routes answer.
    pub source: Option<PathBuf>,
    /// `source = "store"`: key records lie in the store that counts too.
    pub in_store: bool,
    /// `brand`: the first part of a key, `mk` in `mk_live_…`; that of the library by default.
    pub brand: Option<String>,
}

// === impl Keys ===

impl Keys {
    pub(super) fn parse(mut section: Section<'_>, folder: &Path) -> Result<Self, ConfigError> {
        let source = match section.take("source") {
            Some(entry) => Some(entry.text(|text| match text {
                "" => Err("\"store\", or the path of a file of key records"),
                path => Ok(PathBuf::from(path)),
            })?),
            None => None,
        };
        let in_store = source.as_deref() == Some(Path::new("store"));
        let source = source.filter(|_| !in_store).map(|path| folder.join(path));
        let brand = match section.take("brand") {
            Some(entry) => Some(entry.text(brand)?),
            None => None,
        };
        section.finish()?;
        Ok(Self {
            source,
            in_store,
            brand,
        })
    }
}

fn brand(text: &str) -> Result<String, &'static str> {
    let fits = (1..=16).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    fits.then(|| text.to_owned())
        .ok_or("1 to 16 lower-case letters and digits")
}
