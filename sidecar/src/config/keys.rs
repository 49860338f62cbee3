//! `[keys]`: whose API keys are taken.

use std::path::{Path, PathBuf};

use vestibule::api_key::{KeyFormat, Pepper, Peppers};

use super::entry::Entry;
use super::error::Fault;
use super::schema::{Kind, Row};
use super::section::Section;

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
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "source",
            Kind::Text,
            "The path of a file of key records, which is watched, or store. Without it no key is good.",
        ),
        Row::may(
            "brand",
            Kind::Like("^[a-z0-9]{1,16}$", "mk"),
            "The first part of a key, mk in mk_live_…; any by default.",
        ),
        Row::may(
            "opaque",
            Kind::Flag,
            "Whether keys of another make are taken too, 16 to 256 visible characters; false by default.",
        ),
        Row::may(
            "separate_codes",
            Kind::Flag,
            "Whether revoked and expired keys are refused under codes of their own; false by default.",
        ),
    ];

    /// Of `[[keys.pepper]]`.
    pub(super) const PEPPER: &[Row] = &[
        Row::must(
            "id",
            Kind::Like("^[!-~]{1,64}$", "1"),
            "The name that stands beside its digests.",
        ),
        Row::may(
            "file",
            Kind::Text,
            "The file of its secret, 16 bytes or more.",
        ),
        Row::may(
            "env",
            Kind::Text,
            "The variable of the environment with its secret, in the place of a file.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Self {
        let folder = section.folder();
        let source = section.or("source", KeySource::None, |entry| {
            entry.word(|text| KeySource::parse(text, folder))
        });
        Self {
            source,
            brand: section.maybe("brand", |entry| entry.word(brand)),
            opaque: section.or("opaque", false, Entry::flag),
            separate_codes: section.or("separate_codes", false, Entry::flag),
            peppers: Peppers::new(section.each("pepper", "[[keys.pepper]]", pepper)),
        }
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
fn pepper(section: &mut Section<'_>) -> Option<Pepper> {
    let (has_file, has_env) = (section.has("file"), section.has("env"));
    let id = section.must("id", "the name that stands beside its digests", |entry| {
        if !has_file && !has_env {
            return Err(entry.withheld("its secret is missing; give 'file' or 'env'"));
        }
        entry.word(id)
    });
    // A pepper that is too short is told of beside its secret, whatever it is called.
    let named = id.as_deref().unwrap_or("1");
    let in_file = section.maybe("file", |entry| match has_env {
        true => Err(entry.withheld("give 'file' or 'env', not both")),
        false => strong(entry, named, &entry.read()?),
    });
    let in_env = section.maybe("env", |entry| {
        if has_file {
            return Ok(None);
        }
        let secret = entry.word(|name| std::env::var(name).map_err(|_| ENV))?;
        strong(entry, named, secret.as_bytes()).map(Some)
    });
    let pepper = in_file.or_else(|| in_env.flatten());
    id.and(pepper)
}

fn strong(entry: &Entry<'_>, id: &str, secret: &[u8]) -> Result<Pepper, Fault> {
    let pepper = Pepper::new(id, secret.trim_ascii_end());
    pepper.map_err(|weak| entry.withheld(&weak.to_string()))
}

fn id(text: &str) -> Result<String, &'static str> {
    let is_id =
        (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_id
        .then(|| text.to_owned())
        .ok_or("1 to 64 visible ASCII characters")
}

fn brand(text: &str) -> Result<String, &'static str> {
    KeyFormat::is_word(text)
        .then(|| text.to_owned())
        .ok_or("1 to 16 lower-case letters and digits")
}

const ENV: &str = "a variable of the environment";

/// That of the schema of key records.
const ID_MAX: usize = 64;
