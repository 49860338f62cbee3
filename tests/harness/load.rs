//! Clients that never pause: they send while something happens to the servers, and count
//! what became of each request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::keys::token;
use crate::{PATIENCE, eventually};

/// Clients that are sending.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<Tally>,
}

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1, one request after the other on a connection that is kept.
    Kept,
    /// HTTP/1.1, each request on a connection of its own.
    Fresh,
    /// HTTP/2, four requests at a time on one connection.
    Streams,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Tally {
    /// Answered as they should be.
    pub answered: usize,
    /// Not answered, or otherwise; each with its reason.
    pub failed: Vec<String>,
    /// Told that nothing was executed and to come again, because a machine that is busy is
    /// late with everything; they came again.
    pub deferred: usize,
    /// Connections that were made.
    pub connections: usize,
    /// Answers that said that their connection ends.
    pub farewells: usize,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    next: AtomicUsize,
    /// The numbers of those that are to come again.
    again: Mutex<Vec<usize>>,
    answered: AtomicUsize,
    target: watch::Receiver<SocketAddr>,
}

/// A connection of either version.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

type Sent = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>;

// === impl Load ===

impl Load {
    /// Starts so many clients of each kind. Each new connection goes where the target says.
    pub fn start(target: watch::Receiver<SocketAddr>, kinds: &[(Speaks, usize)]) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            next: AtomicUsize::new(0),
            again: Mutex::default(),
            answered: AtomicUsize::new(0),
            target,
        });
        let mut clients = JoinSet::new();
        for (speaks, count) in kinds {
            for _ in 0..*count {
                clients.spawn(run(Arc::clone(&shared), *speaks));
            }
        }
        Self { shared, clients }
    }

    /// Waits until so many more requests have been answered.
    pub async fn answers(&self, more: usize) {
        let answered = || self.shared.answered.load(Ordering::Relaxed);
        let enough = answered() + more;
        eventually("requests are answered", || answered() >= enough).await;
    }

    /// Lets each client end after its answer.
    ///
    /// # Panics
    ///
    /// Where a client waits for ever.
    pub async fn end(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        while let Some(tally) = self.clients.join_next().await {
            all.add(tally.expect("a client has its waits bounded"));
        }
        all
    }
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed.extend(other.failed);
        self.deferred += other.deferred;
        self.connections += other.connections;
        self.farewells += other.farewells;
    }

    async fn count(&mut self, (number, sent): (usize, Sent), shared: &Shared) {
        let response = match sent {
            Ok(response) => response,
            Err(mut error) => {
                // One that was never sent is sent again, by any client.
                match error.take_message() {
                    Some(_) => shared.again().push(number),
                    None => self.failed.push(format!("{:?}", error.into_error())),
                }
                return;
            }
        };
        let status = response.status();
        let says = response.headers().get("connection");
        self.farewells += usize::from(says.is_some_and(|says| says == "close"));
        match response.into_body().collect().await {
            Ok(_) if status == 201 => {
                self.answered += 1;
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            Ok(body) => {
                let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                if LATER.iter().any(|code| text.contains(code)) {
                    self.deferred += 1;
                    shared.again().push(number);
                } else {
                    self.failed.push(format!("{status}: {text}"));
                }
            }
            Err(cause) => self.failed.push(format!("cut: {cause:?}")),
        }
    }
}

// === impl Shared ===

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) && self.again().is_empty()
    }

    fn again(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next request.
    fn number(&self) -> usize {
        let again = self.again().pop();
        again.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed))
    }
}

// === impl Sender ===

impl Sender {
    async fn connect(address: SocketAddr, speaks: Speaks) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        if speaks == Speaks::Streams {
            let shaken = http2::handshake(TokioExecutor::new(), io).await;
            let (sender, connection) = shaken.map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            return Ok(Self::Http2(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

async fn run(shared: Arc<Shared>, speaks: Speaks) -> Tally {
    let mut tally = Tally::default();
    while !shared.is_over() {
        let target = *shared.target.borrow();
        let sender = timeout(PATIENCE, Sender::connect(target, speaks)).await;
        match sender.map_err(std::io::Error::from).flatten() {
            Ok(sender) => {
                tally.connections += 1;
                use_up(sender, speaks, &shared, &mut tally).await;
            }
            Err(cause) => tally.failed.push(format!("no connection: {cause}")),
        }
    }
    tally
}

/// Sends on this connection until it ends.
async fn use_up(mut sender: Sender, speaks: Speaks, shared: &Shared, tally: &mut Tally) {
    while sender.is_ready().await {
        let round = match &mut sender {
            Sender::Http1(sender) => {
                let number = shared.number();
                let sent = bounded(sender.try_send_request(request(number))).await;
                vec![(number, sent)]
            }
            Sender::Http2(sender) => {
                let streams = (0..STREAMS).map(|_| {
                    let number = shared.number();
                    let sent = bounded(sender.try_send_request(request(number)));
                    async move { (number, sent.await) }
                });
                futures_util::future::join_all(streams).await
            }
        };
        for sent in round {
            tally.count(sent, shared).await;
        }
        if speaks == Speaks::Fresh || shared.is_over() {
            return;
        }
    }
}

async fn bounded(sent: impl Future<Output = Sent>) -> Sent {
    timeout(PATIENCE, sent)
        .await
        .expect("a request is answered soon")
}

/// A charge that only this request makes.
fn request(number: usize) -> Request<Full<Bytes>> {
    Request::post("http://api.test/v1/charges")
        .header("host", "api.test")
        .header("authorization", format!("Bearer {}", token("full")))
        .header("content-type", "application/json")
        .header("idempotency-key", number.to_string())
        .header("x-origin", "status 201")
        .body(Full::from(format!("{{\"number\":{number}}}")))
        .expect("it is well-formed")
}

const STREAMS: usize = 4;

/// Refusals of a machine that is busy: nothing was executed.
const LATER: [&str; 3] = [
    "auth_store_unavailable",
    "idempotency_store_unavailable",
    "overloaded",
];
