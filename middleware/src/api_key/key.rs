//! What an API key looks like: a typing error is refused before any look-up.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::entropy::Entropy;

/// The keys that are accepted and made: `<brand>_<env>_<22 base62>_<10 hex>`.
///
/// The last ten characters are the first five bytes, in lower-case hex, of SHA-256 over
/// everything before the last `_` (contract §4). They are no secret: whoever has the
/// rest can compute them, and a scanner can tell a key from a look-alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFormat {
    brands: Vec<Box<str>>,
    environments: Vec<Box<str>>,
    opaque: bool,
}

/// A well-formed API key.
///
/// It is a secret: its `Debug` shows nothing of it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey<'a> {
    text: Cow<'a, str>,
    shape: Option<Shape>,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It looks like a key and its checksum says that it was mistyped.
    #[error("the checksum does not match")]
    Checksum,
    /// It is a key for an environment that is not served here.
    #[error("the key belongs to another environment")]
    Environment,
    /// It does not look like a key.
    #[error("the text is not shaped like a key")]
    Malformed,
}

/// Where the parts of a key lie in its text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    brand: usize,
    environment: usize,
}

// === impl KeyFormat ===

impl KeyFormat {
    /// Keys of every brand and every environment, and no opaque ones.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a text can be a brand or an environment: 1 to 16 of `[a-z0-9]`.
    pub fn is_word(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        (1..=WORD_MAX).contains(&text.len()) && text.bytes().all(allowed)
    }

    /// Accepts this brand and no other, unless this is called again.
    ///
    /// What is no [word](Self::is_word) never matches a key; a configuration refuses it.
    #[must_use]
    pub fn brand(mut self, brand: impl Into<Box<str>>) -> Self {
        self.brands.push(brand.into());
        self
    }

    /// Accepts this environment (`live`, `test`, …) and no other, unless this is called
    /// again.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<Box<str>>) -> Self {
        self.environments.push(environment.into());
        self
    }

    /// Also accepts keys of another make: any 16 to 256 visible characters.
    ///
    /// What has the shape of our keys is still held to their checksum.
    #[must_use]
    pub const fn opaque(mut self) -> Self {
        self.opaque = true;
        self
    }

    /// The key that this text is.
    ///
    /// # Errors
    ///
    /// A [`KeyError`] that tells how far the text is from a key.
    pub fn parse<'a>(&self, text: &'a str) -> Result<ApiKey<'a>, KeyError> {
        let Some(shape) = self.shape(text) else {
            return self.parse_opaque(text);
        };
        let signed = &text[..text.len() - CHECKSUM_LEN - 1];
        if text.as_bytes().last_chunk() != Some(&checksum_of(signed)) {
            return Err(KeyError::Checksum);
        }
        if !self.serves(shape.environment_in(text)) {
            return Err(KeyError::Environment);
        }
        Ok(ApiKey {
            text: Cow::Borrowed(text),
            shape: Some(shape),
        })
    }

    /// Whether a text has the shape of our keys, mistyped or not.
    pub fn resembles(&self, text: &str) -> bool {
        self.shape(text).is_some()
    }

    /// A regular expression for scanners of code and logs: what it finds is a key where
    /// [`parse`](Self::parse) says so too, and a mistyped key or a look-alike otherwise.
    pub fn pattern(&self) -> String {
        let any_of = |words: &[Box<str>]| match words {
            [] => format!("[0-9a-z]{{1,{WORD_MAX}}}"),
            words => format!("(?:{})", words.join("|")),
        };
        let (brand, environment) = (any_of(&self.brands), any_of(&self.environments));
        format!("{brand}_{environment}_[0-9A-Za-z]{{{BODY_LEN}}}_[0-9a-f]{{{CHECKSUM_LEN}}}")
    }

    /// Whether keys of this environment are accepted.
    pub fn serves(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.iter().any(|one| **one == *environment)
    }

    fn parse_opaque<'a>(&self, text: &'a str) -> Result<ApiKey<'a>, KeyError> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.opaque || !visible || !(OPAQUE_MIN..=OPAQUE_MAX).contains(&text.len()) {
            return Err(KeyError::Malformed);
        }
        Ok(ApiKey {
            text: Cow::Borrowed(text),
            shape: None,
        })
    }

    fn shape(&self, text: &str) -> Option<Shape> {
        // Body and checksum have fixed lengths, so every part is found from the end.
        let (rest, checksum) = split_last::<CHECKSUM_LEN>(text.as_bytes())?;
        let (rest, body) = split_last::<BODY_LEN>(rest)?;
        let brand_ends = rest.iter().position(|byte| *byte == b'_')?;
        let brand = text.get(..brand_ends)?;
        let environment = text.get(brand_ends + 1..rest.len())?;
        let fits = Self::is_word(brand)
            && Self::is_word(environment)
            && (self.brands.is_empty() || self.brands.iter().any(|one| **one == *brand))
            && is_alphanumeric(body)
            && is_alphanumeric(checksum);
        fits.then_some(Shape {
            brand: brand.len(),
            environment: environment.len(),
        })
    }
}

