//! A connection as faults see it: whether a request begins, and whether it goes on after one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::{Cut, Plane};
use crate::fault::{Stage, Subject};
use crate::simulator::Simulator;

/// A TCP connection that faults can end between two requests.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    marks: Arc<Marks>,
    simulator: Arc<Simulator>,
    plane: Plane,
    /// It ends with a reset, and with no farewell before that.
    is_cut: bool,
}

/// What a connection and its requests tell one another.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// A request has begun and is not answered.
    is_busy: AtomicBool,
    /// The answer that is written next is the last one.
    is_last: AtomicBool,
    /// It is written: nothing is read any more.
    is_over: AtomicBool,
}

// === impl Line ===

impl Line {
    /// Watches a connection.
    pub(super) const fn new(
        stream: TcpStream,
        marks: Arc<Marks>,
        simulator: Arc<Simulator>,
        plane: Plane,
    ) -> Self {
        Self {
            stream,
            marks,
            simulator,
            plane,
            is_cut: false,
        }
    }

    /// Lets the end of the connection be a reset.
    pub(super) fn will_reset(&self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }

    /// Resets the connection where a fault strikes the request that begins here.
    fn poll_begin(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_watched = self.plane != Plane::Control && !self.simulator.lock().faults.is_empty();
        if !is_watched || self.marks.is_busy.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        let mut start = [0; CONTROL_LINE];
        let mut start = ReadBuf::new(&mut start);
        let peeked = ready!(self.stream.poll_peek(context, &mut start))?;
        if peeked == 0 || (self.plane == Plane::Both && is_control(start.filled())) {
            return Poll::Ready(Ok(()));
        }
        self.marks.is_busy.store(true, Ordering::Relaxed);
        let everybody = Subject::default();
        let fault = self.simulator.lock().faults.take(Stage::Read, &everybody);
        if fault.is_none() {
            return Poll::Ready(Ok(()));
        }
        self.will_reset()?;
        self.is_cut = true;
        Poll::Ready(Err(io::Error::other(Cut::Reset)))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.marks.is_over.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_begin(context))?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.marks.is_busy.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.marks.wrote();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let written = ready!(stream.poll_write_vectored(context, slices))?;
        self.marks.wrote();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_cut {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

// === impl Marks ===

impl Marks {
    /// A request is answered; the next byte begins another one.
    pub(super) fn answered(&self) {
        self.is_busy.store(false, Ordering::Relaxed);
    }

    /// The answer on its way is the last one, and does not say so.
    pub(super) fn end_unannounced(&self) {
        self.is_last.store(true, Ordering::Relaxed);
    }

    fn wrote(&self) {
        if self.is_last.load(Ordering::Relaxed) {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether a request that starts like this is for the control plane, or for its page at `/`.
pub(super) fn is_control(start: &[u8]) -> bool {
    let path = start.splitn(2, |byte| *byte == b' ').nth(1);
    path.is_some_and(|path| path.starts_with(b"/__sim") || path.starts_with(b"/ "))
}

/// `OPTIONS /__sim/`, the longest start of a request that tells.
pub(super) const CONTROL_LINE: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_request_tells_its_plane() {
        for (start, want) in [
            ("POST /__sim/fau", true),
            ("GET /__sim/ledg", true),
            ("DELETE /__sim/f", true),
            ("POST /v25.0/106", false),
            ("PRI * HTTP/2.0\r", false),
            ("GET / HTTP/1.1\r", true),
            ("", false),
        ] {
            assert_eq!(is_control(start.as_bytes()), want, "{start}");
        }
    }
}
