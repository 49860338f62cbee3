//! The layers in their one right order.
//!
//! [`ApiLayer`] is what a team mounts; its [`layer`](ApiLayer::layer) reads from the
//! outside in, with the reason for each place. The services that stand between the four
//! layers are here too, because they are part of its type.

mod admission;
mod admit;
mod builder;
mod calling;
mod cleanse;
mod edge;
pub mod explain;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

#[cfg(any(test, feature = "test-util"))]
pub(crate) use self::admission::hit_then_claim;
pub use self::admission::{Admission, Admitted};
pub use self::admit::Admit;
use self::admit::Gate;
pub use self::builder::{ApiLayerBuilder, InvalidApi};
pub use self::cleanse::{Cleanse, CleanseFuture};
use self::edge::Rules;
pub use self::edge::{Edge, EdgeFuture, Refusal, Unauthenticated};
use crate::api_key::Keyring;
use crate::body::{Body, RequestBody};
use crate::correlation_id::{Correlate, CorrelateLayer, ResponseFuture};
use crate::tasks::Tasks;

/// The whole stack, as one layer.
///
/// See the [crate docs](crate) for an example. Cheap to clone; clones share their
/// limits, their tasks and their stores.
#[derive(Debug)]
pub struct ApiLayer<S, K> {
    correlate: CorrelateLayer,
    rules: Arc<Rules>,
    gate: Arc<Gate<S, K>>,
    tasks: Tasks,
}

/// A service behind the whole stack.
#[derive(Debug)]
pub struct Api<T, S, K> {
    stack: Layers<T, S, K>,
}

pin_project! {
    /// Response future for [`Api`].
    #[derive(Debug)]
    pub struct ApiFuture<F> {
        #[pin]
        stack: F,
    }
}

/// What [`ApiLayer::layer`] builds, from the outside in.
type Layers<T, S, K> = Correlate<Edge<Admit<Cleanse<T>, S, K>>>;

// === impl ApiLayer ===

impl<S, K> ApiLayer<S, K>
where
    S: Admission,
    K: Keyring,
{
    /// Builds the stack on a store for counters and records and on a keyring.
    pub fn builder(store: S, keys: K) -> ApiLayerBuilder<S, K> {
        ApiLayerBuilder::new(store, keys)
    }

    /// Waits until every request that was started under a key has ended, or until the
    /// time is up; returns how many had not. To be called when no connection is left.
    pub async fn drained(&self, within: Duration) -> usize {
        self.tasks.drained(within).await
    }

    /// Whether the store is left alone for the moment, because it failed several times
    /// in a row.
    pub fn store_is_cut_off(&self) -> bool {
        self.gate.store.is_cut_off()
    }

    /// Where keyed requests run.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }
}

impl<S, K> Clone for ApiLayer<S, K> {
    fn clone(&self) -> Self {
        Self {
            correlate: self.correlate.clone(),
            rules: Arc::clone(&self.rules),
            gate: Arc::clone(&self.gate),
            tasks: self.tasks.clone(),
        }
    }
}

impl<T, S: Admission, K: Keyring> Layer<T> for ApiLayer<S, K> {
    type Service = Api<T, S, K>;

    /// Reads from the outside in.
    fn layer(&self, inner: T) -> Self::Service {
        // Innermost: no answer of the handler speaks for a layer.
        let stack = Cleanse::new(inner);
        // Who is calling, then the charge and the claim, for nothing is counted or looked up
        // for a caller who is not known. They are one place: a store can do the last two in
        // one step, and one future for all three is one box less on every request.
        let stack = Admit::new(stack, Arc::clone(&self.gate));
        // Whether a key is asked for depends on the route; no request speaks for a layer;
        // panics of all the above are caught here, where they can still be answered.
        let stack = Edge::new(stack, Arc::clone(&self.rules));
        // Outermost: every answer carries the id, faults of the other layers included.
        Api {
            stack: self.correlate.layer(stack),
        }
    }
}

// === impl Api ===

impl<T: Clone, S, K> Clone for Api<T, S, K> {
    fn clone(&self) -> Self {
        Self {
            stack: self.stack.clone(),
        }
    }
}

impl<T, S, K, B, R> Service<Request<B>> for Api<T, S, K>
where
    T: Service<Request<RequestBody<B>>, Response = Response<R>, Error: Send, Future: Send>
        + Clone
        + Send
        + 'static,
    S: Admission,
    K: Keyring,
    B: HttpBody<Data: Send, Error: Send> + Send + 'static,
    R: HttpBody<Data: From<Bytes> + Send> + Send + Unpin + 'static,
{
    type Response = Response<Body<R>>;
    type Error = T::Error;
    type Future = ApiFuture<<Layers<T, S, K> as Service<Request<B>>>::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.stack.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ApiFuture {
            stack: self.stack.call(request),
        }
    }
}

// === impl ApiFuture ===

impl<F, R, E> Future for ApiFuture<ResponseFuture<F>>
where
    F: Future<Output = Result<Response<Body<R>>, E>>,
{
    type Output = Result<Response<Body<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The services further in answer with a body of the layers already: one is enough.
        self.project().stack.poll_as(cx, |body| body)
    }
}

#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod succession_tests;
#[cfg(test)]
mod tests;
