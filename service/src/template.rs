//! A message template as a caller names it: which one, in which language, with what filled in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An approved template and the values for its placeholders.
///
/// What is checked here is what Meta refuses on sight; whether the template exists and
/// takes these values only Meta knows, and says later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its name.
    pub name: Name,
    /// Its language.
    pub language: Language,
    /// Values for the placeholders of its body.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// Values for the placeholders of its header.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub header_parameters: Parameters,
    /// The picture, video or document of its header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_media_url: Option<MediaUrl>,
    /// What fills its buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
}

/// Up to 512 of `[a-z0-9_]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name(Box<str>);

/// A language and perhaps a country: `en`, `pt_BR`, `fil`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Language(Box<str>);

/// A placeholder's name to what is written in its place.
///
/// Names `1`, `2`, … mean a template with numbered placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters(BTreeMap<Box<str>, Box<str>>);

/// An `https` address that Meta fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaUrl(Box<str>);

/// What a [`MediaUrl`] leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// Anything that is neither of the others.
    Document,
    /// JPEG, PNG or WebP.
    Image,
    /// MP4 or 3GP.
    Video,
}

/// The variable part of one button.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// Its place among the template's buttons, from 0.
    pub index: u8,
    /// What it does.
    pub kind: ButtonKind,
    /// The address's last part, the reply's payload or the code to copy.
    pub value: Box<str>,
}

/// What a button does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonKind {
    /// Copies a code.
    CopyCode,
    /// Answers with a payload.
    QuickReply,
    /// Opens an address.
    Url,
}

// === impl Template ===

impl Template {
    /// Whether its parts go together, as far as that can be told without the template: a
    /// header is text or media, and values are no longer than the part that they are in
    /// (132005).
    pub fn is_consistent(&self) -> bool {
        let is_body_alone = self.header_parameters.is_empty()
            && self.header_media_url.is_none()
            && self.buttons.is_empty();
        let body_max = if is_body_alone {
            BODY_ALONE_MAX
        } else {
            BODY_MAX
        };
        let has_one_header = self.header_parameters.is_empty() || self.header_media_url.is_none();
        has_one_header
            && self.header_parameters.longest() <= HEADER_MAX
            && self.parameters.longest() <= body_max
    }
}

// === impl Name ===

impl Name {
    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(allowed);
        fits.then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Language ===

impl Language {
    /// Reads a language code.
    pub fn parse(text: &str) -> Option<Self> {
        let (language, country) = match text.split_once('_') {
            Some((language, country)) => (language, Some(country)),
            None => (text, None),
        };
        let fits = (2..=3).contains(&language.len())
            && language.bytes().all(|byte| byte.is_ascii_lowercase())
            && country.is_none_or(|country| {
                country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase())
            });
        fits.then(|| Self(text.into()))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Parameters ===

impl Parameters {
    /// Takes these values if Meta would take them: all of them by name, or numbered from
    /// `1` without a gap (132000, 132012).
    pub fn new<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let values = values
            .into_iter()
            .map(|(name, value)| {
                let fits = !name.is_empty() && is_writable(value);
                fits.then(|| (name.into(), value.into()))
            })
            .collect::<Option<BTreeMap<_, _>>>()?;
        let parameters = Self(values);
        let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
        let is_named = parameters.named().all(|(name, _)| !is_number(name));
        let fits = parameters.0.len() <= PARAMETERS_MAX;
        (fits && (is_named || parameters.positional().is_some())).then_some(parameters)
    }

    /// How many characters the longest value has.
    pub fn longest(&self) -> usize {
        let lengths = self.0.values().map(|value| value.chars().count());
        lengths.max().unwrap_or_default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values in order, where the names are `1` to as many as there are.
    pub fn positional(&self) -> Option<Vec<&str>> {
        (1..=self.0.len())
            .map(|place| self.0.get(place.to_string().as_str()).map(AsRef::as_ref))
            .collect()
    }

    /// Each name with its value.
    pub fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

// === impl MediaUrl ===

impl MediaUrl {
    /// Reads an `https` address without spaces or control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let host = text.strip_prefix("https://")?;
        let fits = text.len() <= URL_MAX
            && host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it leads to, by how its path ends.
    pub fn media(&self) -> Media {
        let path = self.0.split(['?', '#']).next().unwrap_or_default();
        let extension = path
            .rsplit_once('.')
            .map(|(_, extension)| extension.to_ascii_lowercase());
        match extension.as_deref() {
            Some("jpg" | "jpeg" | "png" | "webp") => Media::Image,
            Some("mp4" | "3gp") => Media::Video,
            _ => Media::Document,
        }
    }
}

// === impl Button ===

impl Button {
    /// A button's variable part, if Meta would take it.
    pub fn new(index: u8, kind: ButtonKind, value: &str) -> Option<Self> {
        let fits = index < BUTTONS_MAX && !value.is_empty() && is_writable(value);
        fits.then(|| Self {
            index,
            kind,
            value: value.into(),
        })
    }
}

// === impl ButtonKind ===

impl ButtonKind {
    /// Reads the word that callers, and Meta, use for it.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::CopyCode, Self::QuickReply, Self::Url]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CopyCode => "copy_code",
            Self::QuickReply => "quick_reply",
            Self::Url => "url",
        }
    }
}

/// Meta refuses a value with a line break, a tab, or more than four spaces in a row
/// (132012), and nobody can tell from that refusal which value it was.
fn is_writable(value: &str) -> bool {
    value.len() <= VALUE_MAX && !value.contains(char::is_control) && !value.contains("     ")
}

/// Meta's cap on the text of a header.
const HEADER_MAX: usize = 60;

/// Meta's cap on a body that has other components beside it.
const BODY_MAX: usize = 1024;

/// Meta's cap on a body without any.
const BODY_ALONE_MAX: usize = 32_768;

/// Meta's cap.
const NAME_MAX: usize = 512;

/// Meta numbers buttons from 0 to 9.
pub const BUTTONS_MAX: u8 = 10;

/// More placeholders than any approved template has.
const PARAMETERS_MAX: usize = 100;

/// Meta's cap on a whole body is 32768 characters of at most four bytes.
const VALUE_MAX: usize = 4 * 32_768;

/// What the common browsers and proxies carry.
const URL_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_languages_are_those_that_meta_gives() {
        let long = "a".repeat(513);
        for (given, name, language) in [
            ("order_confirmation_2", true, false),
            ("en", true, true),
            ("fil", true, true),
            ("en_US", false, true),
            ("en_us", true, false),
            ("en-US", false, false),
            ("EN", false, false),
            ("Order", false, false),
            ("", false, false),
            (&long[..512], true, false),
            (&long, false, false),
        ] {
            assert_eq!(Name::parse(given).is_some(), name, "name {given:?}");
            assert_eq!(
                Language::parse(given).is_some(),
                language,
                "language {given:?}"
            );
        }
    }

