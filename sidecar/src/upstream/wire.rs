//! Connections to the service, made by pingora's connector, and HTTP/1.1 on them: the one
//! file here that knows pingora.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Response, StatusCode, request};
use pingora_core::ErrorType;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::fault::{Fault, Kind};
use super::http2::{self, Piece, Pool};
use super::idle::Idle;
use super::tls::{Encrypted, Encryption};
use crate::config::{Config, Target};
use crate::hop_by_hop;
use crate::start::StartError;
use crate::tls::Reloads;

/// Connections to the service.
pub(crate) struct Wire {
    connector: TransportConnector,
    peer: HttpPeer,
    encryption: Option<Encryption>,
    pool: Pool,
    /// HTTP/2 without a handshake that says so.
    prior_knowledge: bool,
    idle: Idle<Stream>,
    connect: Duration,
    answer: Duration,
    answer_body: Duration,
    write: Duration,
}

/// One connection while it carries a request, or a share of one.
pub(crate) struct Session {
    carrier: Carrier,
    reused: bool,
    write: Duration,
}

enum Carrier {
    Http1(Box<HttpSession>),
    Http2(Box<http2::Stream>),
}

// === impl Wire ===

impl Wire {
    /// Looks the service up; connections are made when they are needed.
    pub(crate) async fn new(
        config: &Config,
        target: &Target,
        reloads: &Reloads,
    ) -> Result<Arc<Self>, StartError> {
        let timeouts = &config.timeouts;
        let mut peer = find(target).await.map_err(|source| StartError::Upstream {
            target: target.clone(),
            source,
        })?;
        let encryption = Encryption::new(config, target, reloads)?;
        let scheme = match &encryption {
            Some(_) => Scheme::HTTPS,
            None => Scheme::HTTP,
        };
        let authority = match target {
            Target::Tcp(authority) | Target::Tls(authority) => authority.parse().ok(),
            Target::Unix(_) => None,
        };
        let authority = authority.unwrap_or_else(|| Authority::from_static("localhost"));
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        let wire = Arc::new(Self {
            connector: TransportConnector::new(None),
            peer,
            prior_knowledge: encryption.is_none() && config.upstream_http2 == Some(true),
            encryption,
            pool: Pool::new(scheme, authority, timeouts.idle_upstream),
            connect: timeouts.connect,
            idle: Idle::new(config.limits.idle_upstream, timeouts.idle_upstream),
            answer: timeouts.answer,
            answer_body: timeouts.answer_body,
            write: timeouts.write,
        });
        tokio::spawn(sweep(Arc::downgrade(&wire), timeouts.idle_upstream));
        Ok(wire)
    }

    /// A kept connection, or a new one.
    pub(crate) async fn session(&self) -> Result<Session, Fault> {
        if let Some(stream) = self.pool.take() {
            return Ok(self.share(stream, true));
        }
        while let Some(mut stream) = self.idle.take(Instant::now()) {
            if is_quiet(&mut stream) {
                return Ok(self.carry(stream, true));
            }
        }
        self.fresh_session().await
    }

    /// Whether a connection is there that is shared, or can be made.
    pub(crate) async fn can_be_reached(&self) -> bool {
        self.pool.take().is_some() || self.fresh_session().await.is_ok()
    }

    /// A new connection.
    pub(crate) async fn fresh_session(&self) -> Result<Session, Fault> {
        let stream = self.connector.new_stream(&self.peer).await;
        let stream = stream.map_err(|cause| {
            let kind = match cause.etype() {
                ErrorType::ConnectTimedout => Kind::ConnectSlow,
                _ => Kind::ConnectRefused,
            };
            Fault::because(kind, cause)
        })?;
        let Some(encryption) = &self.encryption else {
            if self.prior_knowledge {
                return self.open(stream).await;
            }
            return Ok(self.carry(stream, false));
        };
        match timeout(self.connect, encryption.connect(stream)).await {
            Ok(Ok((stream, true))) => self.open(stream).await,
            Ok(Ok((stream, false))) => Ok(self.carry(Box::new(Encrypted(stream)), false)),
            Ok(Err(cause)) => Err(Fault::because(Kind::ConnectRefused, cause)),
            Err(_) => Err(Fault::new(Kind::ConnectSlow)),
        }
    }

    async fn open<I>(&self, io: I) -> Result<Session, Fault>
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match timeout(self.connect, self.pool.open(io)).await {
            Ok(Ok(stream)) => Ok(self.share(stream, false)),
            Ok(Err(cause)) => Err(Fault::because(Kind::ConnectRefused, cause)),
            Err(_) => Err(Fault::new(Kind::ConnectSlow)),
        }
    }

    /// Keeps the connection of a request that went well, if the service does too.
    pub(crate) async fn release(&self, session: Session) {
        let Carrier::Http1(mut http) = session.carrier else {
            return;
        };
        http.respect_keepalive();
        if let Some(stream) = http.reuse().await {
            self.idle.keep(stream, Instant::now());
        }
    }

    /// From here on the service is to answer.
    pub(crate) fn await_answer(&self, session: &mut Session) {
        session.wait(self.answer);
    }

    /// From here on the service is to go on answering.
    pub(crate) fn await_body(&self, session: &mut Session) {
        session.wait(self.answer_body);
    }

    fn carry(&self, stream: Stream, reused: bool) -> Session {
        let mut http = HttpSession::new_with_options(stream, &self.peer);
        http.write_timeout = Some(self.write);
        Session {
            carrier: Carrier::Http1(Box::new(http)),
            reused,
            write: self.write,
        }
    }

    fn share(&self, stream: http2::Stream, reused: bool) -> Session {
        Session {
            carrier: Carrier::Http2(Box::new(stream)),
            reused,
            write: self.write,
        }
    }

    /// Makes a head fit for the version that a session speaks.
    pub(crate) fn address(&self, session: &Session, head: &mut request::Parts) {
        if matches!(session.carrier, Carrier::Http2(_)) {
            self.pool.address(head);
        }
    }
}

