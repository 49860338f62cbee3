//! The layer around those of the API: what is refused before anything is asked of a store.
//!
//! Where this process is late with everything, a share of all requests is refused, so that
//! the others are answered in time.
//!
//! An address that keeps failing to authenticate waits: its requests are refused before a key
//! is looked at. One without a credential is let pass, so that public routes are open to
//! everybody behind an address.
//!
//! A private address is most often that of a proxy, and everybody would wait for one: it is
//! counted only where `trusted_proxies` says who is one.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::AUTHORIZATION;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use vestibule::ApiError;
use vestibule::clock::SharedClock;
use vestibule::stack::{Refusal, Unauthenticated};

use crate::config::Config;
use crate::failures::Failures;
use crate::forwarded::ClientAddress;
use crate::lateness::Lateness;
use crate::network::{household, is_private};
use crate::reload::difference::Difference;

/// Layer that applies [`Guard`].
#[derive(Clone, Debug)]
pub(crate) struct GuardLayer {
    /// None where everybody may fail as often as they like.
    watch: Option<Arc<Watch>>,
    /// None where nothing is refused for it.
    lateness: Option<Arc<Lateness>>,
}

/// Middleware that refuses what cannot be answered in time, and lets an address wait which
/// keeps failing to authenticate.
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    watch: Option<Arc<Watch>>,
    lateness: Option<Arc<Lateness>>,
}

#[derive(Debug)]
struct Watch {
    failures: Failures,
    clock: SharedClock,
    knows_proxies: bool,
}

/// An attempt that is to be counted if it fails.
#[derive(Debug)]
struct Attempt {
    who: IpAddr,
    watch: Arc<Watch>,
}

pin_project! {
    /// Response future for [`Guard`].
    #[derive(Debug)]
    pub struct GuardFuture<F> {
        #[pin]
        inner: F,
        attempt: Option<Attempt>,
    }
}

// === impl GuardLayer ===

impl GuardLayer {
    /// Must be called inside the runtime that is to be watched.
    pub(crate) fn new(config: &Config, clock: SharedClock) -> Self {
        let most = config.limits.failed_auth_per_minute;
        let watch = (most > 0).then(|| {
            Arc::new(Watch {
                failures: Failures::new(most),
                clock,
                knows_proxies: !config.proxies.networks.is_empty() || config.proxies.unix,
            })
        });
        let bearable = config.shedding.lateness;
        Self {
            watch,
            lateness: (!bearable.is_zero()).then(|| Lateness::watched(bearable)),
        }
    }

    /// The same by another configuration: what addresses owe they owe on.
    pub(crate) fn renewed(
        &self,
        config: &Config,
        difference: &Difference,
        clock: SharedClock,
    ) -> Self {
        if !difference.touches(OF_GUARD) {
            return self.clone();
        }
        let mut renewed = Self::new(config, clock);
        if let (Some(new), Some(old)) = (&mut renewed.watch, &self.watch) {
            let new = Arc::get_mut(new).expect("nobody else has it yet");
            new.failures = old.failures.at(config.limits.failed_auth_per_minute);
        }
        if !difference.touches(&["shedding.lateness"]) {
            renewed.lateness.clone_from(&self.lateness);
        }
        renewed
    }

    /// The share of the requests that is refused because this process is late.
    pub(crate) fn share(&self) -> f64 {
        self.lateness
            .as_ref()
            .map_or(0.0, |lateness| lateness.share())
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard {
            inner,
            watch: self.watch.clone(),
            lateness: self.lateness.clone(),
        }
    }
}

// === impl Guard ===

impl<S, B, R> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let attempt = self.watch.as_ref();
        let attempt = attempt.and_then(|watch| watch.attempt(&request));
        let is_late = self.lateness.as_ref().is_some_and(|late| late.refuses());
        let refusal = if is_late {
            Some(ApiError::overloaded())
        } else {
            let wait = attempt.as_ref().and_then(Attempt::wait);
            wait.map(ApiError::too_many_failed_attempts)
        };
        if let Some(refusal) = refusal {
            request.extensions_mut().insert(Refusal(refusal));
        }
        GuardFuture {
            inner: self.inner.call(request),
            attempt,
        }
    }
}

// === impl Watch ===

impl Watch {
    fn attempt<B>(self: &Arc<Self>, request: &Request<B>) -> Option<Attempt> {
        if !request.headers().contains_key(AUTHORIZATION) {
            return None;
        }
        let client: &ClientAddress = request.extensions().get()?;
        let address = client.address?;
        let is_a_clients = self.knows_proxies || !is_private(address);
        is_a_clients.then(|| Attempt {
            who: household(address),
            watch: Arc::clone(self),
        })
    }
}

// === impl Attempt ===

impl Attempt {
    fn wait(&self) -> Option<std::time::Duration> {
        let now = self.watch.clock.elapsed();
        self.watch.failures.wait(self.who, now)
    }

    fn failed(&self) {
        let now = self.watch.clock.elapsed();
        self.watch.failures.note(self.who, now);
    }
}

// === impl GuardFuture ===

impl<F, R, E> Future for GuardFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answered = ready!(this.inner.poll(cx));
        if let (Some(attempt), Ok(response)) = (this.attempt.take(), &answered)
            && response.extensions().get::<Unauthenticated>().is_some()
        {
            attempt.failed();
        }
        Poll::Ready(answered)
    }
}

/// What it goes by.
const OF_GUARD: &[&str] = &[
    "limits.failed_auth_per_minute",
    "shedding.lateness",
    "trusted_proxies",
];
