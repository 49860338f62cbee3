//! Where connections come from, and how long each may take.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::config::Listen;

/// A bound address.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

// === impl Listener ===

impl Listener {
    /// Binds an address; a socket that a dead process left behind is replaced.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Listen::Unix(path) => {
                remove_dead_socket(path).await?;
                UnixListener::bind(path).map(Self::Unix)
            }
        }
    }

    /// The address, as it is written in the configuration; the port is the real one.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Self::Unix(listener) => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().unwrap_or_else(|| Path::new(""));
                Ok(format!("unix:{}", path.display()))
            }
        }
    }

    /// Serves until `shutdown`, and then until every request under way is answered, or
    /// the time for that is up.
    pub(crate) async fn serve(self, app: Router, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let open = GracefulShutdown::new();
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                let place = place.expect("nobody closes the semaphore");
                self.accept(place, &app, &open).await
            };
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                result = accepted => if let Err(cause) = result {
                    // Out of file handles, most likely: some will be given back.
                    warn!(?cause, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                },
            }
        }
        drop(self);
        if tokio::time::timeout(DRAIN, open.shutdown()).await.is_err() {
            warn!("connections were still open when the time to drain was up");
        }
    }

    async fn accept(
        &self,
        place: OwnedSemaphorePermit,
        app: &Router,
        open: &GracefulShutdown,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is written whole; waiting for more of it only costs time.
                let _ = stream.set_nodelay(true);
                tokio::spawn(connection(stream, app.clone(), open.watcher(), place));
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(connection(stream, app.clone(), open.watcher(), place));
            }
        }
        Ok(())
    }
}

async fn connection<I>(stream: I, app: Router, open: Watcher, place: OwnedSemaphorePermit)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut server = Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(HEAD);
    let service = TowerToHyperService::new(app);
    let served = server.serve_connection(TokioIo::new(stream), service);
    if let Err(cause) = open.watch(served.into_owned()).await {
        debug!(?cause, "a connection ended early");
    }
    drop(place);
}

/// A socket that nobody listens on is what a process leaves behind that was killed.
async fn remove_dead_socket(path: &Path) -> io::Result<()> {
    let is_dead = matches!(
        tokio::net::UnixStream::connect(path).await,
        Err(cause) if cause.kind() == io::ErrorKind::ConnectionRefused
    );
    if is_dead {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// As many as a pod has file handles for.
const CONNECTIONS_MAX: usize = 8192;

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// How long a request's head may take, the pause before it included: longer than the
/// pools of the proxies in front keep a connection, so that they close it first.
const HEAD: Duration = Duration::from_secs(75);

/// A request takes 30 s at most.
const DRAIN: Duration = Duration::from_secs(35);

const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
