//! A listening socket, bound before anything else starts, so that a fault is told at once.

use std::io;
use std::net::TcpListener;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::config::Address;

/// A socket that listens, and where.
#[derive(Debug)]
pub(crate) struct Socket {
    address: Address,
    listener: Listener,
    mode: u32,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Whoever shares the folder may connect, as whoever reaches a port may.
pub(crate) const EVERYBODY: u32 = 0o666;

/// Whoever may change keys is who started the process.
pub(crate) const OWNER: u32 = 0o600;

// === impl Socket ===

impl Socket {
    /// Listens. Port 0 is replaced by the port that the system chose.
    /// Who may connect to a Unix socket, its mode says.
    pub(crate) fn bind(address: &Address, mode: u32) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self {
                    address: Address::Tcp(listener.local_addr()?),
                    listener: Listener::Tcp(listener),
                    mode,
                })
            }
            Address::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                listener.set_nonblocking(true)?;
                std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
                Ok(Self {
                    address: address.clone(),
                    listener: Listener::Unix(listener),
                    mode,
                })
            }
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Who may connect, where it is a Unix socket.
    pub(crate) const fn mode(&self) -> u32 {
        self.mode
    }

    /// Gives the descriptor to whoever accepts on it.
    pub(crate) fn into_raw_fd(self) -> RawFd {
        match self.listener {
            Listener::Tcp(listener) => listener.into_raw_fd(),
            Listener::Unix(listener) => listener.into_raw_fd(),
        }
    }
}

/// Removes the socket that a process left behind; one that still answers is left alone.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}
