//! What every service with a boxed future needs.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
        timer: Option<Pin<Box<Sleep>>>,
    }
}

/// How a call of the inner service ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending<T> {
    Answered(T),
    Late,
    Panicked,
}

/// Gives a future so long to end, and answers for its panic. The timer is set only when
/// there is something to wait for, and has a box, so that whoever holds this has no room for it.
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
    type Output = Ending<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match catch_unwind(AssertUnwindSafe(|| this.future.poll(cx))) {
            Ok(Poll::Ready(output)) => return Poll::Ready(Ending::Answered(output)),
            Ok(Poll::Pending) => {}
            Err(_panic) => return Poll::Ready(Ending::Panicked),
        }
        let timer = this
            .timer
            .get_or_insert_with(|| Box::pin(sleep(*this.time)));
        timer.as_mut().poll(cx).map(|()| Ending::Late)
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
        assert_eq!(within(time, ready(1)).await, Ending::Answered(1));
        let half = within(time, sleep(time / 2)).await;
        assert_eq!(half, Ending::Answered(()));
        assert_eq!(start.elapsed(), time / 2);
        assert_eq!(within(time, pending::<()>()).await, Ending::Late);
        assert_eq!(start.elapsed(), time + time / 2);
        let panics = async { panic!("as the test wants it") };
        assert_eq!(within(time, panics).await, Ending::<()>::Panicked);
    }
}
