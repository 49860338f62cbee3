//! The hand-over of the listening sockets to a new process, without a moment in which
//! nobody listens.
//!
//! The running process listens on a Unix socket of its own (`upgrade_sock`), which nobody
//! but its owner may open. The new one, started with `--upgrade`, connects to it:
//!
//! | who | says |
//! |---|---|
//! | the new one | its version of these words, and a digest of the store's address |
//! | the running one | `take`, with the sockets beside it, or `no` and the reason |
//! | the new one | `ready`, once its stack is built and requests can be served |
//!
//! Until `ready` the running process serves on by itself; where the new one ends before, it
//! was a failed start and nothing has happened. From `ready` on the new one accepts, and
//! the old one brings its connections to their end. The waiting connections are shared,
//! because the sockets are: none is lost between the two.

use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};
use tokio::time::timeout;

use crate::config::{ADMIN_MAX, Config};
use crate::lifecycle::{Lifecycle, Order};
use crate::socket::Socket;

/// What one process can leave to the next.
#[derive(Debug)]
pub(crate) struct Heritage {
    listener: UnixListener,
    /// In this order: for clients, for health.
    sockets: Vec<Socket>,
    hello: String,
    /// Who is to be told that this process can serve.
    predecessor: Option<UnixStream>,
}

/// What a process has taken over, before it is ready.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) edge: OwnedFd,
    pub(crate) admin: Vec<OwnedFd>,
    listener: UnixListener,
    predecessor: UnixStream,
    hello: String,
}

// === impl Inherited ===

impl Inherited {
    /// Takes the sockets of the process that runs. It blocks, within a bound.
    pub(crate) fn take(path: &Path, config: &Config) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let hello = hello(config);
        (&stream).write_all(hello.as_bytes())?;
        let (said, sockets) = receive(&stream)?;
        let said = said.trim_end();
        if let Some(reason) = said.strip_prefix(NO) {
            return Err(io::Error::other(format!("it says: {reason}")));
        }
        let mut sockets = sockets.into_iter();
        let (Some(listener), Some(edge)) = (sockets.next(), sockets.next()) else {
            return Err(io::Error::other("it gave no sockets"));
        };
        Ok(Self {
            edge,
            admin: sockets.collect(),
            listener: listener.into(),
            predecessor: stream,
            hello,
        })
    }
}

// === impl Heritage ===

impl Heritage {
    /// The first process of a line of heirs.
    pub(crate) fn new(listener: UnixListener, config: &Config) -> Self {
        Self {
            listener,
            sockets: Vec::new(),
            hello: hello(config),
            predecessor: None,
        }
    }

    /// A process that has inherited itself, and its sockets.
    pub(crate) fn of(inherited: Inherited) -> (Self, OwnedFd, Vec<OwnedFd>) {
        let heritage = Self {
            listener: inherited.listener,
            sockets: Vec::new(),
            hello: inherited.hello,
            predecessor: Some(inherited.predecessor),
        };
        (heritage, inherited.edge, inherited.admin)
    }

    /// Leaves these too.
    pub(crate) fn add(&mut self, socket: &Socket) -> io::Result<()> {
        self.sockets.push(socket.try_clone()?);
        Ok(())
    }

    /// Tells the predecessor to end as soon as this process serves, and then waits for an
    /// heir of its own. It ends when there is one, or when nothing is left to be inherited.
    pub(crate) async fn pass_on(mut self, life: &Lifecycle) {
        life.started().await;
        if !life.has_served() {
            // It will never be ready; the predecessor serves on.
            return;
        }
        if let Some(predecessor) = self.predecessor.take() {
            match (&predecessor).write_all(READY.as_bytes()) {
                Ok(()) => tracing::info!("the listening sockets have been taken over"),
                Err(cause) => tracing::warn!(%cause, "the process before this one has gone"),
            }
        }
        let mut closed = life.edge().closed();
        tokio::select! {
            () = self.await_heir(life) => life.tell(Order::HandOver),
            // The sockets that are kept here must not outlive those that are served.
            _ = closed.wait_for(|closed| *closed) => {}
        }
    }

    async fn await_heir(&self, life: &Lifecycle) {
        let listener = self.listener.try_clone();
        let listener = listener.and_then(tokio::net::UnixListener::from_std);
        let listener = match listener {
            Ok(listener) => listener,
            Err(cause) => {
                tracing::error!(%cause, "this process can hand nothing over");
                return std::future::pending().await;
            }
        };
        loop {
            let served = match listener.accept().await {
                Ok((stream, _)) => self.serve(stream, life).await,
                Err(cause) => Err(cause),
            };
            match served {
                Ok(()) => return,
                Err(cause) => {
                    tracing::warn!(%cause, "nothing was handed over; this process serves on")
                }
            }
            // An error of the system may come again at once.
            tokio::time::sleep(BETWEEN).await;
        }
    }

