//! A listening socket, bound before anything else starts, so that a fault is told at once.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

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

/// The name of a Unix socket, taken away with this. The listener may outlive whoever serves
/// by a moment, and would look to the next one like a process that still runs.
#[derive(Debug)]
pub(crate) struct Name {
    path: PathBuf,
    /// Another process may have taken the name over meanwhile.
    file: (u64, u64),
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
            Address::Unix(path) => Ok(Self {
                address: address.clone(),
                listener: Listener::Unix(bind_unix(path, mode)?),
                mode,
            }),
        }
    }

    /// Takes over a socket that listens, where it does so at this address.
    pub(crate) fn inherit(socket: OwnedFd, address: &Address, mode: u32) -> Option<Self> {
        let (address, listener) = match address {
            Address::Tcp(wanted) => {
                let listener = TcpListener::from(socket);
                let has = listener.local_addr().ok()?;
                let is_it = has == *wanted || (wanted.port() == 0 && has.ip() == wanted.ip());
                (is_it.then_some(Address::Tcp(has))?, Listener::Tcp(listener))
            }
            Address::Unix(path) => {
                let listener = UnixListener::from(socket);
                let is_it = listener.local_addr().ok()?.as_pathname() == Some(path);
                (is_it.then(|| address.clone())?, Listener::Unix(listener))
            }
        };
        Some(Self {
            address,
            listener,
            mode,
        })
    }

    /// The same socket, for whoever holds it beside the one who accepts.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            address: self.address.clone(),
            listener: match &self.listener {
                Listener::Tcp(listener) => Listener::Tcp(listener.try_clone()?),
                Listener::Unix(listener) => Listener::Unix(listener.try_clone()?),
            },
            mode: self.mode,
        })
    }

    /// The descriptor, for whoever passes it on.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.listener {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Its name, where it is a Unix socket.
    pub(crate) fn name(&self) -> Option<Name> {
        match &self.address {
            Address::Unix(path) => Name::of(path),
            Address::Tcp(_) => None,
        }
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

// === impl Name ===

impl Name {
    /// The name of the socket that listens there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        Some(Self {
            path: path.to_owned(),
            file: file(path)?,
        })
    }

    /// The socket goes on under this name, in another process.
    pub(crate) fn leave(mut self) {
        self.file = NONE;
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if file(&self.path) == Some(self.file) {
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

/// Listens on a Unix socket whose mode says who may connect.
pub(crate) fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
    Ok(listener)
}

/// No file has it.
const NONE: (u64, u64) = (u64::MAX, u64::MAX);

fn file(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_inherited_where_it_listens_at_that_address() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let other = folder.path().join("b.sock");
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        let bound = Socket::bind(&tcp("127.0.0.1:0"), EVERYBODY).unwrap();
        let unix = Socket::bind(&Address::Unix(path.clone()), OWNER).unwrap();
        let exact = bound.address().clone();
        for (socket, address, want) in [
            (&bound, exact, true),
            (&bound, tcp("127.0.0.1:0"), true),
            (&bound, tcp("127.0.0.1:1"), false),
            (&bound, tcp("0.0.0.0:0"), false),
            (&bound, Address::Unix(path.clone()), false),
            (&unix, Address::Unix(path), true),
            (&unix, Address::Unix(other), false),
            (&unix, tcp("127.0.0.1:0"), false),
        ] {
            let descriptor = socket.as_fd().try_clone_to_owned().unwrap();
            let inherited = Socket::inherit(descriptor, &address, OWNER);
            assert_eq!(inherited.is_some(), want, "{address}");
        }
    }

    #[test]
    fn a_name_that_is_left_to_an_heir_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let socket = Socket::bind(&Address::Unix(path.clone()), OWNER).unwrap();
        socket.name().unwrap().leave();
        assert!(path.exists());
        drop(socket.name());
        assert!(!path.exists());
    }
}
