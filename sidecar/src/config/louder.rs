//! What is louder than the file: variables of the environment, and over them flags.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reading::{Layer, Text};

/// Keys that are said beside the file, and take the place of what it says.
///
/// `VESTIBULE__LIMITS__PER_MINUTE=120` in the environment and `--set limits.per_minute=120`
/// are the file's `per_minute = 120` in `[limits]`; a flag is louder than a variable. A value
/// is TOML, or a string where it is none: a string needs no quotation marks.
#[derive(Clone, Default)]
pub struct Louder {
    /// The quietest first.
    said: Vec<Said>,
}

#[derive(Clone)]
struct Said {
    /// What a fault is told of.
    name: String,
    path: Vec<String>,
    value: String,
}

// === impl Louder ===

impl Louder {
    /// What the environment of this process says.
    pub fn environment() -> Self {
        Self::variables(std::env::vars_os())
    }

    /// What such variables say; those with other names are not meant.
    pub fn variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let said = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let path = name.strip_prefix(PREFIX)?.split("__");
            Some(Said {
                path: path.map(str::to_ascii_lowercase).collect(),
                // What is no text shows itself by the sign that stands for it.
                value: value.to_string_lossy().into_owned(),
                name,
            })
        });
        let mut said: Vec<Said> = said.collect();
        // The environment has no order.
        said.sort_by(|one, other| one.name.cmp(&other.name));
        Self { said }
    }

    /// Adds a flag, `limits.per_minute=120`; of two for the same key the later one is heard.
    ///
    /// # Errors
    ///
    /// A sentence, where it is no key and value.
    pub fn set(&mut self, flag: &str) -> Result<(), &'static str> {
        let (path, value) = flag.split_once('=').ok_or(FLAG)?;
        let path: Vec<String> = path.split('.').map(|key| key.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err(FLAG);
        }
        self.said.push(Said {
            name: format!("--set {}", path.join(".")),
            path,
            value: value.trim().to_owned(),
        });
        Ok(())
    }

    /// As the parts of a table, the loudest first.
    pub(super) fn layers(&self) -> impl Iterator<Item = Layer<'_>> {
        self.said.iter().rev().map(Said::layer)
    }
}

impl fmt::Debug for Louder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A value may be a secret.
        let names = self.said.iter().map(|said| &said.name);
        f.debug_list().entries(names).finish()
    }
}

// === impl Said ===

impl Said {
    fn layer(&self) -> Layer<'_> {
        let (first, inner) = self
            .path
            .split_first()
            .expect("a path has one key at least");
        let value = inner.iter().rev().fold(self.value(), |value, key| {
            self.spanned(DeValue::Table(self.table(key, value)))
        });
        Layer {
            text: Text::named(&self.name, &self.value),
            table: self.table(first, value),
        }
    }

    fn value(&self) -> Spanned<DeValue<'_>> {
        DeValue::parse(&self.value)
            .unwrap_or_else(|_| self.spanned(DeValue::String(Cow::Borrowed(&self.value))))
    }

    fn table<'a>(&'a self, key: &'a str, value: Spanned<DeValue<'a>>) -> DeTable<'a> {
        DeTable::from_iter([(self.spanned(Cow::Borrowed(key)), value)])
    }

    fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned::new(0..self.value.len(), value)
    }
}

const PREFIX: &str = "VESTIBULE__";

const FLAG: &str = "expected a key and its value like limits.per_minute=120";

#[cfg(test)]
mod tests {
    use super::super::tests::{MINIMAL, SECRET};
    use super::super::{Config, ConfigError};
    use super::*;

    #[test]
    fn a_flag_is_louder_than_a_variable_and_that_is_louder_than_the_file() {
        let file = "[limits]\nper_minute = 1\nrequests = 1\nstreams = 1";
        let variables = [("LIMITS__PER_MINUTE", "2"), ("LIMITS__REQUESTS", "2")];
        let config = read(file, &variables, &["limits.per_minute=3"]).unwrap();
        let limits = config.limits;
        assert_eq!(
            (limits.per_minute, limits.requests, limits.streams),
            (3, 2, 1)
        );
        let config = read("", &[], &["threads=1", "threads = 2"]).unwrap();
        assert_eq!(config.threads, 2);
    }

