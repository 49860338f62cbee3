//! Reading bodies into memory, up to a length, a budget and a time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as HttpBody;

use crate::body::Body;
use crate::budget::Reservation;
use crate::error::ApiError;

/// A request's body in memory, and the part of the budget that it takes.
#[derive(Debug)]
pub(crate) struct Buffered {
    pub(crate) bytes: Bytes,
    pub(crate) held: Reservation,
}

/// What could be read of a response.
#[derive(Debug)]
pub(crate) enum Reading<B> {
    /// All of it.
    Whole(Bytes),
    /// As much as there was room or time for, and the rest.
    Started(Body<B>),
    /// It failed underway.
    Cut,
}

/// What was read so far. A body that came in one piece, as most do, is not copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    joined: BytesMut,
}

/// Why reading stopped before the end.
enum Stop {
    /// The next data would be over the length or the budget; it is given back.
    Full(Bytes),
    Failed,
}

// === impl Pieces ===

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&self.first);
        }
        self.joined.extend_from_slice(&piece);
    }

    fn len(&self) -> usize {
        self.first.len().max(self.joined.len())
    }

    fn into_bytes(self) -> Bytes {
        if self.joined.is_empty() {
            self.first
        } else {
            self.joined.freeze()
        }
    }
}

/// Reads the whole body of a request.
///
/// # Errors
///
/// 413 over the cap, 503 over the budget, 408 after the time, 400 where it broke off.
pub(crate) async fn read_request<B: HttpBody>(
    body: B,
    cap: u64,
    mut held: Reservation,
    within: Duration,
) -> Result<Buffered, ApiError> {
    let mut body = pin!(body);
    let mut read = Pieces::default();
    let length = usize::try_from(cap).unwrap_or(usize::MAX);
    let reading = gather(body.as_mut(), &mut read, length, &mut held);
    match tokio::time::timeout(within, reading).await {
        Ok(Ok(())) => Ok(Buffered {
            bytes: read.into_bytes(),
            held,
        }),
        Ok(Err(Stop::Full(next))) if read.len() + next.len() > length => {
            Err(ApiError::payload_too_large(cap))
        }
        Ok(Err(Stop::Full(_))) => Err(ApiError::overloaded()),
        Ok(Err(Stop::Failed)) => Err(ApiError::malformed_request("The body broke off.")),
        Err(_late) => Err(ApiError::request_timeout()),
    }
}

/// Reads as much of a response as may be kept.
pub(crate) async fn read_response<B>(
    mut body: B,
    cap: usize,
    mut held: Reservation,
    within: Duration,
) -> Reading<B>
where
    B: HttpBody<Data: From<Bytes>> + Unpin,
{
    let mut read = Pieces::default();
    let reading = gather(Pin::new(&mut body), &mut read, cap, &mut held);
    match tokio::time::timeout(within, reading).await {
        Ok(Ok(())) => Reading::Whole(read.into_bytes()),
        Ok(Err(Stop::Full(next))) => {
            read.push(next);
            Reading::Started(Body::resumed(read.into_bytes(), body))
        }
        Ok(Err(Stop::Failed)) => Reading::Cut,
        Err(_late) => Reading::Started(Body::resumed(read.into_bytes(), body)),
    }
}

/// Appends data until the body ends. Trailers are not kept.
async fn gather<B: HttpBody>(
    mut body: Pin<&mut B>,
    read: &mut Pieces,
    cap: usize,
    held: &mut Reservation,
) -> Result<(), Stop> {
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(mut data) = frame.map_err(|_| Stop::Failed)?.into_data() else {
            continue;
        };
        let length = data.remaining();
        if read.len() + length > cap || !held.grow(length) {
            return Err(Stop::Full(data.copy_to_bytes(length)));
        }
        read.push(data.copy_to_bytes(length));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::budget::Budget;

    const LONG: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied_and_others_are_joined() {
        for pieces in [&["one"][..], &["one", "two"], &["", "one", "", "two"], &[]] {
            let (budget, pieces) = (Budget::new(100), bytes_of(pieces));
            let read = read_request(body(&pieces), 10, budget.reserve_nothing(), LONG);
            let Buffered { bytes, held } = read.await.unwrap();
            assert_eq!(bytes, pieces.concat());
            assert_eq!(budget.taken(), bytes.len());
            if let [only] = &pieces[..] {
                assert_eq!(bytes.as_ptr(), only.as_ptr());
            }
            drop(held);
            assert_eq!(budget.taken(), 0);
        }
    }

    #[tokio::test]
    async fn a_body_over_its_cap_and_one_over_the_budget_are_told_apart() {
        for (cap, budget, want) in [
            (6, 6, None),
            (5, 6, Some("payload_too_large")),
            (6, 5, Some("overloaded")),
        ] {
            let budget = Budget::new(budget);
            let pieces = bytes_of(&["one", "two"]);
            let read = read_request(body(&pieces), cap, budget.reserve_nothing(), LONG);
            let refusal = read.await.err();
            let code = refusal.as_ref().map(|error| error.code().name());
            assert_eq!(code, want, "{cap} {budget:?}");
            assert_eq!(budget.taken(), 0);
        }
    }

    #[tokio::test]
    async fn what_was_read_of_a_response_that_is_too_long_is_not_lost() {
        let budget = Budget::new(100);
        let pieces = bytes_of(&["one", "two", "three"]);
        for cap in 0..11 {
            let read = read_response(body(&pieces), cap, budget.reserve_nothing(), LONG);
            let Reading::Started(rest) = read.await else {
                panic!("eleven bytes are over {cap}");
            };
            assert_eq!(rest.collect().await.unwrap().to_bytes(), "onetwothree");
            assert_eq!(budget.taken(), 0, "{cap}");
        }
    }

    fn body(pieces: &[Bytes]) -> impl HttpBody<Data = Bytes, Error = Infallible> + Unpin + use<> {
        let frames = pieces.iter().cloned().map(Frame::data).map(Ok);
        StreamBody::new(stream::iter(frames.collect::<Vec<_>>()))
    }

    fn bytes_of(pieces: &[&'static str]) -> Vec<Bytes> {
        let pieces = pieces.iter().map(|text| text.as_bytes());
        pieces.map(Bytes::from_static).collect()
    }
}
