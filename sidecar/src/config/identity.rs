//! `[identity]`: the secret with which assertions to the service are signed.

use std::fmt;
use std::path::Path;

use super::error::ConfigError;
use super::value::{Entry, Section};

/// What the sidecar and the service behind it share.
#[derive(Clone, Default)]
pub struct Identity {
    /// `secret`, or the text of `secret_file` without a trailing line break: at least 32
    /// bytes. Without one the service is told nothing of the caller.
    pub secret: Option<String>,
}

// === impl Identity ===

impl Identity {
    pub(super) fn parse(mut section: Section<'_>, folder: &Path) -> Result<Self, ConfigError> {
        let (text, file) = (section.take("secret"), section.take("secret_file"));
        let secret = match (text, file) {
            (Some(_), Some(file)) => {
                return Err(file.withheld("give 'secret' or 'secret_file', not both"));
            }
            (Some(entry), None) => {
                let short = entry.withheld(TOO_SHORT);
                Some(long_enough(entry.secret()?, short)?)
            }
            (None, Some(entry)) => Some(read(&entry, folder)?),
            (None, None) => None,
        };
        section.finish()?;
        Ok(Self { secret })
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

fn read(entry: &Entry<'_>, folder: &Path) -> Result<String, ConfigError> {
    let Some(file) = entry.path() else {
        return Err(entry.refused("the path of a file"));
    };
    let text = std::fs::read_to_string(folder.join(file))
        .map_err(|cause| entry.refused(format!("a file that can be read ({cause})")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    long_enough(text.to_owned(), entry.withheld(TOO_SHORT))
}

fn long_enough(secret: String, short: ConfigError) -> Result<String, ConfigError> {
    if secret.len() < SECRET_MIN {
        return Err(short);
    }
    Ok(secret)
}

/// As long as the digest of HMAC-SHA-256 (RFC 7518 §3.2).
const SECRET_MIN: usize = 32;

const TOO_SHORT: &str = "a secret of at least 32 bytes is expected";
