//! Who is calling, behind proxies that are trusted, and what the service is told of it.
//!
//! A trusted proxy adds the address that it sees at the end of a list. So the list is read
//! from its end: the first address that is no trusted proxy's is the client, and what stands
//! before it may be forged. The same holds for what stands before an element that is no
//! address.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::config::{Proxies, TrustedField};

/// Who is calling, in the extensions of each request: the one behind trusted proxies, or
/// whoever has made the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress {
    /// The address; none on a Unix socket of which nothing more is known.
    pub address: Option<IpAddr>,
}

/// The other end of a connection, as the fields say it.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    address: Option<IpAddr>,
    is_trusted: bool,
    written: Option<HeaderValue>,
    scheme: HeaderValue,
}

// === impl Sender ===

impl Sender {
    pub(crate) fn new(peer: Option<SocketAddr>, is_encrypted: bool, proxies: &Proxies) -> Self {
        let address = peer.map(|peer| peer.ip().to_canonical());
        Self {
            address,
            is_trusted: proxies.trust(address),
            written: address.and_then(|address| HeaderValue::try_from(address.to_string()).ok()),
            scheme: HeaderValue::from_static(if is_encrypted { "https" } else { "http" }),
        }
    }

    /// Who is calling with these fields.
    pub(crate) fn client(&self, headers: &HeaderMap, proxies: &Proxies) -> ClientAddress {
        let mut address = self.address;
        if !self.is_trusted {
            return ClientAddress { address };
        }
        let (name, read): (_, fn(&str) -> Option<IpAddr>) = match proxies.field {
            TrustedField::XForwardedFor => (X_FORWARDED_FOR, node),
            TrustedField::Forwarded => (FORWARDED, forwarded_for),
        };
        for line in headers.get_all(name).iter().rev() {
            let Ok(line) = line.to_str() else {
                return ClientAddress { address };
            };
            for element in elements(line) {
                let Some(named) = read(element.trim()) else {
                    return ClientAddress { address };
                };
                address = Some(named);
                if !proxies.trust(address) {
                    return ClientAddress { address };
                }
            }
        }
        ClientAddress { address }
    }

    /// Tells the service. What a sender says that is not trusted, it is not told.
    pub(crate) fn tell(
        &self,
        headers: &mut HeaderMap,
        uri: &Uri,
        client: ClientAddress,
        field: TrustedField,
    ) {
        match (self.is_trusted, field) {
            (true, TrustedField::XForwardedFor) => {
                headers.remove(FORWARDED);
                self.append(headers);
            }
            (true, TrustedField::Forwarded) => {
                let client = client.address.map(|address| address.to_string());
                replace(
                    headers,
                    X_FORWARDED_FOR,
                    client.and_then(|text| text.try_into().ok()),
                );
            }
            (false, _) => {
                headers.remove(FORWARDED);
                replace(headers, X_FORWARDED_FOR, self.written.clone());
            }
        }
        if !self.is_trusted || !headers.contains_key(X_FORWARDED_PROTO) {
            headers.insert(X_FORWARDED_PROTO, self.scheme.clone());
        }
        if !self.is_trusted || !headers.contains_key(X_FORWARDED_HOST) {
            let host = match uri.authority() {
                Some(authority) => HeaderValue::try_from(authority.as_str()).ok(),
                None => headers.get(HOST).cloned(),
            };
            replace(headers, X_FORWARDED_HOST, host);
        }
    }

    fn append(&self, headers: &mut HeaderMap) {
        let Some(written) = &self.written else {
            return;
        };
        let lines = headers.get_all(X_FORWARDED_FOR).iter();
        let mut list: Vec<u8> = Vec::new();
        for line in lines.chain([written]) {
            if !list.is_empty() {
                list.extend(b", ");
            }
            list.extend(line.as_bytes());
        }
        replace(
            headers,
            X_FORWARDED_FOR,
            HeaderValue::from_bytes(&list).ok(),
        );
    }
}

fn replace(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    }
}

/// The elements of a list, the last one first. A comma in quotes, which no address has,
/// makes two elements that are none.
fn elements(line: &str) -> impl Iterator<Item = &str> {
    line.rsplit(',')
}

/// `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1` or `[2001:db8::1]:80`.
fn node(text: &str) -> Option<IpAddr> {
    let address = text.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    let address = address.or_else(|| {
        let bare = text.strip_prefix('[')?.strip_suffix(']')?;
        bare.parse().ok().filter(IpAddr::is_ipv6)
    });
    address.map(|address| address.to_canonical())
}

