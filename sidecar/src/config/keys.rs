//! `[keys]`: whose API keys are taken.

use std::path::{Path, PathBuf};

use vestibule::api_key::{KeyFormat, Pepper, Peppers};

use super::error::ConfigError;
use super::value::{Entry, Section};

/// Where key records come from, and how keys look.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// `source`: where the key records are.
    pub source: KeySource,
    /// `brand`: the first part of a key, `mk` in `mk_live_…`; any by default.
    pub brand: Option<String>,
    /// `opaque`: whether keys of another make are taken too, 16 to 256 visible characters.
    pub opaque: bool,
    /// `separate_codes`: whether revoked and expired keys are refused under codes of their own.
    pub separate_codes: bool,
    /// `[[keys.pepper]]`, newest first: an `id`, and the secret's `file` or `env`.
    pub peppers: Peppers,
}

/// Where the key records are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeySource {
    /// Nowhere: no key is good, and only public routes answer.
    #[default]
    None,
    /// In a JSON file, which is watched for changes.
    File(PathBuf),
    /// `"store"`: in the configured store, where commands change them.
    Store,
}

// === impl Keys ===

impl Keys {
    pub(super) fn parse(mut section: Section<'_>, folder: &Path) -> Result<Self, ConfigError> {
        let source = match section.take("source") {
            Some(entry) => entry.text(|text| KeySource::parse(text, folder))?,
            None => KeySource::None,
        };
        let brand = match section.take("brand") {
            Some(entry) => Some(entry.text(brand)?),
            None => None,
        };
        let mut flag = |key| section.take(key).map_or(Ok(false), Entry::flag);
        let (opaque, separate_codes) = (flag("opaque")?, flag("separate_codes")?);
        let peppers = section.sections("pepper", "[[keys.pepper]]")?;
        let peppers = peppers.into_iter().map(|pepper| read(pepper, folder));
        let peppers = peppers.collect::<Result<Vec<_>, _>>()?;
        section.finish()?;
        Ok(Self {
            source,
            brand,
            opaque,
            separate_codes,
            peppers: Peppers::new(peppers),
        })
    }

    /// The keys that are taken.
    pub fn format(&self) -> KeyFormat {
        let mut format = KeyFormat::new();
        if let Some(brand) = &self.brand {
            format = format.brand(brand.as_str());
        }
        if self.opaque { format.opaque() } else { format }
    }
}

// === impl KeySource ===

impl KeySource {
    fn parse(text: &str, folder: &Path) -> Result<Self, &'static str> {
        match text {
            "" => Err("the path of a file of key records, or \"store\""),
            "store" => Ok(Self::Store),
            path => Ok(Self::File(folder.join(path))),
        }
    }
}

/// A pepper, whose secret stands in a file or in the environment, never here.
fn read(mut section: Section<'_>, folder: &Path) -> Result<Pepper, ConfigError> {
    let id = section.require("id", "the name that stands beside its digests")?;
    let (file, env) = (section.take("file"), section.take("env"));
    let (entry, secret) = match (file, env) {
        (Some(file), None) => {
            let path = file.path().map(|path| folder.join(path));
            let path = path.ok_or_else(|| file.refused("the path of a file"))?;
            let secret = std::fs::read(path)
                .map_err(|cause| file.refused(format!("a file that can be read ({cause})")))?;
            (file, secret)
        }
        (None, Some(env)) => {
            let name = env.path().unwrap_or_default();
            let secret = std::env::var(name);
            let secret = secret.map_err(|_| env.refused("a variable of the environment"))?;
            (env, secret.into_bytes())
        }
        (Some(entry), Some(_)) => {
            return Err(entry.withheld("give 'file' or 'env', not both"));
        }
        (None, None) => return Err(id.withheld("its secret is missing; give 'file' or 'env'")),
    };
    let id = id.text(|id| match id {
        id if (1..=ID_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(id.to_owned())
        }
        _ => Err("1 to 64 visible ASCII characters"),
    })?;
    section.finish()?;
    let pepper = Pepper::new(id, secret.trim_ascii_end());
    pepper.map_err(|weak| entry.withheld(&weak.to_string()))
}

fn brand(text: &str) -> Result<String, &'static str> {
    KeyFormat::is_word(text)
        .then(|| text.to_owned())
        .ok_or("1 to 16 lower-case letters and digits")
}

/// That of the schema of key records.
const ID_MAX: usize = 64;
