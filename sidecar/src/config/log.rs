//! `[log]`: what is written about the process and its requests, and how.

use tracing_subscriber::filter::EnvFilter;

use super::schema::{Kind, Row};
use super::section::Section;

/// Diagnostics go to standard error, a line for each request to standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `format`: for people or in JSON; text by default.
    pub format: LogFormat,
    /// `level`: which diagnostics are written; `info` by default. It can be changed while the
    /// process runs, at the admin socket.
    pub level: LogLevel,
    /// `access`: whether a line is written for each request; true by default.
    pub access: bool,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `json`: an object each.
    Json,
    /// `text`: for people.
    #[default]
    Text,
}

/// Which diagnostics are written: `error`, `warn`, `info`, `debug`, `trace` or `off`, and
/// others for the modules that are named: `info,vestibule_sidecar=debug`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevel(String);

// === impl Log ===

impl Log {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "format",
            Kind::Word(&["text", "json"]),
            "How lines are written; text by default.",
        ),
        Row::may(
            "level",
            Kind::Like(LEVEL, "info,vestibule_sidecar=debug"),
            "Which diagnostics are written; info by default.",
        ),
        Row::may(
            "access",
            Kind::Flag,
            "Whether a line is written for each request; true by default.",
        ),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            format: section.or("format", default.format, |entry| {
                entry.word(LogFormat::parse)
            }),
            level: section.or("level", default.level, |entry| entry.word(LogLevel::parse)),
            access: section.or("access", default.access, |entry| entry.flag()),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            level: LogLevel("info".to_owned()),
            access: true,
        }
    }
}

// === impl LogFormat ===

impl LogFormat {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("\"text\" or \"json\""),
        }
    }
}

// === impl LogLevel ===

impl LogLevel {
    /// Takes a level, and others for modules.
    ///
    /// # Errors
    ///
    /// What is expected. The filter itself would take any word for the name of a module, and
    /// be silent.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let is_level = |word: &str| LEVELS.contains(&word);
        let is_module = |name: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_:".contains(&byte);
            !name.is_empty() && name.bytes().all(fits)
        };
        let is_good = |part: &str| match part.split_once('=') {
            None => is_level(part),
            Some((module, level)) => is_module(module) && is_level(level),
        };
        if text.len() <= LEVEL_MAX && text.split(',').all(is_good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "a level (error, warn, info, debug, trace or off), with others for modules after it: \"info,vestibule_sidecar=debug\"",
            )
        }
    }

    /// The filter. pingora's own information is most often too much, and has to be asked for.
    pub(crate) fn filter(&self) -> EnvFilter {
        let is_loud = |part: &str| ["info", "debug", "trace"].contains(&part);
        EnvFilter::new(match self.0.split(',').any(is_loud) {
            true => format!("pingora_core=warn,{}", self.0),
            false => self.0.clone(),
        })
    }
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

const LEVEL: &str = "^((([A-Za-z0-9_:]+=)?(error|warn|info|debug|trace|off))(,|$))+$";

/// More than any list of modules that is to be read by people.
const LEVEL_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_for_all_and_others_for_modules() {
        for (text, is_good) in [
            ("info", true),
            ("off", true),
            ("warn,vestibule_sidecar::upstream=trace,h2=off", true),
            ("", false),
            ("inof", false),
            ("INFO", false),
            ("info,", false),
            ("info, debug", false),
            ("h2", false),
            ("=info", false),
            ("h2=", false),
            ("[span]=info", false),
        ] {
            assert_eq!(LogLevel::parse(text).is_ok(), is_good, "{text:?}");
        }
        let long = format!("info,{}=off", "m".repeat(LEVEL_MAX));
        assert!(LogLevel::parse(&long).is_err());
    }
}
