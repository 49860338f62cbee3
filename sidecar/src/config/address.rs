//! Where the sidecar listens, and where the service behind it does.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `127.0.0.1:8080`; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// `unix:/run/pod/api.sock`.
    Unix(PathBuf),
}

/// The service behind the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `127.0.0.1:9000`, or a name that is looked up once, when the sidecar starts.
    Tcp(String),
    /// `https://app:9000`: the same, over TLS.
    Tls(String),
    /// `unix:/run/pod/app.sock`.
    Unix(PathBuf),
}

// === impl Address ===

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str =
            "an address like \"0.0.0.0:8080\", \"[::]:8080\" or \"unix:/run/pod/api.sock\"";
        match socket_path(text) {
            Some(path) => path.map(Self::Unix).ok_or(WANTED),
            None => text.parse().map(Self::Tcp).map_err(|_| WANTED),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

// === impl Target ===

impl Target {
    /// What is expected where it is none.
    pub(super) const WANTED: &str = "a service like \"127.0.0.1:9000\", \"http://app:9000\", \
        \"https://app:9443\" or \"unix:/run/pod/app.sock\"";

    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = socket_path(text) {
            return path.map(Self::Unix).ok_or(Self::WANTED);
        }
        let encrypted = text.strip_prefix("https://");
        let authority = encrypted.unwrap_or_else(|| text.strip_prefix("http://").unwrap_or(text));
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or(Self::WANTED)?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        if host.is_empty() || host.contains(['/', '@']) || !is_port {
            return Err(Self::WANTED);
        }
        let authority = authority.to_owned();
        Ok(match encrypted {
            Some(_) => Self::Tls(authority),
            None => Self::Tcp(authority),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => f.write_str(authority),
            Self::Tls(authority) => write!(f, "https://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The path of `unix:/path`: none without that prefix, an inner none where it is not absolute.
fn socket_path(text: &str) -> Option<Option<PathBuf>> {
    let path = text.strip_prefix("unix:")?;
    Some(path.starts_with('/').then(|| PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_address_or_an_absolute_path() {
        for (given, want) in [
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("unix:/run/a.sock", Some("unix:/run/a.sock")),
            ("unix:a.sock", None),
            ("localhost:80", None),
            ("127.0.0.1", None),
            (":80", None),
        ] {
            let parsed = Address::parse(given).ok().map(|it| it.to_string());
            assert_eq!(parsed.as_deref(), want, "{given}");
        }
    }

    #[test]
    fn a_target_is_host_and_port_or_an_absolute_path() {
        for (given, want) in [
            ("127.0.0.1:9000", Some("127.0.0.1:9000")),
            ("http://app:9000", Some("app:9000")),
            ("http://app:9000/", Some("app:9000")),
            ("[::1]:9000", Some("[::1]:9000")),
            ("unix:/run/a.sock", Some("unix:/run/a.sock")),
            ("https://app:9443", Some("https://app:9443")),
            ("https://app", None),
            ("https://http://app:9443", None),
            ("http://app:9000/v1", None),
            ("http://user@app:9000", None),
            ("app", None),
            ("app:0", None),
            (":9000", None),
            ("unix:a", None),
        ] {
            let parsed = Target::parse(given).ok().map(|it| it.to_string());
            assert_eq!(parsed.as_deref(), want, "{given}");
        }
    }
}
