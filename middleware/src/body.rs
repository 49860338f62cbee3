//! The one body type of the layers: empty, full, or the inner service's own.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body that a layer made, or the one it was given.
    ///
    /// Responses carry it out of the layers and requests carry it in. It asks nothing
    /// of `B` but that it is a body whose data can be made from [`Bytes`], is `Default`
    /// (empty) and fused, and so fits around and inside the stock layers of tower-http.
    pub struct Body<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    /// A request body of at most so many bytes.
    ///
    /// The declared length is judged before the body is read; this catches the body
    /// that declared none.
    pub struct Capped<B> {
        #[pin]
        inner: B,
        left: u64,
        wire: Option<Tripwire>,
    }
}

/// A request's body inside the layers: buffered where the request is keyed, else
/// streaming, and in either case within the route's cap.
pub type RequestBody<B> = Body<Capped<B>>;

/// Why a capped body ended early.
#[derive(Debug, thiserror::Error)]
pub enum CapError<E> {
    /// It is longer than its cap.
    #[error("the body is longer than its cap")]
    TooLong,
    /// The body itself failed. Its error is shown here rather than as the source, because
    /// the boxed error of a stock layer's body is no `Error` itself.
    #[error("the body could not be read: {0}")]
    Inner(E),
}

/// Tells afterwards whether a [`Capped`] body ran into its cap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tripwire(Arc<AtomicBool>);

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Empty,
        Full { data: Option<Bytes> },
        Inner { prefix: Option<Bytes>, #[pin] inner: B },
    }
}

// === impl Body ===

impl<B> Body<B> {
    /// No bytes.
    pub const fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    /// These bytes.
    pub fn full(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        if data.is_empty() {
            Self::empty()
        } else {
            Self {
                kind: Kind::Full { data: Some(data) },
            }
        }
    }

    /// The inner service's own body.
    pub const fn inner(inner: B) -> Self {
        Self {
            kind: Kind::Inner {
                prefix: None,
                inner,
            },
        }
    }

    /// What was read of the inner body already, and the rest of it.
    pub fn resumed(prefix: Bytes, inner: B) -> Self {
        let prefix = (!prefix.is_empty()).then_some(prefix);
        Self {
            kind: Kind::Inner { prefix, inner },
        }
    }
}

impl<B> Body<Body<B>> {
    /// One body instead of a body in a body.
    pub fn flatten(self) -> Body<B> {
        match self.kind {
            Kind::Empty => Body::empty(),
            Kind::Full { data } => Body {
                kind: Kind::Full { data },
            },
            Kind::Inner {
                prefix: None,
                inner,
            } => inner,
            Kind::Inner {
                prefix: Some(first),
                inner,
            } => match inner.kind {
                Kind::Empty => Body::full(first),
                Kind::Full { data } => Body::full(joined(first, data)),
                Kind::Inner { prefix, inner } => Body::resumed(joined(first, prefix), inner),
            },
        }
    }
}

impl<B> Default for Body<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B> From<Bytes> for Body<B> {
    fn from(data: Bytes) -> Self {
        Self::full(data)
    }
}

impl<B> fmt::Debug for Body<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A body may hold anything a caller sent: its kind is shown, never its bytes.
        f.write_str(match self.kind {
            Kind::Empty => "Body::Empty",
            Kind::Full { .. } => "Body::Full",
            Kind::Inner { .. } => "Body::Inner",
        })
    }
}

impl<B> http_body::Body for Body<B>
where
    B: http_body::Body<Data: From<Bytes>>,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = match this.kind.as_mut().project() {
            KindProj::Empty => return Poll::Ready(None),
            KindProj::Full { data } => data.take().map(|data| Ok(Frame::data(data.into()))),
            KindProj::Inner { prefix, inner } => match prefix.take() {
                Some(prefix) => Some(Ok(Frame::data(prefix.into()))),
                None => ready!(inner.poll_frame(cx)),
            },
        };
        if frame.is_none() {
            // Fused: compression layers poll once more after the end.
            this.kind.set(Kind::Empty);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full { data } => data.is_none(),
            Kind::Inner { prefix, inner } => prefix.is_none() && inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let (read, rest) = match &self.kind {
            Kind::Empty => return SizeHint::with_exact(0),
            Kind::Full { data } => return SizeHint::with_exact(length(data.as_ref())),
            Kind::Inner { prefix, inner } => (length(prefix.as_ref()), inner.size_hint()),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + read);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + read);
        }
        hint
    }
}

