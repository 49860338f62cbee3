//! Bodies of answers that do not arrive as they should: too short, or too slowly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;

use crate::server::Cut;

/// A body that announces its whole length and ends before it.
#[derive(Debug)]
pub(super) struct Short {
    inner: Body,
    left: usize,
    is_at_end: bool,
}

/// A body that trickles, a byte at a time.
#[derive(Debug)]
pub(super) struct Drip {
    inner: Body,
    waiting: Bytes,
    length: Option<u64>,
    interval: Duration,
    sleep: Pin<Box<Sleep>>,
}

// === impl Short ===

impl Short {
    /// Ends after so many bytes of `inner`.
    pub(super) const fn new(inner: Body, after: usize) -> Self {
        Self {
            inner,
            left: after,
            is_at_end: false,
        }
    }
}

impl HttpBody for Short {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left > 0 {
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
            let data = frame.and_then(|frame| frame.ok()?.into_data().ok());
            let mut data = data.unwrap_or_default();
            data.truncate(self.left);
            self.left = if data.is_empty() {
                0
            } else {
                self.left - data.len()
            };
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
        if self.is_at_end {
            return Poll::Ready(Some(Err(io::Error::other(Cut::Close))));
        }
        // One more turn, so that what was handed over is written before the end.
        self.is_at_end = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Drip ===

impl Drip {
    /// Lets a body through at so many bytes a second of a time that runs `rate` times as fast.
    pub(super) fn new(inner: Body, bytes_per_second: u64, length: Option<u64>, rate: f64) -> Self {
        let interval =
            1.0 / (f64::from(u32::try_from(bytes_per_second).unwrap_or(u32::MAX)) * rate);
        let interval = Duration::try_from_secs_f64(interval).unwrap_or(LONGEST);
        Self {
            inner,
            waiting: Bytes::new(),
            length,
            interval,
            sleep: Box::pin(tokio::time::sleep(interval)),
        }
    }
}

impl HttpBody for Drip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.waiting.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => self.waiting = frame.into_data().unwrap_or_default(),
                ended => return Poll::Ready(ended),
            }
        }
        ready!(self.sleep.as_mut().poll(context));
        let next = tokio::time::Instant::now() + self.interval;
        self.sleep.as_mut().reset(next);
        Poll::Ready(Some(Ok(Frame::data(self.waiting.split_to(1)))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Where time stands still.
const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_short_body_announces_all_and_gives_less() {
        for (after, want) in [(0, ""), (4, "0123"), (99, "0123456789")] {
            let mut short = Short::new(Body::from("0123456789"), after);
            assert_eq!(short.size_hint().exact(), Some(10), "{after}");
            let mut got = Vec::new();
            let error = loop {
                let frame =
                    std::future::poll_fn(|context| Pin::new(&mut short).poll_frame(context));
                match frame.await.expect("it never ends in order") {
                    Ok(frame) => got.extend(frame.into_data().unwrap()),
                    Err(error) => break error,
                }
            };
            assert_eq!(got, want.as_bytes());
            let cut = error
                .get_ref()
                .and_then(|error| error.downcast_ref::<Cut>());
            assert_eq!(cut, Some(&Cut::Close));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_drips_at_its_pace_and_comes_whole() {
        for (pace, rate, want_ms) in [(10, 1.0, 500), (100, 1.0, 50), (10, 10.0, 50)] {
            let start = tokio::time::Instant::now();
            let drip = Drip::new(Body::from("hello"), pace, Some(5), rate);
            assert_eq!(drip.size_hint().exact(), Some(5));
            let got = to_bytes(Body::new(drip), 100).await.unwrap();
            assert_eq!(got, "hello");
            let took = start.elapsed().as_millis();
            assert!(
                (want_ms..want_ms + 20).contains(&took),
                "{pace} {rate}: {took}"
            );
        }
    }
}
