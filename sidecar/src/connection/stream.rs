//! A client's stream: the bytes that the sniff took are given again, and every byte is noted.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::pace::Pace;

/// What a client speaks, judged by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// The first bytes of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    bytes: [u8; PREFACE.len()],
    length: usize,
}

/// A stream that begins with what was read of it already, and keeps the pace.
#[derive(Debug)]
pub(crate) struct Paced<I> {
    inner: I,
    /// What was read and is to be given again.
    again: Bytes,
    pace: Pace,
    linger: Option<Linger>,
}

/// The end of a connection whose client may still be sending.
///
/// A socket that is closed over unread bytes is reset, and the reset can overtake the
/// answer that was just written (RFC 9112 §9.6). So what still arrives is read and
/// dropped, for a while.
#[derive(Debug)]
struct Linger {
    quiet: Pin<Box<Sleep>>,
    until: Instant,
}

/// Whether these first bytes settle what the client speaks.
fn judge(bytes: &[u8]) -> Option<Protocol> {
    let common = bytes.len().min(PREFACE.len());
    if bytes[..common] != PREFACE[..common] {
        return Some(Protocol::Http1);
    }
    (common == PREFACE.len()).then_some(Protocol::Http2)
}

// === impl Opening ===

impl Opening {
    /// Waits for the first byte.
    pub(crate) async fn read<I: AsyncRead + Unpin>(io: &mut I) -> io::Result<Self> {
        let mut opening = Self {
            bytes: [0; PREFACE.len()],
            length: 0,
        };
        opening.read_more(io).await?;
        Ok(opening)
    }

    /// Reads on until the protocol is settled: one byte tells HTTP/1 from HTTP/2 in all
    /// but the methods that begin with `P`.
    pub(crate) async fn settle<I: AsyncRead + Unpin>(
        &mut self,
        io: &mut I,
    ) -> io::Result<Protocol> {
        loop {
            if let Some(protocol) = judge(&self.bytes[..self.length]) {
                return Ok(protocol);
            }
            self.read_more(io).await?;
        }
    }

    /// What has been read.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes[..self.length])
    }

    async fn read_more<I: AsyncRead + Unpin>(&mut self, io: &mut I) -> io::Result<()> {
        match io.read(&mut self.bytes[self.length..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.length += length;
                Ok(())
            }
        }
    }
}

// === impl Paced ===

impl<I> Paced<I> {
    pub(crate) const fn new(inner: I, again: Bytes, pace: Pace) -> Self {
        Self {
            inner,
            again,
            pace,
            linger: None,
        }
    }

    /// The next that is read are these bytes.
    pub(crate) fn give_again(&mut self, bytes: Bytes) {
        self.again = bytes;
    }

    /// Whether it has something at hand.
    pub(crate) const fn gives_again(&self) -> bool {
        !self.again.is_empty()
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Paced<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.again.is_empty() {
            let length = this.again.len().min(buf.remaining());
            buf.put_slice(&this.again.split_to(length));
            if this.again.is_empty() {
                // An empty piece holds on to the whole.
                this.again = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.pace.read(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> Paced<I> {
    fn noted<T>(&self, written: Poll<T>) -> Poll<T> {
        self.pace.wrote(written.is_ready(), Instant::now());
        written
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
        let linger = this.linger.get_or_insert_with(Linger::new);
        linger.poll_over(&mut this.inner, cx).map(Ok)
    }
}

// === impl Linger ===

impl Linger {
    fn new() -> Self {
        let quiet = Box::pin(sleep(QUIET));
        let until = Instant::now() + LINGER;
        Self { quiet, until }
    }

    /// Reads until the client is done, is quiet, or has been waited for long enough.
    fn poll_over<I: AsyncRead + Unpin>(&mut self, io: &mut I, cx: &mut Context<'_>) -> Poll<()> {
        let mut dropped = [0; 4096];
        loop {
            let mut piece = ReadBuf::new(&mut dropped);
            match Pin::new(&mut *io).poll_read(cx, &mut piece) {
                Poll::Pending => return self.quiet.as_mut().poll(cx),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if piece.filled().is_empty() => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
            let now = Instant::now();
            if now >= self.until {
                return Poll::Ready(());
            }
            self.quiet.as_mut().reset((now + QUIET).min(self.until));
        }
    }
}

/// A client that is sending pauses for less.
const QUIET: Duration = Duration::from_millis(50);

/// Long enough to read an answer, and a bound on what one connection can make us read.
const LINGER: Duration = Duration::from_secs(2);

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        for (given, want) in [
            (&b"G"[..], Some(Protocol::Http1)),
            (b"PO", Some(Protocol::Http1)),
            (b"PRI * HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"P", None),
            (&PREFACE[..23], None),
            (&PREFACE[..], Some(Protocol::Http2)),
        ] {
            assert_eq!(judge(given), want, "{}", given.escape_ascii());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_still_sending_is_read_out_for_a_while() {
        for (pause, pieces, want) in [(20, 5, 5), (200, 5, 1), (20, 500, 100)] {
            let (mut client, server) = tokio::io::duplex(64);
            let pace = Pace::new(false, Instant::now());
            let mut paced = Paced::new(server, Bytes::new(), pace);
            let sending = tokio::spawn(async move {
                let mut sent = 0;
                while sent < pieces && client.write_all(b"more").await.is_ok() {
                    sent += 1;
                    sleep(Duration::from_millis(pause)).await;
                }
                sent
            });
            paced.shutdown().await.unwrap();
            drop(paced);
            let sent: u32 = sending.await.unwrap();
            assert!(
                sent.abs_diff(want) <= 1,
                "{sent} of {pieces}, every {pause} ms"
            );
        }
    }

    #[tokio::test]
    async fn what_the_sniff_took_is_read_again() {
        let mut io: &[u8] = b"PUT / HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut opening = Opening::read(&mut io).await.unwrap();
        let protocol = opening.settle(&mut io).await.unwrap();
        assert_eq!(protocol, Protocol::Http1);
        let pace = Pace::new(false, Instant::now());
        let mut text = String::new();
        let mut paced = Paced::new(io, opening.into_bytes(), pace);
        paced.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "PUT / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
}
