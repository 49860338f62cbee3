//! WhatsApp users, as far as sending to them shows.

use serde::Deserialize;

use crate::id;

/// A person on WhatsApp.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of the file's schema"
)]
pub(crate) struct User {
    /// Digits of the phone number.
    pub(crate) wa_id: Option<String>,
    /// The business-scoped user id; made from the phone number where it is absent.
    pub(crate) bsuid: Option<String>,
    /// The name in the profile.
    pub(crate) name: Option<String>,
    /// The name that stands in for the phone number.
    pub(crate) username: Option<String>,
    /// Whether webhooks may carry the phone number.
    pub(crate) share_phone: bool,
    pub(crate) on_whatsapp: bool,
    /// The user blocked the business: messages stay at `sent`.
    pub(crate) blocked: bool,
    pub(crate) online: bool,
    pub(crate) read_receipts: bool,
    pub(crate) marketing_optout: bool,
    /// Meta delivers no more marketing to this user for now (131049).
    pub(crate) marketing_capped: bool,
    /// Meta's experiment keeps marketing from this user (130472).
    pub(crate) in_experiment: bool,
    /// The chat is open on the screen: `read` comes without `delivered`.
    pub(crate) chat_open: bool,
}

// === impl User ===

impl User {
    /// A user whom the world does not name, at a phone number or a user id.
    pub(crate) fn ordinary(address: &str) -> Self {
        let is_phone = address.bytes().all(|byte| byte.is_ascii_digit());
        let address = Some(address.to_owned());
        let (wa_id, bsuid) = if is_phone {
            (address, None)
        } else {
            (None, address)
        };
        Self {
            wa_id,
            bsuid,
            ..Self::default()
        }
    }

    /// Whether this is a phone number or the user id of this user.
    pub(crate) fn is_at(&self, address: &str) -> bool {
        self.wa_id.as_deref() == Some(address) || self.user_id() == address
    }

    /// Whether both records are of one user.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        (self.wa_id.is_some() && self.wa_id == other.wa_id) || self.user_id() == other.user_id()
    }

    /// The business-scoped user id.
    pub(crate) fn user_id(&self) -> String {
        let phone = self.wa_id.as_deref().unwrap_or_default();
        self.bsuid.clone().unwrap_or_else(|| id::bsuid(phone))
    }

    /// The phone number, where webhooks may carry it.
    pub(crate) fn shared_phone(&self) -> Option<&str> {
        self.wa_id.as_deref().filter(|_| self.share_phone)
    }

    /// The digits that a message id carries.
    pub(crate) fn digits(&self) -> String {
        let address = self.wa_id.clone().unwrap_or_else(|| self.user_id());
        address.chars().filter(char::is_ascii_digit).collect()
    }

    /// The name in the profile.
    pub(crate) fn profile_name(&self) -> &str {
        self.name.as_deref().unwrap_or("Customer")
    }
}

impl Default for User {
    fn default() -> Self {
        Self {
            wa_id: None,
            bsuid: None,
            name: None,
            username: None,
            share_phone: true,
            on_whatsapp: true,
            blocked: false,
            online: true,
            read_receipts: true,
            marketing_optout: false,
            marketing_capped: false,
            in_experiment: false,
            chat_open: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_one_user_by_phone_and_by_id() {
        let user = User::ordinary("16505551234");
        assert!(user.is_at("16505551234"));
        assert!(user.is_at(&id::bsuid("16505551234")));
        assert!(!user.is_at("16505551235"));
        assert_eq!(User::ordinary("US.134").wa_id, None);
        assert_eq!(User::ordinary("US.134").user_id(), "US.134");
    }

    #[test]
    fn a_phone_that_is_not_shared_stays_back() {
        let mut user = User::ordinary("16505551234");
        assert_eq!(user.shared_phone(), Some("16505551234"));
        user.share_phone = false;
        assert_eq!(user.shared_phone(), None);
    }
}