// === impl Capped ===

impl<B> Capped<B> {
    /// At most `cap` bytes of this body.
    pub fn new(inner: B, cap: u64) -> Self {
        Self {
            inner,
            left: cap,
            wire: None,
        }
    }

    /// The same, with a wire that tells whether the cap was reached.
    pub(crate) fn wired(mut self, wire: Option<Tripwire>) -> Self {
        self.wire = wire;
        self
    }
}

impl<B> fmt::Debug for Capped<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capped")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<B: http_body::Body> http_body::Body for Capped<B> {
    type Data = B::Data;
    type Error = CapError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let this = self.project();
        let frame = match ready!(this.inner.poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(cause)) => return Poll::Ready(Some(Err(CapError::Inner(cause)))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, |data| data.remaining() as u64);
        let Some(left) = this.left.checked_sub(length) else {
            if let Some(wire) = this.wire {
                wire.0.store(true, Ordering::Release);
            }
            *this.left = 0;
            return Poll::Ready(Some(Err(CapError::TooLong)));
        };
        *this.left = left;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Tripwire ===

impl Tripwire {
    /// Whether the cap was reached.
    pub(crate) fn is_tripped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

fn length(data: Option<&Bytes>) -> u64 {
    data.map_or(0, |data| data.len() as u64)
}

fn joined(first: Bytes, second: Option<Bytes>) -> Bytes {
    match second {
        None => first,
        Some(second) => [first, second].concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::{BodyExt, Full};

    use super::*;

    type Inner = Full<Bytes>;

    #[tokio::test]
    async fn a_body_says_its_length_and_gives_its_bytes() {
        let inner = || Inner::from("inner");
        for (body, want) in [
            (Body::empty(), ""),
            (Body::full("full"), "full"),
            (Body::inner(inner()), "inner"),
            (Body::resumed(Bytes::from("first "), inner()), "first inner"),
            (Body::<Body<Inner>>::full("full").flatten(), "full"),
            (Body::inner(Body::inner(inner())).flatten(), "inner"),
            (
                Body::resumed(Bytes::from("a"), Body::empty()).flatten(),
                "a",
            ),
            (
                Body::resumed(Bytes::from("a"), Body::full("b")).flatten(),
                "ab",
            ),
            (
                Body::resumed(Bytes::from("a"), Body::resumed(Bytes::from("b"), inner())).flatten(),
                "abinner",
            ),
        ] {
            assert_eq!(body.size_hint().exact(), Some(want.len() as u64), "{want}");
            assert_eq!(body.collect().await.unwrap().to_bytes(), want);
        }
    }

    #[tokio::test]
    async fn a_body_that_ended_stays_ended() {
        let mut body = Body::inner(Inner::from("x"));
        assert!(body.frame().await.is_some());
        for _ in 0..3 {
            assert!(body.frame().await.is_none());
            assert!(body.is_end_stream());
        }
    }

    #[test]
    fn the_error_of_a_body_in_a_stock_layer_is_an_error_too() {
        type Boxed = Box<dyn std::error::Error + Send + Sync>;
        let cause: Boxed = "it was cut".into();
        let error: Boxed = CapError::Inner(cause).into();
        assert_eq!(error.to_string(), "the body could not be read: it was cut");
    }

    #[tokio::test]
    async fn a_cap_is_reached_by_the_first_byte_over_it() {
        for (length, cap, fits) in [(0, 0, true), (1, 0, false), (4, 4, true), (5, 4, false)] {
            let wire = Tripwire::default();
            let body = Capped::new(Inner::from(vec![0; length]), cap).wired(Some(wire.clone()));
            assert_eq!(body.collect().await.is_ok(), fits, "{length} of {cap}");
            assert_eq!(wire.is_tripped(), !fits, "{length} of {cap}");
        }
    }
}
