//! The address of a file: its path, and after a question mark how it is kept.

use super::error::Fault;
use crate::embedded::Options;

/// Reads what follows `file:`. A question mark in a path cannot be written.
pub(super) fn parse(rest: &str) -> Result<(&str, Options), Fault> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() {
        return Err(Fault::NoPath);
    }
    let mut options = Options::default();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        if name != "cache" {
            return Err(Fault::NoOption(name.to_owned()));
        }
        let size = value.strip_suffix("MB").and_then(|text| text.parse().ok());
        let size = size.filter(|size| (1..=CACHE_MAX).contains(size));
        let size: usize = size.ok_or_else(|| Fault::NoSize(value.to_owned()))?;
        options = options.cache(size << 20);
    }
    Ok((path, options))
}

/// Of mebibytes; whoever has more to spare has a Redis.
const CACHE_MAX: usize = 1024;
