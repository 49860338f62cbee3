//! One connection from a client: hyper on a stream, with a bound on everything it waits for.
//!
//! | it waits for | bound |
//! |---|---|
//! | the whole handshake of TLS, where it is on | `first_byte` |
//! | the first byte of a new connection | `first_byte` |
//! | the whole head of a request, from its first byte | `head` |
//! | the next request on a kept connection | `idle` |
//! | the client to read its answer | `write` |
//! | the end of an answer, from the head of its request | `request` |
//!
//! HTTP/1.1, and HTTP/2 with prior knowledge where it is on, are told apart by the first
//! bytes. A head that is late is answered 408; whatever else is late is closed without a word.
//!
//! One of HTTP/1.1 that rests between two requests holds its stream and little else: what hyper
//! keeps for it is made anew with the next one.
//!
//! A connection that is to leave says so with an answer, `Connection: close` on HTTP/1.1 and
//! `GOAWAY` on HTTP/2, so that no client sends into its end. Only where the time for that is
//! over is an idle one closed.

mod http1;
mod late;
mod pace;
mod service;
mod stream;
pub(crate) mod tls;

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1 as hyper_http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tower_service::Service;
use vestibule::ErrorFormat;

use self::pace::{Bounds, Pace};
use self::service::Serve;
use self::stream::{Opening, Paced, Protocol};
use self::tls::Certificates;
use crate::config::{Config, Limits, Proxies, Timeouts};
use crate::gate::Leave;
use crate::newest::View;

/// Who is at the other end of a connection, in the extensions of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address; none on a Unix socket.
    pub address: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub is_encrypted: bool,
}

/// How connections are served.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    first_byte: Duration,
    bounds: Bounds,
    http1: hyper_http1::Builder,
    /// None where HTTP/2 is off.
    http2: Option<http2::Builder<TokioExecutor>>,
    /// None where connections are not encrypted.
    certificates: Option<Arc<Certificates>>,
    proxies: Arc<Proxies>,
    /// Of the one refusal that is made here.
    format: ErrorFormat,
}

/// What answers the requests of connections.
pub(crate) trait Stack:
    Service<
        Request<Incoming>,
        Response = Response<Self::Sent>,
        Error: Into<Box<dyn Error + Send + Sync>>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    /// The body of an answer.
    type Sent: http_body::Body<Data: From<Bytes> + Send, Error: Into<Box<dyn Error + Send + Sync>>>
        + Send
        + 'static;
}

/// A hyper connection of either version.
trait Connection: Future<Output = hyper::Result<()>> + Unpin {
    /// Takes no further request.
    fn close_gracefully(&mut self);
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By itself.
    Done,
    /// It was waited for longer than it may be.
    Overdue,
    /// It has none yet, and rests.
    Resting,
}

/// Why a connection was closed before a request was taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The client and TLS did not agree, or not in time.
    Tls,
    /// Others had all the places.
    TooMany,
}

// === impl Stack ===

impl<S, B> Stack for S
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data: From<Bytes> + Send> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Sent = B;
}

// === impl Http ===

impl Http {
    pub(crate) fn new(config: &Config) -> Self {
        let timeouts = &config.timeouts;
        Self {
            first_byte: timeouts.first_byte,
            bounds: Bounds {
                head: timeouts.head,
                idle: timeouts.idle,
                write: timeouts.write,
                request: timeouts.request,
            },
            http1: http1::builder(&config.limits),
            http2: config.http2.then(|| http2(&config.limits, timeouts)),
            certificates: None,
            proxies: Arc::new(config.proxies.clone()),
            format: config.error_format.writes_http1(),
        }
    }

    /// Encrypts connections.
    pub(crate) fn encrypted(mut self, certificates: Option<Arc<Certificates>>) -> Self {
        self.certificates = certificates;
        self
    }

    /// Serves a connection to its end.
    ///
    /// # Errors
    ///
    /// Where it was closed before it was encrypted.
    pub(crate) async fn serve<I, S>(
        &self,
        io: I,
        mut peer: Peer,
        stack: View<S>,
        leave: watch::Receiver<Leave>,
    ) -> Result<(), Refused>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Stack,
    {
        let Some(certificates) = &self.certificates else {
            self.serve_decrypted(io, peer, stack, leave).await;
            return Ok(());
        };
        // In a box, because the two ways together would be twice as large.
        let shaken = Box::pin(timeout(self.first_byte, tls::accept(certificates, io)));
        let shaken = tokio::select! {
            shaken = shaken => shaken,
            () = too_late(leave.clone()) => return Ok(()),
        };
        match shaken {
            Ok(Ok(io)) => {
                peer.is_encrypted = true;
                Box::pin(self.serve_decrypted(io, peer, stack, leave)).await;
                return Ok(());
            }
            // Whoever scans a network makes many of these.
            Ok(Err(cause)) => tracing::debug!(%cause, "a client and TLS do not agree"),
            Err(_) => {}
        }
        Err(Refused::Tls)
    }