    #[test]
    fn numbered_placeholders_keep_their_order() {
        for (given, want) in [
            (vec![("2", "b"), ("1", "a")], Some(vec!["a", "b"])),
            (vec![("first_name", "Ada")], None),
            (vec![], Some(vec![])),
        ] {
            let parameters = Parameters::new(given.clone()).unwrap();
            assert_eq!(parameters.positional(), want, "{given:?}");
        }
    }

    #[test]
    fn placeholders_are_named_or_numbered_without_a_gap() {
        for (given, fits) in [
            (vec![("1", "a"), ("2", "b")], true),
            (vec![("name", "a"), ("place_2", "b")], true),
            (vec![("10", "j"), ("1", "a")], false),
            (vec![("2", "b")], false),
            (vec![("0", "b")], false),
            (vec![("1", "a"), ("name", "b")], false),
        ] {
            assert_eq!(Parameters::new(given.clone()).is_some(), fits, "{given:?}");
        }
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused_here() {
        let long = |length| "x".repeat(length);
        let values = |text: &str| Parameters::new([("1", text)]).unwrap();
        let url = MediaUrl::parse("https://x.example/a.png");
        for (header, media, body, buttons, fits) in [
            (None, None, long(32_768), false, true),
            (None, None, long(1025), true, false),
            (None, None, long(1024), true, true),
            (Some(long(60)), None, long(1), false, true),
            (Some(long(61)), None, long(1), false, false),
            (None, url.clone(), long(1025), false, false),
            (Some(long(1)), url, long(1), false, false),
        ] {
            let template = Template {
                name: Name::parse("order").unwrap(),
                language: Language::parse("en").unwrap(),
                parameters: values(&body),
                header_parameters: header.as_deref().map(values).unwrap_or_default(),
                header_media_url: media,
                buttons: match buttons {
                    true => vec![Button::new(0, ButtonKind::Url, "x").unwrap()],
                    false => vec![],
                },
            };
            let length = body.len();
            assert_eq!(
                template.is_consistent(),
                fits,
                "{header:?} {length} {buttons}"
            );
        }
    }

    #[test]
    fn values_that_meta_refuses_are_refused_here() {
        for (name, value, fits) in [
            ("n", "plain, with four    spaces", true),
            ("n", "", true),
            ("n", "line\nbreak", false),
            ("n", "a\ttab", false),
            ("n", "five     spaces", false),
            ("", "no name", false),
        ] {
            assert_eq!(
                Parameters::new([(name, value)]).is_some(),
                fits,
                "{value:?}"
            );
        }
    }

    #[test]
    fn media_is_fetched_over_https_and_told_by_its_ending() {
        for (given, want) in [
            ("https://x.example/a.JPG?sig=1.mp4", Some(Media::Image)),
            ("https://x.example/a.mp4", Some(Media::Video)),
            ("https://x.example/invoice", Some(Media::Document)),
            ("http://x.example/a.jpg", None),
            ("https:///a.jpg", None),
            ("https://x.example/a b.jpg", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(
                MediaUrl::parse(given).map(|url| url.media()),
                want,
                "{given}"
            );
        }
    }

    #[test]
    fn buttons_have_ten_places() {
        for (index, value, fits) in [
            (0, "x", true),
            (9, "x", true),
            (10, "x", false),
            (0, "", false),
        ] {
            let button = Button::new(index, ButtonKind::Url, value);
            assert_eq!(button.is_some(), fits, "{index} {value:?}");
        }
        assert_eq!(ButtonKind::parse("copy_code"), Some(ButtonKind::CopyCode));
        assert_eq!(ButtonKind::parse("flow"), None);
    }
}
