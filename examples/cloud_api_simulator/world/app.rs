//! Apps: where webhooks go, and the secrets they are signed with.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use serde::Deserialize;

/// An app that accounts can subscribe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct App {
    pub(crate) id: String,
    /// The first one signs; the others are those that it replaced.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) verify_token: Secret,
    /// Nothing is sent to an app without one.
    pub(crate) callback_url: Option<String>,
    /// The version that its webhook payloads follow.
    #[serde(default = "default_payload_version")]
    pub(crate) payload_version: String,
    #[serde(default = "default_fields")]
    pub(crate) subscribed_fields: Vec<String>,
}

/// A value that no log may show.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

// === impl App ===

impl App {
    /// Whether it subscribed to this field.
    pub(crate) fn hears(&self, field: &str) -> bool {
        self.subscribed_fields.iter().any(|heard| heard == field)
    }

    /// Whether its payloads still carry `conversation`, which v24.0 left out.
    pub(crate) fn hears_conversations(&self) -> bool {
        let major = self
            .payload_version
            .trim_start_matches('v')
            .split('.')
            .next();
        let major = major.and_then(|major| major.parse::<u32>().ok());
        major.is_some_and(|major| major < 24)
    }

    /// The secret that signs.
    pub(crate) fn signing_secret(&self) -> &[u8] {
        let first = self.secrets.first();
        first.map_or(&[], |secret| secret.expose().as_bytes())
    }

    /// The secret before that one.
    pub(crate) fn replaced_secret(&self) -> Option<&[u8]> {
        let replaced = self.secrets.get(1)?;
        Some(replaced.expose().as_bytes())
    }
}

// === impl Secret ===

impl Secret {
    /// Whether this is the value. Timing does not matter to a stand-in on loopback.
    pub(crate) fn is(&self, value: &str) -> bool {
        self.0 == value
    }

    /// The value itself, for whoever signs or sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// Whether a callback URL stays on this machine.
pub(crate) fn is_loopback(callback_url: &str) -> bool {
    let Ok(url) = Url::parse(callback_url) else {
        return false;
    };
    let Some(host) = url.host_str() else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn default_payload_version() -> String {
    "v25.0".to_owned()
}

fn default_fields() -> Vec<String> {
    vec!["messages".to_owned(), "calls".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_loopback() {
        for (url, want) in [
            ("http://127.0.0.1:8080/webhooks", true),
            ("http://127.8.8.8/", true),
            ("http://[::1]:80/", true),
            ("http://localhost:3000/", true),
            ("http://192.168.0.1/", false),
            ("http://localhost.example.com/", false),
            ("http://example.com/", false),
            ("127.0.0.1:80", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(url), want, "{url}");
        }
    }

    #[test]
    fn a_secret_never_shows() {
        let app: App =
            toml::from_str("id = \"a\"\nsecrets = [\"canary-1\"]\nverify_token = \"canary-2\"\n")
                .unwrap();
        let shown = format!("{app:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(app.signing_secret(), b"canary-1");
    }

    #[test]
    fn conversations_ended_with_version_24() {
        for (version, hears) in [("v23.0", true), ("v24.0", false), ("v26.0", false)] {
            let text = format!(
                "id = \"a\"\nsecrets = []\nverify_token = \"v\"\npayload_version = \"{version}\"\n"
            );
            let app: App = toml::from_str(&text).unwrap();
            assert_eq!(app.hears_conversations(), hears, "{version}");
        }
    }
}