// === impl Session ===

impl Session {
    /// Whether the connection was kept from an earlier request.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    fn wait(&mut self, patience: Duration) {
        match &mut self.carrier {
            Carrier::Http1(http) => http.read_timeout = Some(patience),
            Carrier::Http2(stream) => stream.wait(patience),
        }
    }

    /// Sends the head of a request, which has its framing in it.
    pub(crate) async fn send_head(&mut self, head: request::Parts) -> Result<(), Fault> {
        let http = match &mut self.carrier {
            Carrier::Http1(http) => http,
            Carrier::Http2(stream) => {
                stream.send_head(head);
                return Ok(());
            }
        };
        let head = Box::new(RequestHeader::from(head));
        match http.write_request_header(head).await {
            Ok(_) => Ok(()),
            Err(cause) => Err(Fault::because(Kind::Unsent, cause)),
        }
    }

    /// Sends a piece of the body.
    pub(crate) async fn send(&mut self, data: Bytes) -> Result<(), Fault> {
        match &mut self.carrier {
            Carrier::Http1(http) => http.write_body(&data).await.map(drop).map_err(fault),
            Carrier::Http2(stream) => stream.send(Piece::Data(data), self.write).await,
        }
    }

    /// Sends the end of the body.
    pub(crate) async fn finish(&mut self) -> Result<(), Fault> {
        match &mut self.carrier {
            Carrier::Http1(http) => http.finish_body().await.map(drop).map_err(fault),
            Carrier::Http2(stream) => stream.send(Piece::End, self.write).await,
        }
    }

    /// Reads the head of the answer, past the interim ones. May be called again when it
    /// was dropped before its end.
    pub(crate) async fn head(&mut self) -> Result<Response<()>, Fault> {
        let http = match &mut self.carrier {
            Carrier::Http1(http) => http,
            Carrier::Http2(stream) => {
                let mut response = stream.head().await?;
                hop_by_hop::strip(response.headers_mut());
                return Ok(response);
            }
        };
        loop {
            http.read_response().await.map_err(fault)?;
            let head = http.resp_header().expect("it was read just now");
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => return Err(Fault::new(Kind::Malformed)),
                status if status.is_informational() => {}
                status => return Ok(answer(status, &head.headers)),
            }
        }
    }

    /// Reads the next piece of the answer. May be called again when it was dropped before
    /// its end.
    pub(crate) async fn body(&mut self) -> Result<Option<Bytes>, Fault> {
        match &mut self.carrier {
            Carrier::Http1(http) => http.read_body_bytes().await.map_err(fault),
            Carrier::Http2(stream) => stream.body().await,
        }
    }

    /// The next piece of the answer, if it has arrived.
    pub(crate) fn body_at_hand(&mut self) -> Option<Result<Option<Bytes>, Fault>> {
        tokio::task::unconstrained(self.body()).now_or_never()
    }

    /// Whether the answer has been read to its end.
    pub(crate) fn is_done(&mut self) -> bool {
        match &mut self.carrier {
            Carrier::Http1(http) => http.is_body_done(),
            Carrier::Http2(stream) => stream.is_done(),
        }
    }
}

/// Looks the service up.
async fn find(target: &Target) -> io::Result<HttpPeer> {
    match target {
        Target::Unix(path) => {
            let path = path.to_str().ok_or(io::ErrorKind::InvalidInput)?;
            HttpPeer::new_uds(path, false, String::new()).map_err(io::Error::other)
        }
        Target::Tcp(authority) | Target::Tls(authority) => {
            let mut found = tokio::net::lookup_host(authority).await?;
            let address = found.next().ok_or(io::ErrorKind::NotFound)?;
            // It is encrypted here, not by pingora.
            Ok(HttpPeer::new(address, false, String::new()))
        }
    }
}

fn answer(status: StatusCode, headers: &HeaderMap) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers.clone();
    hop_by_hop::strip(response.headers_mut());
    response
}

fn fault(cause: Box<pingora_core::Error>) -> Fault {
    let kind = match cause.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Kind::Slow,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => Kind::Cut,
        // The context of the other kinds quotes what was read, which may be anything.
        _ => return Fault::new(Kind::Malformed),
    };
    Fault::because(kind, cause)
}

/// Whether an idle connection is still open and has nothing to say.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    tokio::task::unconstrained(stream.read(&mut byte))
        .now_or_never()
        .is_none()
}

// === impl Encrypted, as pingora takes it ===

#[async_trait]
impl Shutdown for Encrypted<Stream> {
    async fn shutdown(&mut self) {
        // A connection that is over cannot be said goodbye on.
        let _ = AsyncWriteExt::shutdown(&mut self.0).await;
    }
}

impl UniqueID for Encrypted<Stream> {
    fn id(&self) -> UniqueIDType {
        self.0.get_ref().0.id()
    }
}

impl Ssl for Encrypted<Stream> {}

impl Peek for Encrypted<Stream> {}

impl GetTimingDigest for Encrypted<Stream> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.get_ref().0.get_timing_digest()
    }
}

impl GetProxyDigest for Encrypted<Stream> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Encrypted<Stream> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.get_ref().0.get_socket_digest()
    }
}

async fn sweep(wire: Weak<Wire>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        match wire.upgrade() {
            Some(wire) => {
                wire.idle.sweep(Instant::now());
                wire.pool.sweep();
            }
            None => return,
        }
    }
}