    /// Ends well when the heir is ready.
    async fn serve(&self, stream: tokio::net::UnixStream, life: &Lifecycle) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let hello = timeout(PATIENCE, line(&mut stream)).await??;
        if hello != self.hello {
            let reason = "no its store, or its version of this exchange, is another one\n";
            stream.get_mut().write_all(reason.as_bytes()).await?;
            return Err(io::Error::other(
                "the new process has another store or version",
            ));
        }
        let sockets = self.sockets.iter().map(Socket::as_fd);
        let sockets: Vec<_> = std::iter::once(self.listener.as_fd())
            .chain(sockets)
            .collect();
        stream.get_ref().writable().await?;
        let sent = stream
            .get_ref()
            .try_io(Interest::WRITABLE, || send(stream.get_ref(), &sockets));
        sent?;
        tracing::info!("a new process takes over as soon as it is ready");
        // Should this process end meanwhile, the names of the sockets are the other's.
        life.share(true);
        if line(&mut stream).await.is_ok_and(|line| line == READY) {
            return Ok(());
        }
        life.share(false);
        Err(io::Error::other(
            "the new process ended before it was ready",
        ))
    }
}

/// A line, with its end; an empty one where the other side is gone.
async fn line(stream: &mut BufReader<tokio::net::UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line)
}

fn send(stream: impl AsFd, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let fits = beside.push(SendAncillaryMessage::ScmRights(sockets));
    assert!(fits, "there are no more sockets than this");
    let text = [IoSlice::new(TAKE.as_bytes())];
    sendmsg(stream, &text, &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 256];
    let into = &mut [IoSliceMut::new(&mut text)];
    let received = recvmsg(stream, into, &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let sockets = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
        _ => None,
    });
    let sockets = sockets.flatten().collect();
    let text = String::from_utf8_lossy(&text[..received.bytes]).into_owned();
    Ok((text, sockets))
}

/// Two processes that overlap must see one another's claims. An address may hold a password.
fn hello(config: &Config) -> String {
    let counters = config.counters.as_ref().map(|counters| &*counters.address);
    let stores = format!("{}\n{}", config.store.address, counters.unwrap_or(""));
    let digest = hex::encode(Sha256::digest(stores));
    format!("vestibule upgrade 1 {digest}\n")
}

const TAKE: &str = "take\n";
const NO: &str = "no ";
const READY: &str = "ready\n";

/// The one of the hand-over itself, that for clients, those for health.
const SOCKETS: usize = 2 + ADMIN_MAX;

/// For one word between two processes of one machine.
const PATIENCE: Duration = Duration::from_secs(10);

const BETWEEN: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::{Address, Drain};
    use crate::socket::EVERYBODY;

    #[tokio::test]
    async fn an_heir_takes_the_sockets_and_the_running_process_learns_when_it_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let (path, life, edge) = running(&folder, "redis://one");
        let passed = tokio::spawn({
            let life = std::sync::Arc::clone(&life.0);
            async move { life_passes(life, edge).await }
        });
        let inherited = take(&path, "redis://one").await.unwrap();
        let listener = TcpListener::from(inherited.edge.try_clone().unwrap());
        assert_eq!(listener.local_addr().unwrap(), life.1);
        assert!(!life.0.is_handed_over(), "the heir is not ready");
        let (heritage, _, _) = Heritage::of(inherited);
        let heir = Lifecycle::new(Drain::default());
        heir.ready();
        let heir = tokio::spawn(async move { heritage.pass_on(&heir).await });
        passed.await.unwrap();
        assert!(life.0.is_handed_over());
        heir.abort();
    }

    #[tokio::test]
    async fn an_heir_that_ends_early_changes_nothing_and_the_next_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let (path, life, edge) = running(&folder, "redis://one");
        let passed = tokio::spawn({
            let life = std::sync::Arc::clone(&life.0);
            async move { life_passes(life, edge).await }
        });
        drop(take(&path, "redis://one").await.unwrap());
        let refused = take(&path, "redis://other").await.unwrap_err();
        assert!(refused.to_string().contains("its store"), "{refused}");
        assert!(!life.0.has_heir() && !passed.is_finished());
        let inherited = take(&path, "redis://one").await.unwrap();
        (&inherited.predecessor)
            .write_all(READY.as_bytes())
            .unwrap();
        passed.await.unwrap();
        assert!(life.0.is_handed_over());
    }

    async fn life_passes(life: std::sync::Arc<Lifecycle>, heritage: Heritage) {
        heritage.pass_on(&life).await;
    }

    type Life = (std::sync::Arc<Lifecycle>, std::net::SocketAddr);

    fn running(folder: &tempfile::TempDir, store: &str) -> (std::path::PathBuf, Life, Heritage) {
        let path = folder.path().join("upgrade.sock");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let edge = Socket::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap()), EVERYBODY).unwrap();
        let mut heritage = Heritage::new(listener, &config(store));
        heritage.add(&edge).unwrap();
        let Address::Tcp(address) = *edge.address() else {
            panic!("it has a port")
        };
        let life = Lifecycle::new(Drain::default());
        life.ready();
        (path, (life, address), heritage)
    }

    async fn take(path: &Path, store: &str) -> io::Result<Inherited> {
        let (path, config) = (path.to_owned(), config(store));
        let taken = tokio::task::spawn_blocking(move || Inherited::take(&path, &config));
        taken.await.unwrap()
    }

    fn config(store: &str) -> Config {
        let text = format!(
            "listen = '127.0.0.1:0'\nupstream = '127.0.0.1:1'\nstore = '{store}'\n[[route]]\nmatch = 'GET /'"
        );
        Config::parse("test.toml", &text).unwrap()
    }
}
