//! One request and its answer on one connection, pumped in both directions by one owner.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Response, request};
use vestibule::Body;

use super::fault::{BoxError, Fault};
use super::sending::Sending;
use super::streamed::Streamed;
use super::turns::Place;
use super::wire::{Session, Wire};

/// A request that is being sent, or whose answer is being read.
///
/// Dropped before its end it closes the connection: that is how the service learns that
/// nobody waits any longer.
pub(crate) struct Exchange<B> {
    wire: Arc<Wire>,
    session: Session,
    sending: Sending<B>,
    /// The service took no more of the request: its connection is not used again.
    refused: bool,
}

/// An attempt that failed, with what a second one needs.
pub(crate) struct Failed<B> {
    pub(crate) fault: Fault,
    pub(crate) reused: bool,
    pub(crate) sending: Sending<B>,
}

// === impl Exchange ===

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    /// Sends the request, as much of it as the service takes, and reads the head of the answer.
    pub(crate) async fn begin(
        wire: Arc<Wire>,
        session: Session,
        head: request::Parts,
        sending: Sending<B>,
    ) -> Result<(Self, Response<()>), Failed<B>> {
        let mut exchange = Self {
            wire,
            session,
            sending,
            refused: false,
        };
        match exchange.send_and_read_head(head).await {
            Ok(response) => Ok((exchange, response)),
            Err(fault) => Err(Failed {
                fault,
                reused: exchange.session.is_reused(),
                sending: exchange.sending,
            }),
        }
    }

    /// Gives the answer's body: at once where it has arrived, else as it arrives. An
    /// answer that is seen to be cut before its head was passed on is no answer.
    pub(crate) async fn into_body(
        mut self,
        place: Place,
        length: Option<u64>,
    ) -> Result<Body<Streamed>, Fault> {
        self.wire.await_body(&mut self.session);
        let first = self.first_piece()?;
        if self.is_done() {
            self.release().await;
            return Ok(Body::full(first));
        }
        let left = length.map(|length| length.saturating_sub(first.len() as u64));
        Ok(Body::resumed(first, Streamed::new(self, place, left)))
    }

    /// The next piece of the answer; none at its end. Meanwhile the request is sent on.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if !self.sending.is_open() {
                return self.session.body().await;
            }
            let next = tokio::select! {
                biased;
                data = self.session.body() => return data,
                next = self.sending.next() => next,
            };
            self.pass_on(next).await?;
        }
    }

    /// Whether the answer has been read to its end.
    pub(super) fn is_done(&mut self) -> bool {
        self.session.is_done()
    }

    /// Gives the connection back, where the request was sent to its end.
    pub(super) async fn release(self) {
        if !self.sending.is_open() && !self.refused {
            self.wire.release(self.session).await;
        }
    }

    /// Gives the connection back, if the answer's body is at hand; nobody wants it.
    pub(super) async fn let_go(mut self) {
        if self.first_piece().is_ok() && self.is_done() {
            self.release().await;
        }
    }

    async fn send_and_read_head(
        &mut self,
        mut head: request::Parts,
    ) -> Result<Response<()>, Fault> {
        self.wire.address(&self.session, &mut head);
        self.session.send_head(head).await?;
        // A small body is most often here already: it is sent before anything is read.
        if self.sending.is_open()
            && let Some(next) = self.sending.next().now_or_never()
        {
            self.pass_on(next).await?;
        }
        while self.sending.is_open() {
            let next = tokio::select! {
                biased;
                head = self.session.head() => return head,
                next = self.sending.next() => next,
            };
            self.pass_on(next).await?;
        }
        self.wire.await_answer(&mut self.session);
        self.session.head().await
    }

    async fn pass_on(&mut self, next: Result<Option<Bytes>, Fault>) -> Result<(), Fault> {
        let sent = match next? {
            Some(data) => self.session.send(data).await,
            None => Ok(()),
        };
        let sent = match sent {
            Ok(()) if !self.sending.is_open() => self.session.finish().await,
            sent => sent,
        };
        if sent.is_err() {
            // The service may have answered before it closed: an early 413 is read next.
            self.sending.close();
            self.refused = true;
        }
        Ok(())
    }

    /// What has arrived of the answer's body. Of a chunked one the end is asked for too:
    /// it most often stands beside the first piece.
    fn first_piece(&mut self) -> Result<Bytes, Fault> {
        let mut first = Bytes::new();
        for _ in 0..2 {
            if self.is_done() {
                break;
            }
            match self.session.body_at_hand() {
                Some(Ok(Some(data))) if first.is_empty() => first = data,
                Some(Ok(Some(data))) => first = [first, data].concat().into(),
                Some(Err(fault)) => return Err(fault),
                Some(Ok(None)) | None => break,
            }
        }
        Ok(first)
    }
}
