//! One connection of HTTP/1.1: hyper on its stream while it is used, and the stream alone while
//! it rests.
//!
//! hyper holds two buffers and room for a request for as long as a connection lasts. Most
//! connections of a sidecar wait for the next request most of the time, so one that has waited
//! for a moment is taken out of hyper, and given to it again with the next byte.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use hyper::server::conn::http1::{Builder, Connection};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

use super::pace::Pace;
use super::service::Serve;
use super::stream::{Opening, Paced};
use super::{End, Http, Stack, late};
use crate::config::Limits;
use crate::gate::Leave;

/// What hyper serves.
type Io<I> = TokioIo<Paced<I>>;

// === impl Http ===

impl Http {
    /// Serves a connection whose first bytes have arrived to its end.
    pub(super) async fn serve_http1<I, S>(
        &self,
        mut io: Paced<I>,
        mut serve: Serve<S>,
        pace: &Pace,
        leave: watch::Receiver<Leave>,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Stack,
    {
        loop {
            // In boxes, which are gone while the connection rests.
            let mut connection = Box::new(self.http1.serve_connection(TokioIo::new(io), serve));
            let driven = Box::pin(self.drive(&mut *connection, pace, leave.clone()));
            let taken_out = match driven.await {
                End::Done => return,
                End::Resting => Box::pin(self.taken_out(connection)).await,
                End::Overdue if pace.awaits_head() => {
                    let io = connection.into_parts().io.into_inner();
                    return Box::pin(late::answer(io, &self.format)).await;
                }
                End::Overdue => return,
            };
            let Some(rested) = taken_out else { return };
            (io, serve) = rested;
            serve.rest();
            if !self.next(&mut io, pace, leave.clone()).await {
                return;
            }
        }
    }

    /// Takes the stream of a connection that rests out of hyper; none where it has ended.
    async fn taken_out<I, S>(
        &self,
        mut connection: Box<Connection<Io<I>, Serve<S>>>,
    ) -> Option<(Paced<I>, Serve<S>)>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Stack,
    {
        // Where everything was read and written this is its end, without a word to the client.
        Pin::new(&mut *connection).graceful_shutdown();
        let mut ended = Box::pin((*connection).without_shutdown());
        match std::future::poll_fn(|cx| Poll::Ready(ended.as_mut().poll(cx))).await {
            Poll::Ready(Ok(parts)) => {
                let mut io = parts.io.into_inner();
                // A part of the next head may have come along with the last request. An empty
                // buffer would keep its room.
                if !parts.read_buf.is_empty() {
                    io.give_again(parts.read_buf);
                }
                return Some((io, parts.service));
            }
            Poll::Ready(Err(_)) => {}
            // It was answered, and not all of its body was read: it cannot be used again.
            Poll::Pending => {
                if let Ok(Ok(parts)) = timeout(self.bounds.head, ended).await {
                    let _ = parts.io.into_inner().shutdown().await;
                }
            }
        }
        None
    }

    /// Waits for the next request on a connection that rests, as long as an idle one may;
    /// false where it has come to its end.
    async fn next<I: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: &mut Paced<I>,
        pace: &Pace,
        leave: watch::Receiver<Leave>,
    ) -> bool {
        let due = match pace.due(&self.bounds) {
            Some(due) if !io.gives_again() => due,
            _ => return true,
        };
        let opening = tokio::select! {
            biased;
            opening = timeout_at(due, Opening::read(io)) => opening,
            () = Leave::Now.reached(leave) => Ok(Err(std::io::ErrorKind::UnexpectedEof.into())),
        };
        match opening {
            Ok(Ok(opening)) => {
                io.give_again(opening.into_bytes());
                true
            }
            Ok(Err(_)) => {
                let _ = io.shutdown().await;
                false
            }
            Err(_) => false,
        }
    }
}

/// How hyper is to serve.
pub(super) fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        // `Pace` bounds the head, and leaves idle connections alone.
        .header_read_timeout(None)
        .max_headers(limits.headers_max)
        .max_header_size(limits.head_max)
        .max_buf_size(limits.head_max.max(READ_BUFFER));
    builder
}

/// Bytes that hyper reads of a body at a time.
const READ_BUFFER: usize = 64 << 10;