    #[test]
    fn a_value_is_toml_or_a_string_without_quotation_marks() {
        for (variable, want) in [
            (("UPSTREAM", "app:9000"), "app:9000"),
            (("UPSTREAM", "'app:9000'"), "app:9000"),
            (("UPSTREAM", "['app:9000', 'other:9000']"), "app:9000"),
            (("KEYS__BRAND", "123"), "123"),
            (("KEYS__BRAND", "true"), "true"),
            (("TIMEOUTS__HEAD", "3s"), "3s"),
            (("LIMITS__BUFFER", "4MB"), "4194304"),
            (("ROUTE", "[{ match = 'GET /mine' }]"), "GET /mine"),
        ] {
            let config = read("", &[variable], &[]).unwrap();
            let said = match variable.0 {
                "UPSTREAM" => config.upstream.to_string(),
                "KEYS__BRAND" => config.keys.brand.unwrap(),
                "TIMEOUTS__HEAD" => format!("{:?}", config.timeouts.head),
                "LIMITS__BUFFER" => config.limits.buffer.to_string(),
                _ => config.routes[0].pattern.clone(),
            };
            assert_eq!(said, want, "{variable:?}");
        }
    }

    #[test]
    fn a_fault_is_told_of_what_said_it() {
        for (variable, flag, want) in [
            (
                ("LIMITS__PER_MINUTE", "many"),
                "threads=2",
                "VESTIBULE__LIMITS__PER_MINUTE: [limits] per_minute = many: expected a whole number from 1 to 1000000",
            ),
            (
                ("THREADS", "1"),
                "limits.per_minute=0",
                "--set limits.per_minute: [limits] per_minute = 0: expected a whole number from 1 to 1000000",
            ),
            (
                ("IDENTITY__SECRET", "canary"),
                "threads=2",
                "VESTIBULE__IDENTITY__SECRET: [identity] secret: a secret of at least 32 bytes is expected",
            ),
            (
                ("LIMITS", "canary"),
                "threads=2",
                "VESTIBULE__LIMITS: 'limits' is a string; expected the section [limits]",
            ),
        ] {
            let error = read("", &[variable], &[flag]).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn a_name_that_no_key_has_is_refused() {
        for (variable, want) in [
            (
                "LISTEM",
                "VESTIBULE__LISTEM: unknown key 'listem' at the top (is it 'listen'?); ",
            ),
            ("", "VESTIBULE__: unknown key '' at the top; "),
            (
                "LIMITS__PER_HOUR",
                "VESTIBULE__LIMITS__PER_HOUR: unknown key 'per_hour' in [limits]; ",
            ),
        ] {
            let error = read("", &[(variable, "1")], &[]).unwrap_err();
            assert!(error.to_string().starts_with(want), "{error}");
        }
        let text = format!("{MINIMAL}[[route]]\nmatch = 'GET /'");
        let config = Config::parse_under("c.toml", &text, &named([("VESTIBULE_PORT", "1")]));
        assert!(
            config.is_ok(),
            "an orchestrator's own variables are not meant"
        );
    }

    #[test]
    fn a_flag_is_a_key_and_a_value() {
        for flag in ["threads", "=2", ".threads=2", "limits..streams=2"] {
            assert_eq!(Louder::default().set(flag), Err(FLAG), "{flag}");
        }
    }

    #[test]
    fn a_secret_of_the_environment_is_shown_nowhere() {
        let config = read("", &[("IDENTITY__SECRET", SECRET)], &[]).unwrap();
        assert_eq!(config.identity.secret.as_deref(), Some(SECRET));
        assert!(!format!("{config:?}").contains(SECRET));
    }

    fn read(file: &str, said: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
        let said = said
            .iter()
            .map(|(name, value)| (format!("{PREFIX}{name}"), *value));
        let mut louder = named(said);
        for flag in flags {
            louder.set(flag).unwrap();
        }
        let text = format!("{MINIMAL}{file}\n[[route]]\nmatch = 'GET /'");
        Config::parse_under("c.toml", &text, &louder)
    }

    fn named<'a, N: Into<OsString>>(said: impl IntoIterator<Item = (N, &'a str)>) -> Louder {
        Louder::variables(
            said.into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }
}
