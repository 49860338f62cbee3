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
