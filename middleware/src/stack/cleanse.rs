//! What the handler may not tell the client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::header::{self, VESTIBULE_REPLAYED};

/// Middleware that strips from answers the headers that only the layers may set.
///
/// The mark of a replayed answer passes outwards: the layer around decides whether this
/// upstream may set it.
#[derive(Clone, Debug)]
pub struct Cleanse<T> {
    inner: T,
}

pin_project! {
    /// Response future for [`Cleanse`].
    #[derive(Debug)]
    pub struct CleanseFuture<F> {
        #[pin]
        inner: F,
    }
}

// === impl Cleanse ===

impl<T> Cleanse<T> {
    /// Puts this in front of a service.
    pub const fn new(inner: T) -> Self {
        Self { inner }
    }
}

impl<T, B, R> Service<Request<B>> for Cleanse<T>
where
    T: Service<Request<B>, Response = Response<R>>,
{
    type Response = T::Response;
    type Error = T::Error;
    type Future = CleanseFuture<T::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        CleanseFuture {
            inner: self.inner.call(request),
        }
    }
}

// === impl CleanseFuture ===

impl<F, R, E> Future for CleanseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.project().inner.poll(cx))?;
        let mark: Option<HeaderValue> = response.headers_mut().remove(VESTIBULE_REPLAYED);
        header::strip_reserved(response.headers_mut());
        if let Some(mark) = mark {
            response.headers_mut().insert(VESTIBULE_REPLAYED, mark);
        }
        Poll::Ready(Ok(response))
    }
}
