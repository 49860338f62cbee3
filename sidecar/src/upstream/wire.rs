//! HTTP/1.1 to the service, over pingora's connector: the one file here that knows pingora.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Response, StatusCode, request};
use pingora_core::ErrorType;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::fault::{Fault, Kind};
use super::idle::Idle;
use crate::config::{Config, Target};
use crate::hop_by_hop;

/// Connections to the service.
pub(crate) struct Wire {
    connector: TransportConnector,
    peer: HttpPeer,
    idle: Idle<Stream>,
    answer: Duration,
    answer_body: Duration,
    write: Duration,
}

/// One connection while it carries a request.
pub(crate) struct Session {
    http: HttpSession,
    reused: bool,
}

// === impl Wire ===

impl Wire {
    /// Looks the service up; connections are made when they are needed.
    pub(crate) async fn new(config: &Config) -> std::io::Result<Arc<Self>> {
        let timeouts = &config.timeouts;
        let mut peer = match &config.upstream {
            Target::Unix(path) => {
                let path = path.to_str().ok_or(std::io::ErrorKind::InvalidInput)?;
                HttpPeer::new_uds(path, false, String::new()).map_err(std::io::Error::other)?
            }
            Target::Tcp(authority) => {
                let mut found = tokio::net::lookup_host(authority).await?;
                let address = found.next().ok_or(std::io::ErrorKind::NotFound)?;
                HttpPeer::new(address, false, String::new())
            }
        };
        peer.options.connection_timeout = Some(timeouts.connect);
        peer.options.total_connection_timeout = Some(timeouts.connect);
        let wire = Arc::new(Self {
            connector: TransportConnector::new(None),
            peer,
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
        while let Some(mut stream) = self.idle.take(Instant::now()) {
            if is_quiet(&mut stream) {
                return Ok(self.carry(stream, true));
            }
        }
        self.fresh_session().await
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
        Ok(self.carry(stream, false))
    }

    /// Keeps the connection of a request that went well, if the service does too.
    pub(crate) async fn release(&self, session: Session) {
        let mut http = session.http;
        http.respect_keepalive();
        if let Some(stream) = http.reuse().await {
            self.idle.keep(stream, Instant::now());
        }
    }

    /// From here on the service is to answer.
    pub(crate) fn await_answer(&self, session: &mut Session) {
        session.http.read_timeout = Some(self.answer);
    }

    /// From here on the service is to go on answering.
    pub(crate) fn await_body(&self, session: &mut Session) {
        session.http.read_timeout = Some(self.answer_body);
    }

    fn carry(&self, stream: Stream, reused: bool) -> Session {
        let mut http = HttpSession::new_with_options(stream, &self.peer);
        http.write_timeout = Some(self.write);
        Session { http, reused }
    }
}

// === impl Session ===

impl Session {
    /// Whether the connection was kept from an earlier request.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Sends the head of a request, which has its framing in it.
    pub(crate) async fn send_head(&mut self, head: request::Parts) -> Result<(), Fault> {
        let head = Box::new(RequestHeader::from(head));
        match self.http.write_request_header(head).await {
            Ok(_) => Ok(()),
            Err(cause) => Err(Fault::because(Kind::Unsent, cause)),
        }
    }

    /// Sends a piece of the body.
    pub(crate) async fn send(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.http.write_body(data).await.map_err(fault)?;
        Ok(())
    }

    /// Sends the end of the body.
    pub(crate) async fn finish(&mut self) -> Result<(), Fault> {
        self.http.finish_body().await.map_err(fault)?;
        Ok(())
    }

    /// Reads the head of the answer, past the interim ones. May be called again when it
    /// was dropped before its end.
    pub(crate) async fn head(&mut self) -> Result<Response<()>, Fault> {
        loop {
            self.http.read_response().await.map_err(fault)?;
            let head = self.http.resp_header().expect("it was read just now");
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
        self.http.read_body_bytes().await.map_err(fault)
    }

    /// The next piece of the answer, if it has arrived.
    pub(crate) fn body_at_hand(&mut self) -> Option<Result<Option<Bytes>, Fault>> {
        tokio::task::unconstrained(self.body()).now_or_never()
    }

    /// Whether the answer has been read to its end.
    pub(crate) fn is_done(&mut self) -> bool {
        self.http.is_body_done()
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

async fn sweep(wire: Weak<Wire>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        match wire.upgrade() {
            Some(wire) => wire.idle.sweep(Instant::now()),
            None => return,
        }
    }
}
