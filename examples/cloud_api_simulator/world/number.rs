//! Business accounts, their numbers, and the tokens that may use them.

use serde::Deserialize;
use vestibule::clock::Timestamp;

use super::Secret;

/// A WhatsApp business account.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Waba {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) state: WabaState,
    /// The apps that are subscribed to its webhooks.
    #[serde(default)]
    pub(crate) apps: Vec<String>,
    /// The account's switch that bars marketing templates here (131063).
    #[serde(default)]
    pub(crate) disable_marketing_messages_on_cloud_api: bool,
    /// Whether it may use the other door for marketing (131055).
    #[serde(default = "yes")]
    pub(crate) marketing_messages: bool,
    /// Who owns it; it is stored and shown.
    pub(crate) portfolio: Option<String>,
    /// Users that may be written to outside windows in a day; it is stored and shown.
    pub(crate) messaging_limit: Option<u32>,
}

/// Whether an account may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WabaState {
    Locked,
    #[default]
    Ok,
    Restricted,
    Unpaid,
}

/// A business phone number.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Number {
    /// `phone_number_id`.
    pub(crate) id: String,
    pub(crate) waba: String,
    /// Its digits, with the country code.
    pub(crate) display: String,
    /// What is put in front of a recipient that was written without `+`.
    pub(crate) country_code: String,
    #[serde(default)]
    pub(crate) state: NumberState,
    /// A test number sends to these only (digits); none listed means to everybody.
    #[serde(default)]
    pub(crate) allowed_recipients: Vec<String>,
    /// Throughput, messages a second: 80, 20 of a number that also uses the app, 1000 upgraded.
    #[serde(default = "default_mps")]
    pub(crate) mps: u32,
    /// The name that users see.
    pub(crate) verified_name: Option<String>,
}

/// Whether a number may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NumberState {
    Deleted,
    /// Its quality is low; it still sends.
    Flagged,
    Maintenance,
    #[default]
    Registered,
    Unregistered,
}

/// An access token.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) value: Secret,
    #[serde(default = "default_scopes")]
    pub(crate) scopes: Vec<String>,
    pub(crate) wabas: Vec<String>,
    /// The app that it belongs to.
    pub(crate) app: Option<String>,
    /// Unix seconds.
    pub(crate) expires_at: Option<u64>,
    #[serde(default)]
    pub(crate) revoked: bool,
}

// === impl Token ===

impl Token {
    /// Whether it is good at this moment.
    pub(crate) fn is_valid(&self, now: Timestamp) -> bool {
        let expires_at = self.expires_at.map(Timestamp::from_unix_seconds);
        !self.revoked && expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// Whether it may send messages.
    pub(crate) fn may_send(&self) -> bool {
        self.scopes.iter().any(|scope| scope == MESSAGING)
    }

    /// Whether it may look at accounts and change them.
    pub(crate) fn may_manage(&self) -> bool {
        self.scopes.iter().any(|scope| scope == MANAGEMENT)
    }
}

const fn default_mps() -> u32 {
    80
}

fn default_scopes() -> Vec<String> {
    vec![MESSAGING.to_owned(), MANAGEMENT.to_owned()]
}

const fn yes() -> bool {
    true
}

const MESSAGING: &str = "whatsapp_business_messaging";

const MANAGEMENT: &str = "whatsapp_business_management";
