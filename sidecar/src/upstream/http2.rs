//! HTTP/2 to the service: many requests on few connections.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::fault::{BoxError, Fault, Kind};

/// The connections to the service.
#[derive(Debug)]
pub(super) struct Pool {
    shared: Mutex<Vec<Shared>>,
    scheme: Scheme,
    /// Who is asked where a client has not said it.
    authority: Authority,
    /// How long a connection is kept of which nobody makes use.
    longest: Duration,
}

/// A connection, and one more than there are requests on it.
#[derive(Clone, Debug)]
struct Shared {
    sender: SendRequest<Outgoing>,
    under_way: Arc<()>,
    /// When the last request on it ended.
    used: Arc<Mutex<Instant>>,
}

/// One request and its answer.
pub(super) struct Stream {
    shared: Shared,
    sending: Option<mpsc::Sender<Piece>>,
    answer: Answer,
    patience: Option<Duration>,
}

enum Answer {
    Unasked,
    Awaited(BoxFuture<'static, Result<Response<Incoming>, TrySendError<Request<Outgoing>>>>),
    Body(Incoming),
}

/// The body of a request, as hyper asks for it.
#[derive(Debug)]
pub(super) enum Outgoing {
    Empty,
    Pieces(mpsc::Receiver<Piece>),
}

/// What is passed on to it. Without an end a request was broken off, and is reset.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Bytes),
    End,
}

/// The client's request was not sent to its end.
#[derive(Debug, thiserror::Error)]
#[error("the request was broken off")]
pub(super) struct BrokenOff;

// === impl Pool ===

impl Pool {
    pub(super) fn new(scheme: Scheme, authority: Authority, longest: Duration) -> Self {
        Self {
            shared: Mutex::default(),
            scheme,
            authority,
            longest,
        }
    }

    /// A place on a connection that is there.
    pub(super) fn take(&self) -> Option<Stream> {
        self.sweep();
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = |shared: &&Shared| Arc::strong_count(&shared.under_way) <= STREAMS;
        let found = shared.iter().find(has_room).cloned();
        found.map(Stream::new)
    }

    /// Closes what nobody has made use of for too long: it may be gone without a word.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|shared| {
            !shared.sender.is_closed() && (shared.is_busy() || now < shared.used() + self.longest)
        });
    }

    /// A place on a new connection, which later requests find too.
    pub(super) async fn open<I>(&self, io: I) -> hyper::Result<Stream>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            // A service that is gone without a word is noticed by its silence.
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .handshake(TokioIo::new(io))
            .await?;
        // What it ends with is told to its requests.
        tokio::spawn(connection);
        let shared = Shared {
            sender,
            under_way: Arc::new(()),
            used: Arc::new(Mutex::new(Instant::now())),
        };
        let stream = Stream::new(shared.clone());
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(shared);
        drop(all);
        Ok(stream)
    }

    /// The target in full, which takes the place of `Host`.
    pub(super) fn address(&self, head: &mut request::Parts) {
        let host = head.headers.remove(HOST);
        let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let mut target = std::mem::take(&mut head.uri).into_parts();
        target.scheme = Some(self.scheme.clone());
        target.authority = Some(authority.unwrap_or_else(|| self.authority.clone()));
        head.uri = Uri::from_parts(target).unwrap_or_default();
    }
}

// === impl Shared ===

impl Shared {
    fn is_busy(&self) -> bool {
        Arc::strong_count(&self.under_way) > 1
    }

    fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Stream ===

impl Drop for Stream {
    fn drop(&mut self) {
        let used = self.shared.used.lock();
        *used.unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Stream {
    fn new(shared: Shared) -> Self {
        Self {
            shared,
            sending: None,
            answer: Answer::Unasked,
            patience: None,
        }
    }

    /// How long the next part of the answer may take from here on.
    pub(super) fn wait(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Begins the request, whose head says whether it has a body.
    pub(super) fn send_head(&mut self, mut head: request::Parts) {
        let is_empty = head
            .headers
            .get(CONTENT_LENGTH)
            .is_none_or(|length| length == "0");
        let is_chunked = head.headers.remove(TRANSFER_ENCODING).is_some();
        head.version = http::Version::HTTP_2;
        let body = if is_chunked || !is_empty {
            let (sender, pieces) = mpsc::channel(1);
            self.sending = Some(sender);
            Outgoing::Pieces(pieces)
        } else {
            Outgoing::Empty
        };
        let request = Request::from_parts(head, body);
        let answer = self.shared.sender.try_send_request(request);
        self.answer = Answer::Awaited(Box::pin(answer));
    }

    /// Sends a piece of the body, as soon as the service takes it.
    pub(super) fn send(
        &self,
        piece: Piece,
        within: Duration,
    ) -> impl Future<Output = Result<(), Fault>> + Send + use<> {
        let sending = self.sending.clone();
        async move {
            let Some(sending) = sending else {
                return Ok(());
            };
            match timeout(within, sending.send(piece)).await {
                Ok(Ok(())) => Ok(()),
                // It takes no more: most often it has answered already.
                Ok(Err(_)) => Err(Fault::new(Kind::Cut)),
                Err(_) => Err(Fault::new(Kind::Slow)),
            }
        }
    }

    /// Waits for the head of the answer. May be called again when it was dropped.
    pub(super) async fn head(&mut self) -> Result<Response<()>, Fault> {
        let Answer::Awaited(answer) = &mut self.answer else {
            return Err(Fault::new(Kind::Unsent));
        };
        let answered = within(self.patience, answer).await?;
        let (head, body) = match answered {
            Ok(response) => response.into_parts(),
            Err(mut error) => {
                let is_unsent = error.take_message().is_some();
                let cause = error.into_error();
                let kind = if is_unsent {
                    Kind::Unsent
                } else {
                    kind(&cause)
                };
                return Err(Fault::because(kind, cause));
            }
        };
        self.answer = Answer::Body(body);
        Ok(Response::from_parts(head, ()))
    }

    /// The next piece of the answer. May be called again when it was dropped.
    pub(super) async fn body(&mut self) -> Result<Option<Bytes>, Fault> {
        let Answer::Body(body) = &mut self.answer else {
            return Ok(None);
        };
        loop {
            match within(self.patience, body.frame()).await? {
                None => return Ok(None),
                Some(Err(cause)) => return Err(Fault::because(kind(&cause), cause)),
                // The other side of the sidecar may speak HTTP/1.1, where trailers get lost.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
            }
        }
    }

    /// Whether the answer has been read to its end.
    pub(super) fn is_done(&self) -> bool {
        match &self.answer {
            Answer::Unasked | Answer::Awaited(_) => false,
            Answer::Body(body) => body.is_end_stream(),
        }
    }
}

async fn within<F: Future>(patience: Option<Duration>, wait: F) -> Result<F::Output, Fault> {
    match patience {
        None => Ok(wait.await),
        Some(patience) => {
            let waited = timeout(patience, wait).await;
            waited.map_err(|_| Fault::new(Kind::Slow))
        }
    }
}

/// What an error means for the request.
fn kind(error: &hyper::Error) -> Kind {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return match error.reason() {
                // RFC 9113 §8.7: it has not been processed.
                Some(h2::Reason::REFUSED_STREAM) => Kind::Unsent,
                // Told to streams that came after the last one that is (§6.8).
                Some(h2::Reason::NO_ERROR) if error.is_go_away() && error.is_remote() => {
                    Kind::Unsent
                }
                _ if error.is_library() => Kind::Malformed,
                _ => Kind::Cut,
            };
        }
        cause = error.source();
    }
    Kind::Cut
}

// === impl Outgoing ===

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self::Pieces(pieces) = &mut *self else {
            return Poll::Ready(None);
        };
        let piece = match ready!(pieces.poll_recv(cx)) {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::End) => None,
            None => Some(Err(BrokenOff.into())),
        };
        if !matches!(piece, Some(Ok(_))) {
            *self = Self::Empty;
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// As few as a service is asked to allow (RFC 9113 §6.5.2).
const STREAMS: usize = 100;

const PING: Duration = Duration::from_secs(10);
