//! The stack as hyper calls it: each request is counted until its answer has been given away.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::util::Oneshot;
use tower_service::Service;
use vestibule::{ApiError, Body};

use super::Peer;
use super::pace::{Pace, UnderWay};
use crate::config::Proxies;
use crate::forwarded::Sender;
use crate::newest::View;

/// hyper's view of the stack, for one connection.
#[derive(Debug)]
pub(crate) struct Serve<S> {
    stack: View<S>,
    peer: Peer,
    sender: Sender,
    proxies: Arc<Proxies>,
    pace: Pace,
}

pin_project! {
    /// The answer to one request.
    pub(crate) struct Answer<S: Service<Request<Incoming>>> {
        #[pin]
        call: Oneshot<S, Request<Incoming>>,
        under_way: Option<UnderWay>,
    }
}

pin_project! {
    /// A response body that tells when it has been given away.
    pub(crate) struct Counted<B> {
        #[pin]
        inner: B,
        under_way: UnderWay,
    }
}

// === impl Serve ===

impl<S> Serve<S> {
    pub(crate) fn new(stack: View<S>, peer: Peer, proxies: Arc<Proxies>, pace: Pace) -> Self {
        Self {
            stack,
            peer,
            sender: Sender::new(peer.address, peer.is_encrypted, &proxies),
            proxies,
            pace,
        }
    }
}

impl<S: Clone> Serve<S> {
    /// Holds nothing of the stack until the next request.
    pub(crate) fn rest(&self) {
        self.stack.close();
    }
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Serve<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: http_body::Body<Data: From<Bytes>>,
{
    type Response = Response<Counted<Body<B>>>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, request: Request<Incoming>) -> Answer<S> {
        let (mut head, body) = request.into_parts();
        let client = self.sender.client(&head.headers, &self.proxies);
        self.sender
            .tell(&mut head.headers, &head.uri, client, self.proxies.field);
        head.extensions.insert(self.peer);
        head.extensions.insert(client);
        Answer {
            under_way: Some(self.pace.begin(Instant::now())),
            call: Oneshot::new(self.stack.get(), Request::from_parts(head, body)),
        }
    }
}

// === impl Answer ===

impl<S, B> Future for Answer<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<Counted<Body<B>>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match ready!(this.call.poll(cx)) {
            Ok(response) => response.map(Body::inner),
            Err(cause) => {
                // The layers of this house never fail; a team's own may. An error would make
                // hyper close the connection without a word.
                tracing::error!(error = cause.into(), "a layer failed instead of answering");
                ApiError::internal().into_response()
            }
        };
        let under_way = this
            .under_way
            .take()
            .expect("a future is not polled after it is ready");
        if under_way.is_last() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(Ok(response.map(|inner| Counted { inner, under_way })))
    }
}

// === impl Counted ===

impl<B: http_body::Body> http_body::Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