/// The `for` of `for="[2001:db8::1]:80";proto=https` (RFC 7239 §4).
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("for") {
            continue;
        }
        let value = value.trim();
        let value = match value.strip_prefix('"') {
            Some(quoted) => quoted.strip_suffix('"')?,
            None => value,
        };
        // Whoever says it twice may mean either.
        if found.replace(node(value)?).is_some() {
            return None;
        }
    }
    found
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Of every request that is served: `http` or `https`, by whoever is trusted.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxys() {
        for (peer, lines, want) in [
            ("203.0.113.9:1", &[][..], "203.0.113.9"),
            // Nobody who is not trusted is believed.
            ("203.0.113.9:1", &["192.0.2.1"], "203.0.113.9"),
            ("10.0.0.1:1", &[], "10.0.0.1"),
            ("10.0.0.1:1", &["192.0.2.1"], "192.0.2.1"),
            ("[::ffff:10.0.0.1]:1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("10.0.0.1:1", &["192.0.2.66, 192.0.2.1"], "192.0.2.1"),
            (
                "10.0.0.1:1",
                &["192.0.2.66, 192.0.2.1, 10.9.9.9"],
                "192.0.2.1",
            ),
            (
                "10.0.0.1:1",
                &["192.0.2.66", "192.0.2.1", "10.9.9.9"],
                "192.0.2.1",
            ),
            ("10.0.0.1:1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1:1", &["192.0.2.1:5000"], "192.0.2.1"),
            ("10.0.0.1:1", &["[2001:db8::7]:443"], "2001:db8::7"),
            ("10.0.0.1:1", &["2001:db8::7"], "2001:db8::7"),
            ("10.0.0.1:1", &["[2001:db8::7]"], "2001:db8::7"),
            // From an element on that is no address nothing is believed.
            ("10.0.0.1:1", &["192.0.2.1, unknown"], "10.0.0.1"),
            ("10.0.0.1:1", &["192.0.2.1, , 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:1", &["192.0.2.1, 10.0.0.2,"], "10.0.0.1"),
            ("10.0.0.1:1", &["192.0.2.1", "evil", "10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1:1", &["[192.0.2.1]"], "10.0.0.1"),
            ("10.0.0.1:1", &["192.0.2.1:99999"], "10.0.0.1"),
            ("10.0.0.1:1", &["192.0.2.256"], "10.0.0.1"),
            ("10.0.0.1:1", &["010.0.0.2"], "10.0.0.1"),
        ] {
            let got = client(peer, "x-forwarded-for", lines, TrustedField::XForwardedFor);
            assert_eq!(got, want, "{peer} {lines:?}");
        }
    }

    #[test]
    fn the_field_of_the_rfc_is_read_where_it_is_the_trusted_one() {
        for (lines, want) in [
            (&["for=192.0.2.1"][..], "192.0.2.1"),
            (
                &["for=192.0.2.66, For=\"192.0.2.1:80\";proto=https"],
                "192.0.2.1",
            ),
            (&["proto=http ; for=\"[2001:db8::7]:443\""], "2001:db8::7"),
            (&["for=192.0.2.1", "for=10.0.0.2;by=10.0.0.3"], "192.0.2.1"),
            (&["for=192.0.2.1, for=_hidden"], "10.0.0.1"),
            (&["for=192.0.2.1, for=unknown"], "10.0.0.1"),
            (&["for=192.0.2.1, proto=https"], "10.0.0.1"),
            (&["for=192.0.2.1;for=192.0.2.2"], "10.0.0.1"),
            (&["for=\"192.0.2.1"], "10.0.0.1"),
            (&["192.0.2.1"], "10.0.0.1"),
            (&["for=\"192.0.2.1,10.0.0.2\""], "10.0.0.1"),
        ] {
            let got = client("10.0.0.1:1", "forwarded", lines, TrustedField::Forwarded);
            assert_eq!(got, want, "{lines:?}");
        }
        let lines = &["192.0.2.1"][..];
        let got = client(
            "10.0.0.1:1",
            "x-forwarded-for",
            lines,
            TrustedField::Forwarded,
        );
        assert_eq!(got, "10.0.0.1", "the other field is not read");
    }

    #[test]
    fn the_service_is_told_what_is_known() {
        const FORGED: &str = "x-forwarded-for: 1.1.1.1|x-forwarded-proto: gopher|\
             x-forwarded-host: evil|forwarded: for=1.1.1.1";
        for (peer, field, fields, want) in [
            ("203.0.113.9:1", "x", "", "203.0.113.9|https|api.test|-"),
            ("203.0.113.9:1", "x", FORGED, "203.0.113.9|https|api.test|-"),
            ("10.0.0.1:1", "x", "", "10.0.0.1|https|api.test|-"),
            ("10.0.0.1:1", "x", FORGED, "1.1.1.1, 10.0.0.1|gopher|evil|-"),
            (
                "10.0.0.1:1",
                "x",
                "x-forwarded-for: a|x-forwarded-for: b",
                "a, b, 10.0.0.1|https|api.test|-",
            ),
            ("10.0.0.1:1", "f", FORGED, "1.1.1.1|gopher|evil|for=1.1.1.1"),
            ("", "x", FORGED, "1.1.1.1|gopher|evil|-"),
        ] {
            let proxies = proxies(if field == "x" {
                TrustedField::XForwardedFor
            } else {
                TrustedField::Forwarded
            });
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("api.test"));
            for field in fields.split('|').filter(|field| !field.is_empty()) {
                let (name, value) = field.split_once(": ").unwrap();
                headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            let sender = Sender::new(peer.parse().ok(), true, &proxies);
            let client = sender.client(&headers, &proxies);
            sender.tell(&mut headers, &Uri::from_static("/a"), client, proxies.field);
            let told = [
                X_FORWARDED_FOR,
                X_FORWARDED_PROTO,
                X_FORWARDED_HOST,
                FORWARDED,
            ];
            let told = told.map(|name| {
                assert!(headers.get_all(&name).iter().count() <= 1, "{name}");
                headers
                    .get(name)
                    .map_or("-", |value| value.to_str().unwrap())
            });
            assert_eq!(told.join("|"), want, "{peer} {fields}");
        }
    }

    fn client(peer: &str, name: &'static str, lines: &[&str], field: TrustedField) -> String {
        let proxies = proxies(field);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().unwrap());
        }
        let sender = Sender::new(peer.parse().ok(), false, &proxies);
        let client = sender.client(&headers, &proxies);
        client
            .address
            .map_or_else(String::new, |address| address.to_string())
    }

    fn proxies(field: TrustedField) -> Proxies {
        Proxies {
            networks: vec![crate::network::Network::parse("10.0.0.0/8").unwrap()],
            unix: true,
            field,
        }
    }
}
