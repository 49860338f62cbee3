//! A network between a client and a server, which can be cut.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Connections to a server through a port of its own, until it is dropped.
///
/// What is held back is not lost: as over TCP it arrives once the link is whole again.
#[derive(Debug)]
pub struct Link {
    /// Where it listens.
    pub address: SocketAddr,
    flow: watch::Sender<Flow>,
    accepting: AbortHandle,
}

/// What a link lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Everything.
    Whole,
    /// What the client sends, and none of the answers.
    NoAnswers,
    /// Nothing.
    Nothing,
}

// === impl Link ===

impl Link {
    /// A link to the server at this address.
    ///
    /// # Panics
    ///
    /// Where the loopback has no free port.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("the loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let (flow, seen) = watch::channel(Flow::Whole);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, seen.clone()));
            }
        });
        Self {
            address,
            flow,
            accepting: accepting.abort_handle(),
        }
    }

    /// Lets through only this from now on.
    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries one connection until one side closes it or the link is gone.
async fn carry(client: TcpStream, server: SocketAddr, flow: watch::Receiver<Flow>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        _ = pump(from_client, to_server, flow.clone(), &[Flow::Whole, Flow::NoAnswers]) => {}
        _ = pump(from_server, to_client, flow, &[Flow::Whole]) => {}
    }
}

/// Carries one direction; nothing where an end or the link is gone.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<Flow>,
    passes: &[Flow],
) -> Option<()> {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let count = from
            .read(&mut bytes)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        flow.wait_for(|flow| passes.contains(flow)).await.ok()?;
        to.write_all(&bytes[..count]).await.ok()?;
    }
}