// === impl ApiKey ===

impl ApiKey<'static> {
    /// Makes a key: 22 uniform base62 symbols, which are 131 bits.
    ///
    /// # Panics
    ///
    /// Where the brand or the environment is not 1 to 16 of `[a-z0-9]`.
    pub fn mint(brand: &str, environment: &str, entropy: &dyn Entropy) -> Self {
        assert!(KeyFormat::is_word(brand), "a brand is 1 to 16 of [a-z0-9]");
        assert!(
            KeyFormat::is_word(environment),
            "an environment is 1 to 16 of [a-z0-9]"
        );
        let mut text = format!("{brand}_{environment}_");
        push_symbols(&mut text, entropy.draw());
        push_symbols(&mut text, entropy.draw());
        let checksum = checksum_of(&text);
        text.push('_');
        text.extend(checksum.into_iter().map(char::from));
        Self {
            text: Cow::Owned(text),
            shape: Some(Shape {
                brand: brand.len(),
                environment: environment.len(),
            }),
        }
    }
}

impl ApiKey<'_> {
    /// The secret itself: to be shown once, at birth, and to be digested.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The brand; an opaque key has none.
    pub fn brand(&self) -> Option<&str> {
        self.shape.map(|shape| &self.text[..shape.brand])
    }

    /// The environment; an opaque key does not tell it.
    pub fn environment(&self) -> Option<&str> {
        self.shape.map(|shape| shape.environment_in(&self.text))
    }

    /// The first six characters of the body, by which people recognise a key. They may
    /// be shown: 95 bits stay hidden. An opaque key may be short and shows none.
    pub fn prefix(&self) -> &str {
        self.shape.map_or("", |shape| {
            let body = shape.brand + shape.environment + 2;
            &self.text[body..body + PREFIX_LEN]
        })
    }

    /// The last four characters. Of our keys they belong to the checksum.
    pub fn last_four(&self) -> &str {
        &self.text[self.text.len() - LAST_LEN..]
    }
}

impl fmt::Debug for ApiKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

// === impl Shape ===

impl Shape {
    fn environment_in(self, text: &str) -> &str {
        &text[self.brand + 1..self.brand + 1 + self.environment]
    }
}

/// What is before the last `_` of a text, and the part of this length after it.
fn split_last<const LENGTH: usize>(text: &[u8]) -> Option<(&[u8], &[u8; LENGTH])> {
    let (rest, part) = text.split_last_chunk()?;
    Some((rest.strip_suffix(b"_")?, part))
}

/// Looks at every byte, even after a bad one: without a way out, the loop over a known
/// length becomes a few vector instructions.
fn is_alphanumeric<const LENGTH: usize>(part: &[u8; LENGTH]) -> bool {
    let both = |all, byte: &u8| all & byte.is_ascii_alphanumeric();
    part.iter().fold(true, both)
}

fn checksum_of(signed: &str) -> [u8; CHECKSUM_LEN] {
    let mut text = [0; CHECKSUM_LEN];
    let digest = Sha256::digest(signed);
    hex::encode_to_slice(&digest[..CHECKSUM_LEN / 2], &mut text)
        .expect("five bytes are ten characters of hex");
    text
}