    async fn serve_decrypted<I, S>(
        &self,
        mut io: I,
        peer: Peer,
        stack: View<S>,
        leave: watch::Receiver<Leave>,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Stack,
    {
        let Some((opening, protocol)) = self.open(&mut io, leave.clone()).await else {
            return;
        };
        let pace = Pace::new(protocol == Protocol::Http2, Instant::now());
        let serve = Serve::new(stack, peer, Arc::clone(&self.proxies), pace.clone());
        let io = Paced::new(io, opening.into_bytes(), pace.clone());
        match (protocol, &self.http2) {
            (Protocol::Http2, Some(http2)) => {
                let io = TokioIo::new(io);
                // In boxes: this future would have room for both protocols, for as long as
                // either lasts.
                let mut connection = Box::new(http2.serve_connection(io, serve));
                Box::pin(self.drive(&mut *connection, &pace, leave)).await;
            }
            _ => self.serve_http1(io, serve, &pace, leave).await,
        }
    }

    /// Waits for the first bytes; none where there is nothing to serve.
    async fn open<I: AsyncRead + Unpin>(
        &self,
        io: &mut I,
        leave: watch::Receiver<Leave>,
    ) -> Option<(Opening, Protocol)> {
        let first = timeout(self.first_byte, Opening::read(io));
        let mut opening = tokio::select! {
            first = first => first.ok()?.ok()?,
            () = too_late(leave) => return None,
        };
        if self.http2.is_none() {
            return Some((opening, Protocol::Http1));
        }
        let settled = timeout(self.bounds.head, opening.settle(io)).await;
        let protocol = settled.ok()?.ok()?;
        Some((opening, protocol))
    }

    async fn drive<C: Connection>(
        &self,
        connection: &mut C,
        pace: &Pace,
        leave: watch::Receiver<Leave>,
    ) -> End {
        // A client of HTTP/2 that is sent away comes back at once. Where connections are
        // still taken, one that has come back stays until they are not.
        let away = if pace.is_multiplexed() && *leave.borrow() == Leave::Stay {
            Leave::AfterAnswer
        } else {
            Leave::Now
        };
        let mut overdue = pin!(self.overdue(pace));
        let mut last = pin!(Leave::AfterAnswer.reached(leave.clone()));
        let mut end = pin!(away.reached(leave));
        let (mut is_last, mut told) = (false, false);
        std::future::poll_fn(|cx| {
            if !is_last && last.as_mut().poll(cx).is_ready() {
                is_last = true;
                pace.leave();
            }
            // What a connection ends with is the client's affair; its requests were logged.
            if Pin::new(&mut *connection).poll(cx).is_ready() {
                return Poll::Ready(End::Done);
            }
            if is_last && !told && end.as_mut().poll(cx).is_ready() {
                told = true;
                connection.close_gracefully();
                if Pin::new(&mut *connection).poll(cx).is_ready() {
                    return Poll::Ready(End::Done);
                }
            }
            overdue.as_mut().poll(cx)
        })
        .await
    }

    /// Ends when the connection has waited for something longer than it may, or rests.
    fn overdue<'a>(&'a self, pace: &'a Pace) -> impl Future<Output = End> + 'a {
        let look_again = if pace.is_multiplexed() {
            self.bounds.idle
        } else {
            RESTS_AFTER
        };
        let mut alarm = Box::pin(tokio::time::sleep(look_again));
        std::future::poll_fn(move |cx: &mut Context<'_>| {
            if let Some(due) = pace.due(&self.bounds)
                && due < alarm.deadline()
            {
                alarm.as_mut().reset(due);
            }
            // The alarm is moved forward only when it rings, not with every request.
            while alarm.as_mut().poll(cx).is_ready() {
                let now = Instant::now();
                let due = pace.due(&self.bounds);
                if due.is_some_and(|due| due <= now) {
                    return Poll::Ready(End::Overdue);
                }
                let rests_at = pace.rests_since().map(|since| since + RESTS_AFTER);
                if rests_at.is_some_and(|rests_at| rests_at <= now) {
                    return Poll::Ready(End::Resting);
                }
                let next = rests_at.unwrap_or(now + look_again);
                alarm.as_mut().reset(due.map_or(next, |due| due.min(next)));
            }
            Poll::Pending
        })
    }
}

impl<I, B, S> Connection for hyper_http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn close_gracefully(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

impl<I, B, S, E> Connection for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    B: http_body::Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, B>,
{
    fn close_gracefully(&mut self) {
        Pin::new(self).graceful_shutdown();
    }
}

/// Ends when a connection that has said nothing yet is not to be waited for any longer.
async fn too_late(leave: watch::Receiver<Leave>) {
    let fresh_until = Instant::now() + FRESH;
    Leave::Now.reached(leave).await;
    tokio::time::sleep_until(fresh_until).await;
}

fn http2(limits: &Limits, timeouts: &Timeouts) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let head_max = u32::try_from(limits.head_max).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(head_max)
        .max_send_buf_size(SEND_BUFFER)
        // A client that is gone without a word is noticed by its silence.
        .keep_alive_interval(timeouts.write)
        .keep_alive_timeout(timeouts.write);
    builder
}

/// A connection as young as this is waited for even at the end: its client has not had the
/// time to send.
const FRESH: Duration = Duration::from_secs(1);

/// Long enough that a client which goes on at once is not waited for with what hyper holds
/// anew, and short enough that the others cost no memory.
const RESTS_AFTER: Duration = Duration::from_secs(1);

/// Bytes of an answer that one HTTP/2 stream may hold while its client does not read.
const SEND_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests;
