//! The sockets of a process: bound, or taken over from the process before it.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::{Address, Config, ConfigError, Place};
use crate::handover::{Heritage, Inherited};
use crate::socket::{EVERYBODY, Name, OWNER, Socket, bind_unix};
use crate::start::StartError;

/// Where a process listens.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) edge: Socket,
    pub(crate) admin: Vec<Socket>,
    /// Those of its Unix sockets.
    pub(crate) names: Vec<Name>,
    /// Where it can hand them over.
    pub(crate) heritage: Option<Heritage>,
}

// === impl Sockets ===

impl Sockets {
    /// Binds them all.
    pub(crate) fn bind(config: &Config) -> Result<Self, StartError> {
        let heritage = match &config.upgrade_sock {
            Some(path) => {
                let listener = bind_unix(path, OWNER);
                let listener = listener.map_err(|source| StartError::Listen {
                    address: Address::Unix(path.clone()),
                    source,
                })?;
                Some(Heritage::new(listener, config))
            }
            None => None,
        };
        Self::open(config, heritage, None, Vec::new())
    }

    /// Takes over those of the running process. One whose address has changed is bound.
    pub(crate) fn take_over(config: &Config) -> Result<Self, StartError> {
        let Some(path) = &config.upgrade_sock else {
            let text = "'upgrade_sock' is missing; --upgrade finds the running process by it";
            return Err(ConfigError::at(&Place::file(&config.file), text).into());
        };
        let inherited = Inherited::take(path, config);
        let inherited = inherited.map_err(|source| StartError::Upgrade {
            path: path.clone(),
            source,
        })?;
        let (heritage, edge, admin) = Heritage::of(inherited);
        Self::open(config, Some(heritage), Some(edge), admin)
    }

    fn open(
        config: &Config,
        mut heritage: Option<Heritage>,
        edge: Option<OwnedFd>,
        mut inherited: Vec<OwnedFd>,
    ) -> Result<Self, StartError> {
        let edge = socket(&config.listen, EVERYBODY, edge)?;
        // In their order; one that is not inherited is bound.
        inherited.reverse();
        let admin: Vec<Socket> = config
            .admin
            .iter()
            .map(|address| socket(address, OWNER, inherited.pop()))
            .collect::<Result<_, _>>()?;
        let sockets = std::iter::once(&edge).chain(&admin);
        for socket in sockets.clone() {
            if let Some(heritage) = &mut heritage {
                heritage.add(socket).map_err(|source| StartError::Listen {
                    address: socket.address().clone(),
                    source,
                })?;
            }
        }
        let upgrade = config.upgrade_sock.as_deref().map(Path::new);
        let names = sockets
            .filter_map(Socket::name)
            .chain(upgrade.and_then(Name::of))
            .collect();
        Ok(Self {
            edge,
            admin,
            names,
            heritage,
        })
    }
}

fn socket(address: &Address, mode: u32, inherited: Option<OwnedFd>) -> Result<Socket, StartError> {
    if let Some(socket) = inherited.and_then(|socket| Socket::inherit(socket, address, mode)) {
        return Ok(socket);
    }
    Socket::bind(address, mode).map_err(|source| StartError::Listen {
        address: address.clone(),
        source,
    })
}
