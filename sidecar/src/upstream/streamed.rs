//! The body of an answer that has not arrived yet.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{self, BoxStream, StreamExt};
use http_body::{Frame, SizeHint};

use super::exchange::Exchange;
use super::fault::{BoxError, Fault};
use super::turns::Place;

/// An answer's body, read from the service as fast as the client takes it.
pub struct Streamed {
    pieces: BoxStream<'static, Result<Bytes, Fault>>,
    /// What is still to come, where the service has said so.
    left: Option<u64>,
}

// === impl Streamed ===

impl Streamed {
    /// The rest of an answer; the request counts as under way until it is read.
    pub(crate) fn new<B>(exchange: Exchange<B>, place: Place, left: Option<u64>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let pieces = stream::unfold(Some((exchange, place)), |state| async move {
            let (mut exchange, place) = state?;
            match exchange.next().await {
                Ok(Some(data)) if exchange.is_done() => {
                    // Given back with the last piece: a reader that knows the length asks
                    // for no more.
                    exchange.release().await;
                    Some((Ok(data), None))
                }
                Ok(Some(data)) => Some((Ok(data), Some((exchange, place)))),
                Ok(None) => {
                    exchange.release().await;
                    None
                }
                Err(fault) => {
                    fault.log();
                    Some((Err(fault), None))
                }
            }
        });
        Self {
            pieces: pieces.boxed(),
            left,
        }
    }
}

impl fmt::Debug for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let piece = ready!(Pin::new(&mut self.pieces).poll_next(cx));
        if let (Some(Ok(data)), Some(left)) = (&piece, self.left.as_mut()) {
            *left = left.saturating_sub(data.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
