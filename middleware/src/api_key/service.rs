//! The service that asks for an API key.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::authenticator::Authenticator;
use super::keyring::Keyring;
use crate::body::Body;
use crate::future::{BoxFuture, ready_clone};

/// Middleware that lets a request through with its [`Principal`](crate::Principal) and without its key.
///
/// A request that has a `Principal` already, from a team's own authentication or a valid
/// assertion, passes as it is. See the [module docs](super) for an example.
#[derive(Debug)]
pub struct Authenticate<S, K> {
    inner: S,
    /// Shared, because every request takes a clone.
    authenticator: Arc<Authenticator<K>>,
}

// === impl Authenticate ===

impl<S, K> Authenticate<S, K> {
    /// Puts this authentication in front of a service.
    pub fn new(inner: S, authenticator: Authenticator<K>) -> Self {
        let authenticator = Arc::new(authenticator);
        Self {
            inner,
            authenticator,
        }
    }
}

impl<S: Clone, K> Clone for Authenticate<S, K> {
    fn clone(&self) -> Self {
        let authenticator = Arc::clone(&self.authenticator);
        Self {
            inner: self.inner.clone(),
            authenticator,
        }
    }
}

impl<S, K, B, R> Service<Request<B>> for Authenticate<S, K>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    K: Keyring,
    B: Send + 'static,
{
    type Response = Response<Body<R>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut inner = ready_clone(&mut self.inner);
        let authenticator = Arc::clone(&self.authenticator);
        Box::pin(async move {
            if let Err(refusal) = authenticator.enter(&mut request).await {
                return Ok(refusal.into_response());
            }
            Ok(inner.call(request).await?.map(Body::inner))
        })
    }
}