/// Half a body from one draw. No draw is thrown away: over 2^128 values, the remainders
/// of 62^11 differ in likelihood by less than 2^-62.
fn push_symbols(text: &mut String, mut draw: u128) {
    for _ in 0..BODY_LEN / 2 {
        let symbol = usize::try_from(draw % 62).expect("a remainder of 62 is small");
        text.push(char::from(BASE62[symbol]));
        draw /= 62;
    }
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const BODY_LEN: usize = 22;
const CHECKSUM_LEN: usize = 10;
const PREFIX_LEN: usize = 6;
const LAST_LEN: usize = 4;

/// Longer brands and environments would make keys that nobody can read out.
const WORD_MAX: usize = 16;

/// Fewer characters could be guessed; more are no key but somebody's file.
const OPAQUE_MIN: usize = 16;
const OPAQUE_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entropy::SystemEntropy;

    const KEY: &str = "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";

    #[test]
    fn the_parts_of_the_contracts_own_vector() {
        let key = KeyFormat::new().parse(KEY).unwrap();
        assert_eq!(key.brand(), Some("mk"));
        assert_eq!(key.environment(), Some("live"));
        assert_eq!((key.prefix(), key.last_four()), ("8aB3cD", "2d9f"));
        assert_eq!(key.expose(), KEY);
    }

    #[test]
    fn every_changed_character_is_refused() {
        let mut tried = 0;
        for at in (8..30).chain(31..41) {
            for &symbol in BASE62 {
                let mut text = KEY.as_bytes().to_vec();
                if std::mem::replace(&mut text[at], symbol) == symbol {
                    continue;
                }
                let text = String::from_utf8(text).unwrap();
                let refused = KeyFormat::new().opaque().parse(&text);
                assert_eq!(refused, Err(KeyError::Checksum), "{text}");
                tried += 1;
            }
        }
        assert_eq!(tried, 1952);
    }

    #[test]
    fn every_swap_of_neighbours_and_every_cut_is_refused() {
        for at in 0..KEY.len() - 1 {
            let mut text = KEY.as_bytes().to_vec();
            text.swap(at, at + 1);
            let text = String::from_utf8(text).unwrap();
            assert!(
                text == KEY || KeyFormat::new().parse(&text).is_err(),
                "{text}"
            );
        }
        for end in 0..KEY.len() {
            let cut = KeyFormat::new().parse(&KEY[..end]);
            assert_eq!(cut, Err(KeyError::Malformed), "{end} characters");
        }
    }

    #[test]
    fn a_text_is_told_how_far_it_is_from_a_key() {
        let mk = || KeyFormat::new().brand("mk");
        let (short, long) = ("x".repeat(15), "x".repeat(257));
        for (format, text, want) in [
            (mk(), KEY, Ok(())),
            (mk().brand("ab"), KEY, Ok(())),
            (mk().environment("live"), KEY, Ok(())),
            (mk().environment("test"), KEY, Err(KeyError::Environment)),
            (KeyFormat::new().brand("ab"), KEY, Err(KeyError::Malformed)),
            (
                mk(),
                "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_a1b2c3d4e5",
                Err(KeyError::Checksum),
            ),
            (
                mk(),
                "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49A9142D9F",
                Err(KeyError::Checksum),
            ),
            (
                mk(),
                "mk_live_8aB3cDe4FgH5iJ6kLm7nO-_49a9142d9f",
                Err(KeyError::Malformed),
            ),
            (
                mk(),
                "MK_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f",
                Err(KeyError::Malformed),
            ),
            (
                mk(),
                "mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f_",
                Err(KeyError::Malformed),
            ),
            (mk(), "", Err(KeyError::Malformed)),
            (mk(), "an-opaque-key-of-theirs", Err(KeyError::Malformed)),
            (mk().opaque(), "an-opaque-key-of-theirs", Ok(())),
            (
                mk().opaque(),
                "an opaque key of theirs",
                Err(KeyError::Malformed),
            ),
            (
                mk().opaque(),
                "ein-schlüssel-von-ihnen",
                Err(KeyError::Malformed),
            ),
            (mk().opaque(), &short, Err(KeyError::Malformed)),
            (mk().opaque(), &long, Err(KeyError::Malformed)),
        ] {
            let got = format.parse(text).map(drop);
            assert_eq!(got, want, "{text:?} by {format:?}");
        }
    }

    #[test]
    fn a_brand_is_a_short_plain_word() {
        for (text, want) in [
            ("mk", true),
            ("0123456789abcdef", true),
            ("0123456789abcdefg", false),
            ("", false),
            ("m_k", false),
            ("MK", false),
            ("m|k", false),
        ] {
            assert_eq!(KeyFormat::is_word(text), want, "{text:?}");
        }
    }

    #[test]
    fn scanners_get_a_pattern() {
        for (format, want) in [
            (
                KeyFormat::new(),
                "[0-9a-z]{1,16}_[0-9a-z]{1,16}_[0-9A-Za-z]{22}_[0-9a-f]{10}",
            ),
            (
                KeyFormat::new()
                    .brand("mk")
                    .environment("live")
                    .environment("test"),
                "(?:mk)_(?:live|test)_[0-9A-Za-z]{22}_[0-9a-f]{10}",
            ),
        ] {
            assert_eq!(format.pattern(), want);
        }
    }

    #[test]
    fn minted_keys_are_accepted_and_differ() {
        let mint = || ApiKey::mint("mk", "test", &SystemEntropy);
        let (one, other) = (mint(), mint());
        let format = KeyFormat::new().brand("mk").environment("test");
        assert_eq!(format.parse(one.expose()).unwrap(), one);
        assert_ne!(one, other);
    }

    #[test]
    fn debug_shows_nothing_of_the_key() {
        let key = KeyFormat::new().parse(KEY).unwrap();
        assert_eq!(format!("{key:?}"), "ApiKey(..)");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,64}") {
            let _ = KeyFormat::new().opaque().parse(&text);
        }

        #[test]
        fn no_guess_is_accepted(text in "mk_live_[0-9A-Za-z]{22}_[0-9a-f]{10}") {
            prop_assert!(text == KEY || KeyFormat::new().parse(&text) == Err(KeyError::Checksum));
        }
    }
}
