//! The request's body on its way to the service.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::fault::{BoxError, Fault, Kind};
use crate::telemetry::Passage;

/// A body that is sent piece by piece, and that remembers whether it could be sent again.
pub(crate) struct Sending<B> {
    body: B,
    open: bool,
    patience: Duration,
    memory: Memory,
    passage: Option<Passage>,
}

/// What is left of a body for a second attempt.
enum Memory {
    /// Nothing of it was taken.
    Untouched,
    /// It was one piece, and this is it.
    Whole(Bytes),
    /// Some of it is gone.
    Lost,
}

// === impl Sending ===

impl<B> Sending<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// A body whose client may take so long for each piece.
    pub(crate) fn new(body: B, patience: Duration) -> Self {
        Self {
            open: !body.is_end_stream(),
            body,
            patience,
            memory: Memory::Untouched,
            passage: None,
        }
    }

    /// Counts what arrives of it.
    pub(crate) fn counted(mut self, passage: Option<Passage>) -> Self {
        self.passage = passage;
        self
    }

    /// The length, where it is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Whether there is more to send.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Gives up the rest.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Whether the whole body could be sent once more.
    pub(crate) fn is_replayable(&self) -> bool {
        !matches!(self.memory, Memory::Lost)
    }

    /// Begins again, where that is possible.
    pub(crate) fn rewind(&mut self) {
        self.open = match self.memory {
            Memory::Untouched => !self.body.is_end_stream(),
            Memory::Whole(_) => true,
            Memory::Lost => false,
        };
    }

    /// The next piece, or none at the end. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        if let Memory::Whole(data) = &self.memory {
            self.open = false;
            return Ok(Some(data.clone()));
        }
        match self.pull().await? {
            None => {
                self.open = false;
                Ok(None)
            }
            Some(data) => {
                self.open = !self.body.is_end_stream();
                self.memory = match self.memory {
                    Memory::Untouched if !self.open => Memory::Whole(data.clone()),
                    _ => Memory::Lost,
                };
                Ok(Some(data))
            }
        }
    }

    async fn pull(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            let frame = timeout(self.patience, self.body.frame()).await;
            match frame.map_err(|_| Fault::new(Kind::BodySlow))? {
                None => return Ok(None),
                Some(Err(cause)) => return Err(Fault::body(cause)),
                // Trailers do not cross an HTTP/1.1 upstream.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        if let Some(passage) = &self.passage {
                            passage.received(data.len());
                        }
                        return Ok(Some(data));
                    }
                    _ => {}
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    #[tokio::test]
    async fn a_body_of_one_piece_can_be_sent_again() {
        let mut sending = Sending::new(Full::from("all of it"), PATIENCE);
        for attempt in 1..=2 {
            assert!(sending.is_open(), "attempt {attempt}");
            let data = sending.next().await.unwrap().unwrap();
            assert_eq!(data, "all of it", "attempt {attempt}");
            assert!(!sending.is_open() && sending.is_replayable());
            sending.rewind();
        }
    }

    #[tokio::test]
    async fn a_body_of_many_pieces_cannot() {
        let mut sending = Sending::new(pieces(&["a", "b"]), PATIENCE);
        assert!(sending.is_replayable());
        let mut sent = Vec::new();
        while sending.is_open() {
            sent.extend(sending.next().await.unwrap());
        }
        assert_eq!(sent, ["a", "b"]);
        assert!(!sending.is_replayable());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_more_is_not_waited_for() {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let fault = Sending::new(silent, PATIENCE).next().await.unwrap_err();
        assert_eq!(fault.kind(), Kind::BodySlow);
    }

    fn pieces(
        texts: &'static [&'static str],
    ) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin {
        let frames = texts.iter().map(|text| Ok(Frame::data(Bytes::from(*text))));
        StreamBody::new(stream::iter(frames))
    }

    const PATIENCE: Duration = Duration::from_secs(30);
}
