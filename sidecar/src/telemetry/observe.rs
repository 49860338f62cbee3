//! The layer around everything: a request is told of once, when it is over.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use vestibule::ApiError;

use super::access::Access;
use super::metrics::Metrics;
use super::passage::{Ending, Passage};
use super::traces::Traces;

/// Layer that applies [`Observe`].
#[derive(Clone, Debug)]
pub(crate) struct ObserveLayer {
    sinks: Sinks,
}

/// Middleware that counts each request, with what was decided about it.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    sinks: Sinks,
}

pin_project! {
    /// Response future for [`Observe`].
    #[derive(Debug)]
    pub struct ObserveFuture<F> {
        #[pin]
        inner: F,
        open: Option<Open>,
    }
}

pin_project! {
    /// A response body that is counted while it is given away.
    #[derive(Debug)]
    pub struct Observed<B: Body> {
        #[pin]
        inner: B,
        open: Open,
    }

    impl<B: Body> PinnedDrop for Observed<B> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // A body whose length is known is not asked for its end.
            this.open.ending.is_whole |= this.inner.is_end_stream();
        }
    }
}

/// Who is told of a request that is over.
#[derive(Clone, Debug)]
struct Sinks {
    metrics: Metrics,
    /// None where no line is written for it.
    access: Option<Access>,
    /// None where no spans are made.
    traces: Option<Traces>,
}

/// A request that is under way. It is told of when this is dropped, however that comes.
#[derive(Debug)]
struct Open {
    passage: Passage,
    ending: Ending,
    sinks: Sinks,
}

// === impl ObserveLayer ===

impl ObserveLayer {
    pub(crate) const fn new(
        metrics: Metrics,
        access: Option<Access>,
        traces: Option<Traces>,
    ) -> Self {
        let sinks = Sinks {
            metrics,
            access,
            traces,
        };
        Self { sinks }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe {
            inner,
            sinks: self.sinks.clone(),
        }
    }
}

// === impl Observe ===

impl<S, B, R> Service<Request<B>> for Observe<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: Body,
    R: Body,
{
    type Response = Response<Observed<R>>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let passage = Passage::begin(&mut request, self.sinks.traces.as_ref());
        self.sinks.metrics.began();
        let open = Open {
            passage,
            ending: Ending::default(),
            sinks: self.sinks.clone(),
        };
        ObserveFuture {
            inner: self.inner.call(request),
            open: Some(open),
        }
    }
}

// === impl ObserveFuture ===

impl<F, R, E> Future for ObserveFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<Observed<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = ready!(this.inner.poll(cx));
        let mut open = this
            .open
            .take()
            .expect("a future is not polled after it ended");
        Poll::Ready(match answered {
            Ok(response) => {
                open.ending.status = Some(response.status());
                Ok(response.map(|inner| Observed { inner, open }))
            }
            Err(error) => {
                // Who calls this answers in its place.
                open.ending.status = Some(ApiError::internal().status());
                Err(error)
            }
        })
    }
}

// === impl Observed ===

impl<B: Body> Body for Observed<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.inner.poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Buf::remaining);
                this.open.ending.sent += length as u64;
            }
            Some(Err(_)) => {}
            None => this.open.ending.is_whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Open ===

impl Drop for Open {
    fn drop(&mut self) {
        let decisions = self.passage.decisions();
        let Sinks {
            metrics, access, ..
        } = &self.sinks;
        metrics.ended(&self.passage, &decisions, self.ending);
        if let Some(access) = access {
            access.ended(&self.passage, &decisions, self.ending);
        }
        if let Some(span) = self.passage.span() {
            span.ended(&self.passage, &decisions, self.ending);
        }
    }
}
