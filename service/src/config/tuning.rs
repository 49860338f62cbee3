//! The sections that may be left out: delivery, windows, and where operators look.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::section::Source;
use super::{ConfigError, Delivery, Listen, Window};
use crate::window::Rules;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeliverySection {
    #[serde(default)]
    at_least_once_keys: Vec<Box<str>>,
    burst: Option<Spanned<u32>>,
    shaping: Option<bool>,
    confirm_within_seconds: Option<Spanned<u64>>,
    keep_content_days: Option<Spanned<u64>>,
    connect_timeout_ms: Option<Spanned<u64>>,
    timeout_ms: Option<Spanned<u64>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WindowSection {
    unknown: Option<Spanned<String>>,
    #[serde(default)]
    opened_by_reaction: bool,
    #[serde(default)]
    opened_by_request_welcome: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminSection {
    listen: Spanned<String>,
}

// === impl Source ===

impl Source<'_> {
    pub(super) fn delivery(&self, section: DeliverySection) -> Result<Delivery, ConfigError> {
        let usual = Delivery::default();
        Ok(Delivery {
            at_least_once_keys: section.at_least_once_keys.into_iter().collect(),
            burst: match section.burst {
                None => usual.burst,
                Some(burst) if (1..=BURST_MAX).contains(burst.get_ref()) => burst.into_inner(),
                Some(burst) => {
                    return Err(self.invalid("delivery.burst", &burst, "is not 1 to 45"));
                }
            },
            shapes: section.shaping.unwrap_or(usual.shapes),
            confirm_within: self.duration(
                "delivery.confirm_within_seconds",
                section.confirm_within_seconds,
                1..=7 * DAY,
                usual.confirm_within,
                Duration::from_secs,
            )?,
            keep_content: self.duration(
                "delivery.keep_content_days",
                section.keep_content_days,
                // Shorter, and a repeat of a request could not be told apart any more.
                2..=3650,
                usual.keep_content,
                |days| Duration::from_secs(days * DAY),
            )?,
            connect_timeout: self.duration(
                "delivery.connect_timeout_ms",
                section.connect_timeout_ms,
                10..=60_000,
                usual.connect_timeout,
                Duration::from_millis,
            )?,
            timeout: self.duration(
                "delivery.timeout_ms",
                section.timeout_ms,
                10..=600_000,
                usual.timeout,
                Duration::from_millis,
            )?,
        })
    }

    fn duration(
        &self,
        key: &str,
        given: Option<Spanned<u64>>,
        range: RangeInclusive<u64>,
        usual: Duration,
        unit: fn(u64) -> Duration,
    ) -> Result<Duration, ConfigError> {
        let Some(given) = given else {
            return Ok(usual);
        };
        if !range.contains(given.get_ref()) {
            let why = format!("is not {} to {}", range.start(), range.end());
            return Err(self.invalid(key, &given, &why));
        }
        Ok(unit(given.into_inner()))
    }

    pub(super) fn window(&self, section: &WindowSection) -> Result<Window, ConfigError> {
        let unknown = section.unknown.as_ref();
        let allows_unknown = match unknown.map(|word| &**word.get_ref()) {
            None | Some("reject") => false,
            Some("allow") => true,
            Some(_) => {
                let given = unknown.expect("there is a word");
                return Err(self.invalid("window.unknown", given, "is neither reject nor allow"));
            }
        };
        Ok(Window {
            rules: Rules {
                opened_by_reaction: section.opened_by_reaction,
                opened_by_request_welcome: section.opened_by_request_welcome,
            },
            allows_unknown,
        })
    }

    pub(super) fn admin(&self, section: &AdminSection) -> Result<Listen, ConfigError> {
        Listen::parse(section.listen.get_ref()).ok_or_else(|| {
            let why = "is neither host:port nor unix:/path";
            self.invalid("admin.listen", &section.listen, why)
        })
    }
}

/// What Meta lets through in a row.
const BURST_MAX: u32 = 45;

const DAY: u64 = 24 * 60 * 60;
