//! `trusted_proxies`: whom the sidecar believes when it is told who is calling.

use std::net::IpAddr;

use super::section::Section;
use crate::network::Network;

/// The proxies in front of the sidecar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `trusted_proxies`: networks like `10.0.0.0/8`, addresses, or `unix` for whoever
    /// connects over a Unix socket; nobody by default.
    pub networks: Vec<Network>,
    /// Whether `unix` is among them.
    pub unix: bool,
    /// `trusted_field`: the field in which they say who is calling, `x-forwarded-for` by
    /// default, or `forwarded`. The other one is a client's to forge, and is not passed on.
    pub field: TrustedField,
}

/// The field in which trusted proxies say who is calling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustedField {
    /// `x-forwarded-for`
    #[default]
    XForwardedFor,
    /// `forwarded`: RFC 7239.
    Forwarded,
}

// === impl Proxies ===

impl Proxies {
    /// Out of the keys at the top.
    pub(super) fn parse(top: &mut Section<'_>) -> Self {
        let named = top.or("trusted_proxies", Vec::new(), |entry| {
            entry.strings(
                |text| is_unix(text) || Network::parse(text).is_some(),
                PROXIES,
            )
        });
        Self {
            networks: named
                .iter()
                .filter_map(|text| Network::parse(text))
                .collect(),
            unix: named.iter().any(|text| is_unix(text)),
            field: top.or("trusted_field", TrustedField::default(), |entry| {
                entry.word(TrustedField::parse)
            }),
        }
    }

    /// Whether this address, or none on a Unix socket, is believed.
    pub(crate) fn trust(&self, address: Option<IpAddr>) -> bool {
        match address {
            None => self.unix,
            Some(address) => self
                .networks
                .iter()
                .any(|network| network.contains(address)),
        }
    }
}

// === impl TrustedField ===

impl TrustedField {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "x-forwarded-for" => Ok(Self::XForwardedFor),
            "forwarded" => Ok(Self::Forwarded),
            _ => Err("\"x-forwarded-for\" or \"forwarded\""),
        }
    }
}

fn is_unix(text: &str) -> bool {
    text == "unix"
}

const PROXIES: &str =
    "a network like \"10.0.0.0/8\" or \"2001:db8::/32\", an address, \"unix\", or a list of them";
