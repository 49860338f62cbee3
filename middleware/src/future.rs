//! What every service with a boxed future needs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

/// The future of a layer that awaits a store: the box is noise beside that.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

pin_project! {
    /// A future that has so long to end; see [`within`].
    #[derive(Debug)]
    pub(crate) struct Within<F> {
        #[pin]
        future: F,
        time: Duration,
        #[pin]
        timer: Option<Sleep>,
    }
}

/// Gives a future so long to end; none where the time is up first. The timer is set only
/// when there is something to wait for.
pub(crate) const fn within<F: Future>(time: Duration, future: F) -> Within<F> {
    Within {
        future,
        time,
        timer: None,
    }
}

/// Takes the service that `poll_ready` has readied and leaves a clone in its place: a
/// clone need not be ready (see the documentation of `tower_service::Service`, "Be
/// careful when cloning inner services").
pub(crate) fn ready_clone<S: Clone>(inner: &mut S) -> S {
    let fresh = inner.clone();
    std::mem::replace(inner, fresh)
}

// === impl Within ===

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if this.timer.is_none() {
            this.timer.set(Some(sleep(*this.time)));
        }
        let timer = this.timer.as_pin_mut().expect("it was set just now");
        timer.poll(cx).map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_future_has_its_time_and_no_more() {
        let (time, start) = (Duration::from_secs(3), Instant::now());
        assert_eq!(within(time, ready(1)).await, Some(1));
        assert_eq!(within(time, sleep(time / 2)).await, Some(()));
        assert_eq!(start.elapsed(), time / 2);
        assert_eq!(within(time, pending::<()>()).await, None);
        assert_eq!(start.elapsed(), time + time / 2);
    }
}
