//! The innermost service: it proxies to the service behind the sidecar.
//!
//! - Bodies stream both ways in constant memory; a small answer that has arrived is given
//!   in one piece, without a box.
//! - Fields that belong to one connection are removed in both directions, `Expect` is
//!   answered by the listener, an upgrade is not passed on.
//! - A fault becomes a response of the API: 502 where the service is down or its answer was
//!   cut, 504 where it is slow, 503 where too many requests are under way; a fault of the
//!   *request's* body is the client's: 400, 408, 413. The response's extensions say
//!   whether the service can have executed the request ([`Effect`](vestibule::Effect)).
//! - A request that met a stale connection is sent once more where nothing of it was
//!   sent, or where a repetition does no harm: the method is idempotent, or the route's
//!   service de-duplicates.
//! - Of several services each request goes to the next one that is well; one that keeps
//!   failing is left out for a while, or until a look at it goes well. A request of which
//!   nothing was sent goes on to the next.

mod exchange;
mod fault;
mod health;
mod http2;
mod idle;
mod outgoing;
mod retry;
mod sending;
mod set;
mod streamed;
mod tls;
mod turns;
mod wire;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode, request};
use tower_service::Service;
use vestibule::Body;
use vestibule::route::{Policy, RouteMatch, UpstreamKind};

use self::exchange::{Exchange, Failed};
pub use self::fault::Fault;
use self::fault::{BoxError, Kind};
use self::retry::Attempt;
use self::sending::Sending;
use self::set::{Chosen, Set};
pub use self::streamed::Streamed;
use self::turns::{Place, Turns};
use self::wire::Session;
use crate::config::Config;
use crate::reload::OF_UPSTREAM;
use crate::reload::difference::Difference;
use crate::start::StartError;
use crate::telemetry::Passage;
use crate::tls::Reloads;

/// The service behind the sidecar. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    set: Set,
    turns: Turns,
    patience: Duration,
    reloads: Reloads,
}

// === impl Upstream ===

impl Upstream {
    /// Looks the service up. Must be called inside a runtime, in which one task then
    /// closes connections that have been idle too long.
    ///
    /// # Errors
    ///
    /// The name of the service cannot be looked up, or a file of `[upstream_tls]` is not
    /// good.
    pub async fn new(config: &Config) -> Result<Self, StartError> {
        Self::counted(config, Reloads::default()).await
    }

    /// The same, and counts how often its certificates are read anew.
    pub(crate) async fn counted(config: &Config, reloads: Reloads) -> Result<Self, StartError> {
        Ok(Self {
            set: Set::new(config, &reloads).await?,
            turns: Turns::new(config),
            patience: config.timeouts.body,
            reloads,
        })
    }

    /// The same by another configuration: connections and what is known of the services last
    /// where nothing of theirs is another.
    pub(crate) async fn renewed(
        &self,
        config: &Config,
        difference: &Difference,
    ) -> Result<Self, StartError> {
        let set = if difference.touches(OF_UPSTREAM) {
            Set::new(config, &self.reloads).await?
        } else {
            self.set.clone()
        };
        Ok(Self {
            set,
            turns: self.turns.renewed(config, difference),
            patience: config.timeouts.body,
            reloads: self.reloads.clone(),
        })
    }

    /// How many services there are, and how many of them get requests.
    pub fn services(&self) -> (usize, usize) {
        self.set.count()
    }

    async fn proxy<B>(self, request: Request<B>) -> Response<Body<Streamed>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = request.into_parts();
        let found = head.extensions.get().and_then(RouteMatch::policy);
        let policy = found.cloned();
        let body_max = policy.as_ref().map_or(0, |policy| policy.bytes_allowed());
        let passage: Option<Passage> = head.extensions.get().cloned();
        let is_head = head.method == Method::HEAD;
        let Some(place) = self.turns.take().await else {
            return Fault::new(Kind::Full).into_response(body_max);
        };
        let sending = Sending::new(body, self.patience).counted(passage.clone());
        let calling = passage.map(|passage| passage.calling(&mut head.headers));
        let answered = match self.exchange(head, policy.as_deref(), sending).await {
            Ok((exchange, response)) => answer(exchange, response, place, is_head).await,
            Err(fault) => Err(fault),
        };
        if let Some(calling) = calling {
            let status = answered.as_ref().ok().map(Response::status);
            calling.ended(outcome(&answered), status);
        }
        answered.unwrap_or_else(|fault| fault.into_response(body_max))
    }

    /// Sends the request, and once more where the first connection was stale.
    async fn exchange<B>(
        &self,
        mut head: request::Parts,
        policy: Option<&Policy>,
        sending: Sending<B>,
    ) -> Result<(Exchange<B>, Response<()>), Fault>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let kind = policy.and_then(Policy::upstream_kind);
        let deduplicated = kind == Some(UpstreamKind::Deduplicates);
        let repeatable = retry::is_repeatable(&head.method, deduplicated);
        outgoing::prepare(&mut head, sending.length());
        let (chosen, session) = self.set.session().await?;
        let wire = Arc::clone(&chosen.wire);
        // Only a kept connection can be stale, so only then is the head needed twice.
        let again = session.is_reused().then(|| head.clone());
        let failed = match Exchange::begin(wire, session, head, sending).await {
            Ok(begun) => {
                chosen.note(Ok(()));
                return Ok(begun);
            }
            Err(failed) => failed,
        };
        let Failed {
            fault,
            reused,
            mut sending,
        } = failed;
        let attempt = Attempt {
            reused,
            replayable: sending.is_replayable(),
            repeatable,
        };
        let Some(head) = again.filter(|_| retry::may_retry(fault.kind(), attempt)) else {
            chosen.note(Err(fault.kind()));
            return Err(fault);
        };
        tracing::debug!(fault = %fault, "sent once more: the connection was stale");
        sending.rewind();
        let (chosen, session) = self.again(chosen).await?;
        let wire = Arc::clone(&chosen.wire);
        let begun = Exchange::begin(wire, session, head, sending).await;
        let begun = begun.map_err(|failed| failed.fault);
        chosen.note(begun.as_ref().map(drop).map_err(|fault| fault.kind()));
        begun
    }

    /// A new connection to the same service; where there is none any more, to another one.
    async fn again(&self, chosen: Chosen) -> Result<(Chosen, Session), Fault> {
        match chosen.wire.fresh_session().await {
            Ok(session) => Ok((chosen, session)),
            Err(fault) => {
                chosen.note(Err(fault.kind()));
                if chosen.is_the_only_one() {
                    return Err(fault);
                }
                self.set.session().await
            }
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("room", &self.turns.left())
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for Upstream
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body<Streamed>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let proxied = self.clone().proxy(request);
        Box::pin(async { Ok(proxied.await) })
    }
}

/// The word for what became of a request.
fn outcome<T>(answered: &Result<T, Fault>) -> &'static str {
    match answered {
        Ok(_) => "answered",
        Err(fault) => fault.kind().as_str(),
    }
}

async fn answer<B>(
    exchange: Exchange<B>,
    mut response: Response<()>,
    place: Place,
    is_head: bool,
) -> Result<Response<Body<Streamed>>, Fault>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    if response.status() == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6: a 204 has no length.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.filter(|_| !is_head);
    let body = exchange.into_body(place, length).await?;
    Ok(response.map(|()| body))
}
