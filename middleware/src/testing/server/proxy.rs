//! A link that is sick: a proxy between a client and a server, broken as a test says.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What happens to what a server sends, and to the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sickness {
    /// Nothing: it is passed on as it comes.
    #[default]
    None,
    /// It is passed on this much later.
    Delays(Duration),
    /// It is swallowed, and so is what the client sends; the connection stays open, and
    /// leads nowhere even when the link is well again.
    Swallows,
    /// The connection is reset before the server hears anything of what is sent next.
    ResetsBefore,
    /// The connection is reset when the server has replied, before the client hears of it.
    ResetsInstead,
    /// The connection is reset in the middle of the reply.
    ResetsWithin,
    /// The connection is reset after the reply.
    ResetsAfter,
    /// The connection is closed in the middle of the reply.
    Truncates,
    /// Other bytes are sent in its place.
    Garbles,
    /// One byte of it is passed on a second.
    Drips,
}

/// A proxy on a port of its own. It ends with this, and its connections with it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    sickness: watch::Sender<Sickness>,
    opened: Arc<AtomicUsize>,
    listening: JoinHandle<()>,
}

// === impl FaultProxy ===

impl FaultProxy {
    /// A link to this server that works until it is broken.
    ///
    /// # Panics
    ///
    /// Where no port is free.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let (sickness, seen) = watch::channel(Sickness::None);
        let opened = Arc::<AtomicUsize>::default();
        Self {
            address: listener.local_addr().expect("it is bound"),
            sickness,
            opened: Arc::clone(&opened),
            listening: tokio::spawn(listen(listener, server, seen, opened)),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks the link, for connections that are open too, or heals it.
    pub fn set(&self, sickness: Sickness) {
        self.sickness.send_replace(sickness);
    }

    /// How many connections have been opened through it.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::Acquire)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(
    listener: TcpListener,
    server: SocketAddr,
    seen: watch::Receiver<Sickness>,
    opened: Arc<AtomicUsize>,
) {
    // They end with the listener.
    let mut links = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        opened.fetch_add(1, Ordering::AcqRel);
        links.spawn(link(client, server, seen.clone()));
        while links.try_join_next().is_some() {}
    }
}

async fn link(client: TcpStream, server: SocketAddr, seen: watch::Receiver<Sickness>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    // A reset is what closing does where nothing is to be waited for.
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = ask(from_client, to_server, seen.clone()) => {}
        () = answer(from_server, to_client, seen) => {}
    }
}

async fn ask(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    seen: watch::Receiver<Sickness>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = client.read(&mut bytes).await {
        let sickness = *seen.borrow();
        match sickness {
            Sickness::Swallows => return pending().await,
            Sickness::ResetsBefore => return reset(client.as_ref()),
            _ => {}
        }
        if server.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

async fn answer(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    seen: watch::Receiver<Sickness>,
) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = server.read(&mut bytes).await {
        let sickness = *seen.borrow();
        let (whole, half) = (&bytes[..length], &bytes[..length / 2]);
        let sent = match sickness {
            Sickness::None | Sickness::ResetsBefore => client.write_all(whole).await,
            Sickness::Delays(by) => {
                sleep(by).await;
                client.write_all(whole).await
            }
            Sickness::Swallows => return pending().await,
            Sickness::ResetsInstead => return reset(client.as_ref()),
            Sickness::ResetsWithin => {
                let _sent = client.write_all(half).await;
                return reset(client.as_ref());
            }
            Sickness::ResetsAfter => {
                let _sent = client.write_all(whole).await;
                return reset(client.as_ref());
            }
            Sickness::Truncates => {
                let _sent = client.write_all(half).await;
                return;
            }
            Sickness::Garbles => client.write_all(&[b'?'; 64]).await,
            Sickness::Drips => drip(&mut client, whole).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn drip(client: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    for byte in bytes {
        client.write_all(&[*byte]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Has its closing tell the other side that the connection is void.
fn reset(stream: &TcpStream) {
    let _set = stream.set_zero_linger();
}
