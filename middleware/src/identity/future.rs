//! Response future of the two services of this room.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::body::Body;
use crate::context::Effect;
use crate::error::ApiError;

pin_project! {
    /// Response future for [`Assert`](super::Assert) and [`Trust`](super::Trust).
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<F> {
        Passed { #[pin] response: F },
        Refused { error: Option<ApiError> },
    }
}

// === impl ResponseFuture ===

impl<F> ResponseFuture<F> {
    pub(super) const fn passed(response: F) -> Self {
        Self {
            kind: Kind::Passed { response },
        }
    }

    pub(super) const fn refused(error: ApiError) -> Self {
        Self {
            kind: Kind::Refused { error: Some(error) },
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<Body<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().kind.project() {
            KindProj::Passed { response } => {
                ready!(response.poll(cx)).map(|response| response.map(Body::inner))
            }
            KindProj::Refused { error } => {
                let error = error
                    .take()
                    .expect("a future is not polled after it is ready");
                let mut response = error.into_response();
                // A keyed request that never left may be executed again.
                response.extensions_mut().insert(Effect::Impossible);
                Ok(response)
            }
        })
    }
}
