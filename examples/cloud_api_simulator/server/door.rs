//! The door of a plane: a socket that can stop listening, and keeps its port meanwhile.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use vestibule::clock::Timestamp;

use crate::fault::Effect;
use crate::simulator::Simulator;

/// An address, and who listens there.
#[derive(Debug)]
pub(super) struct Door {
    /// Bound and never listening: nobody else gets the port while the door is closed.
    foot: TcpSocket,
    /// Absent while connections are refused.
    listener: Option<TcpListener>,
}

// === impl Door ===

impl Door {
    /// Listens.
    pub(super) fn open(address: SocketAddr) -> io::Result<Self> {
        let open = || {
            let foot = bind(address)?;
            let listener = bind(foot.local_addr()?)?.listen(BACKLOG)?;
            Ok(Self {
                foot,
                listener: Some(listener),
            })
        };
        open().map_err(|error: io::Error| {
            io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.foot.local_addr()
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        match &self.listener {
            Some(listener) => Ok(listener.accept().await?.0),
            None => std::future::pending().await,
        }
    }

    /// Stays closed for as long as a fault says so, and is open afterwards.
    pub(super) async fn keep(&mut self, simulator: &Simulator) {
        while let Some(until) = closed_until(simulator) {
            self.listener = None;
            simulator.is_open.send_replace(false);
            tokio::select! {
                () = wait(simulator, until) => {}
                () = simulator.knock.notified() => {}
            }
        }
        if self.listener.is_none() {
            self.listener = self.listen_again();
        }
        simulator.is_open.send_replace(self.listener.is_some());
    }

    fn listen_again(&self) -> Option<TcpListener> {
        let listener = bind(self.address().ok()?).and_then(|socket| socket.listen(BACKLOG));
        listener
            .inspect_err(|error| tracing::error!(%error, "the door stays closed"))
            .ok()
    }
}

/// Sockets that are not listening may share an address.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn closed_until(simulator: &Simulator) -> Option<Option<Timestamp>> {
    let is_refusal = |effect: &Effect| matches!(effect, Effect::RefuseConnect { .. });
    let now = simulator.clock.now();
    let state = simulator.lock();
    state.faults.standing_until("", now, is_refusal)
}

async fn wait(simulator: &Simulator, until: Option<Timestamp>) {
    match until {
        Some(until) => simulator.clock.sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// As the standard library has it.
const BACKLOG: u32 = 1024;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    #[tokio::test]
    async fn a_closed_door_refuses_keeps_its_port_and_opens_again() {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let mut door = Door::open(any).unwrap();
        let address = door.address().unwrap();
        assert!(TcpStream::connect(address).await.is_ok());
        for _ in 0..2 {
            door.listener = None;
            let refused = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            door.listener = door.listen_again();
            assert!(TcpStream::connect(address).await.is_ok());
        }
    }

    #[tokio::test]
    async fn two_doors_cannot_have_one_address() {
        let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let door = Door::open(any).unwrap();
        let refused = Door::open(door.address().unwrap()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().contains("cannot listen on"));
    }
}
