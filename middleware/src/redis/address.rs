//! Where a store is, and how it is spoken to.

use std::fs;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

use super::connection::ConnectError;

/// An address, read.
pub(super) struct Address {
    /// The server, or those nodes of a Cluster that are asked for the others.
    pub(super) servers: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
    pub(super) confirmed: Option<Confirmed>,
}

/// How many replicas have to have a write before it counts, and how long they are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) replicas: u32,
    pub(super) within: Duration,
}

// === impl Address ===

impl Address {
    /// Reads it, and the file it names.
    pub(super) fn parse(address: &str) -> Result<Self, ConnectError> {
        let (kind, is_cluster, rest) = scheme(address).ok_or_else(no_address)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        if hosts.contains(',') && !is_cluster {
            return Err(no_address());
        }
        let options = Options::parse(query)?;
        let server = |host: &str| options.server(&format!("{kind}://{user}{host}{path}"));
        Ok(Self {
            servers: hosts.split(',').map(server).collect::<Result<_, _>>()?,
            is_cluster,
            confirmed: options.confirmed()?,
        })
    }
}

/// What follows the question mark.
#[derive(Default)]
struct Options {
    /// The certificates of who may sign the server's, instead of the system's.
    authorities: Option<Vec<u8>>,
    replicas: Option<u32>,
    within: Option<Duration>,
}

// === impl Options ===

impl Options {
    fn parse(query: &str) -> Result<Self, ConnectError> {
        let mut options = Self::default();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let unclear = || ConnectError::new(format!("its option {name} cannot be \"{value}\""));
            match name {
                "ca" => {
                    let unread = |fault| format!("its option ca names \"{value}\": {fault}");
                    let file = fs::read(value).map_err(|fault| ConnectError::new(unread(fault)))?;
                    options.authorities = Some(file);
                }
                "replicas" => options.replicas = Some(value.parse().map_err(|_| unclear())?),
                "within" => {
                    let millis = value.strip_suffix("ms").and_then(|text| text.parse().ok());
                    options.within = Some(Duration::from_millis(millis.ok_or_else(unclear)?));
                }
                _ => return Err(ConnectError::new(format!("it has no option \"{name}\""))),
            }
        }
        Ok(options)
    }

    fn confirmed(&self) -> Result<Option<Confirmed>, ConnectError> {
        match (self.replicas, self.within) {
            (Some(replicas), within) => Ok(Some(Confirmed {
                replicas,
                within: within.unwrap_or(WITHIN),
            })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(ConnectError::new("its option within needs replicas")),
        }
    }

    /// The fault of a parser may quote a password, and says no more than ours does.
    fn server(&self, address: &str) -> Result<ConnectionInfo, ConnectError> {
        let info = address.into_connection_info().map_err(|_| no_address())?;
        // Its name at the server would take one more permission.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info
            .set_redis_settings(settings)
            .set_tcp_settings(TcpSettings::default().set_user_timeout(GIVEN_UP));
        let is_encrypted = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        if !is_encrypted {
            return match self.authorities {
                Some(_) => Err(ConnectError::new("its option ca is for rediss:// only")),
                None => Ok(info),
            };
        }
        // Where the program has chosen none, it is the one of all its other connections.
        let _chosen_already = rustls::crypto::ring::default_provider().install_default();
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: self.authorities.clone(),
        };
        let client = Client::build_with_tls(info, certificates)
            .map_err(|cause| ConnectError::because("it cannot be used", cause))?;
        Ok(client.get_connection_info().clone())
    }
}

/// How the library calls it, whether it is a Cluster, and what follows.
fn scheme(address: &str) -> Option<(&'static str, bool, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    match scheme {
        "redis" => Some(("redis", false, rest)),
        "rediss" => Some(("rediss", false, rest)),
        "redis+cluster" => Some(("redis", true, rest)),
        "rediss+cluster" => Some(("rediss", true, rest)),
        _ => None,
    }
}

fn no_address() -> ConnectError {
    ConnectError::new("it is no address like \"redis://host:6379\"")
}

/// Half of what a claim has (contract §7).
const WITHIN: Duration = Duration::from_millis(100);

/// A connection that has acknowledged nothing for so long leads nowhere. Several times
/// what a lost packet costs.
const GIVEN_UP: Duration = Duration::from_secs(2);
