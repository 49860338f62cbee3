//! `[identity]`: the secret with which assertions to the service are signed.

use super::entry::Entry;
use super::error::Fault;
use super::schema::{Kind, Row};
use super::section::Section;
use std::fmt;

/// What the sidecar and the service behind it share.
#[derive(Clone, Default)]
pub struct Identity {
    /// `secret`, or the text of `secret_file` without a trailing line break: at least 32
    /// bytes. Without one the service is told nothing of the caller.
    pub secret: Option<String>,
}

// === impl Identity ===

impl Identity {
    /// What editors are told.
    pub(super) const ROWS: &[Row] = &[
        Row::may(
            "secret",
            Kind::Text,
            "The secret, 32 bytes or more; better in a file of its own.",
        ),
        Row::may("secret_file", Kind::Text, "The file of the secret."),
    ];

    pub(super) fn parse(section: &mut Section<'_>) -> Self {
        let is_said_twice = section.has("secret") && section.has("secret_file");
        let text = section.maybe("secret", |entry| long_enough(entry, entry.secret()?));
        let file = section.maybe("secret_file", |entry| match is_said_twice {
            true => Err(entry.withheld("give 'secret' or 'secret_file', not both")),
            false => read(entry),
        });
        Self {
            secret: text.or(file),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever holds the secret can speak for any caller.
        f.debug_struct("Identity")
            .field("is_set", &self.secret.is_some())
            .finish()
    }
}

fn read(entry: &Entry<'_>) -> Result<String, Fault> {
    let text = String::from_utf8(entry.read()?);
    let text = text.map_err(|_| entry.refused("a file of text in UTF-8"))?;
    long_enough(entry, text.trim_end_matches(['\r', '\n']))
}

fn long_enough(entry: &Entry<'_>, secret: &str) -> Result<String, Fault> {
    if secret.len() < SECRET_MIN {
        return Err(entry.withheld(TOO_SHORT));
    }
    Ok(secret.to_owned())
}

/// As long as the digest of HMAC-SHA-256 (RFC 7518 §3.2).
const SECRET_MIN: usize = 32;

const TOO_SHORT: &str = "a secret of at least 32 bytes is expected";
