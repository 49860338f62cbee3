//! What every service with a boxed future needs.

use std::future::Future;
use std::pin::Pin;

/// The future of a layer that awaits a store: the box is noise beside that.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Takes the service that `poll_ready` has readied and leaves a clone in its place: a
/// clone need not be ready (see the documentation of `tower_service::Service`, "Be
/// careful when cloning inner services").
pub(crate) fn ready_clone<S: Clone>(inner: &mut S) -> S {
    let fresh = inner.clone();
    std::mem::replace(inner, fresh)
}
