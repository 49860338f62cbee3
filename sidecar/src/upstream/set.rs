//! The service behind the sidecar, or several that are alike: whose turn it is, and who is
//! left out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, request};
use http_body_util::Empty;
use tokio::time::{Instant, timeout};

use super::exchange::Exchange;
use super::fault::{Fault, Kind};
use super::health::{Change, Health, Terms, order};
use super::outgoing;
use super::sending::Sending;
use super::wire::{Session, Wire};
use crate::config::{self, Config, Target};
use crate::start::StartError;
use crate::tls::Reloads;

/// Where requests go. Cheap to clone.
#[derive(Clone)]
pub(super) enum Set {
    One(Arc<Wire>),
    Many(Arc<Many>),
}

/// Several services, each with connections of its own.
pub(super) struct Many {
    services: Vec<(Target, Arc<Wire>)>,
    health: Mutex<Vec<Health>>,
    turn: AtomicUsize,
    terms: Terms,
    began: Instant,
}

/// The service that a request has gone to.
pub(super) struct Chosen {
    pub(super) wire: Arc<Wire>,
    /// None where there is no other.
    among: Option<(Arc<Many>, usize)>,
}

// === impl Set ===

impl Set {
    /// Looks the services up. Of several each is looked at now and then, by a task.
    pub(super) async fn new(config: &Config, reloads: &Reloads) -> Result<Self, StartError> {
        let first = Wire::new(config, &config.upstream, reloads).await?;
        if config.more_upstreams.is_empty() {
            return Ok(Self::One(first));
        }
        let mut services = vec![(config.upstream.clone(), first)];
        for target in &config.more_upstreams {
            let wire = Wire::new(config, target, reloads).await?;
            services.push((target.clone(), wire));
        }
        let many = Arc::new(Many {
            health: Mutex::new(vec![Health::default(); services.len()]),
            services,
            turn: AtomicUsize::new(0),
            terms: Terms {
                failures: config.health.failures,
                rest: config.health.rest,
            },
            began: Instant::now(),
        });
        for at in 0..many.services.len() {
            tokio::spawn(watch(Arc::downgrade(&many), at, config.health.clone()));
        }
        Ok(Self::Many(many))
    }

    /// A connection for a request. A service to which none can be made has got nothing of
    /// it, so the next one is tried.
    pub(super) async fn session(&self) -> Result<(Chosen, Session), Fault> {
        let many = match self {
            Self::One(wire) => {
                let session = wire.session().await?;
                let (wire, among) = (Arc::clone(wire), None);
                return Ok((Chosen { wire, among }, session));
            }
            Self::Many(many) => many,
        };
        let mut last = Fault::new(Kind::ConnectRefused);
        for at in many.order() {
            let wire = Arc::clone(&many.services[at].1);
            let session = wire.session().await;
            let among = Some((Arc::clone(many), at));
            match session {
                Ok(session) => return Ok((Chosen { wire, among }, session)),
                Err(fault) => {
                    many.note(at, false);
                    last = fault;
                }
            }
        }
        Err(last)
    }

    /// How many services there are, and how many of them get requests.
    pub(super) fn count(&self) -> (usize, usize) {
        match self {
            Self::One(_) => (1, 1),
            Self::Many(many) => {
                let now = many.began.elapsed();
                let well = many.with(|health| health.iter().filter(|one| one.is_well(now)).count());
                (many.services.len(), well)
            }
        }
    }
}

// === impl Chosen ===

impl Chosen {
    /// Whether there is no other to go to.
    pub(super) fn is_the_only_one(&self) -> bool {
        self.among.is_none()
    }

    /// Notes what came of the request.
    pub(super) fn note(&self, outcome: Result<(), Kind>) {
        let Some((many, at)) = &self.among else {
            return;
        };
        match outcome {
            Ok(()) => many.note(*at, true),
            Err(kind) if kind.is_the_services() => many.note(*at, false),
            Err(_) => {}
        }
    }
}

// === impl Many ===

impl Many {
    fn order(&self) -> Vec<usize> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let now = self.began.elapsed();
        self.with(|health| order(health, turn, now))
    }

    fn note(&self, at: usize, is_well: bool) {
        let now = self.began.elapsed();
        let change = self.with(|health| match is_well {
            true => health[at].answered(),
            false => health[at].failed(now, self.terms),
        });
        let upstream = &self.services[at].0;
        match change {
            Some(Change::LeftOut) => tracing::warn!(%upstream, "an upstream is left out: it fails"),
            Some(Change::Back) => tracing::info!(%upstream, "an upstream gets requests again"),
            None => {}
        }
    }

    fn with<T>(&self, step: impl FnOnce(&mut Vec<Health>) -> T) -> T {
        step(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks at one service now and then, until nobody uses it.
async fn watch(many: Weak<Many>, at: usize, health: config::Health) {
    loop {
        tokio::time::sleep(health.interval).await;
        let Some(many) = many.upgrade() else {
            return;
        };
        let (target, wire) = &many.services[at];
        let look = look(Arc::clone(wire), target, health.path.as_deref());
        let is_well = timeout(health.timeout, look).await.unwrap_or(false);
        many.note(at, is_well);
    }
}

/// Whether a service can be reached, and says that it is well.
async fn look(wire: Arc<Wire>, target: &Target, path: Option<&str>) -> bool {
    let Some(path) = path else {
        return wire.can_be_reached().await;
    };
    let Ok(session) = wire.session().await else {
        return false;
    };
    let body = Empty::<Bytes>::new();
    let sending = Sending::new(body, Duration::MAX);
    match Exchange::begin(wire, session, question(target, path), sending).await {
        Ok((exchange, answer)) => {
            exchange.let_go().await;
            answer.status().is_success() || answer.status().is_redirection()
        }
        Err(_) => false,
    }
}

fn question(target: &Target, path: &str) -> request::Parts {
    let host = match target {
        Target::Tcp(authority) | Target::Tls(authority) => authority,
        Target::Unix(_) => "localhost",
    };
    let request = Request::get(path).header(http::header::HOST, host).body(());
    let (mut head, ()) = request.unwrap_or_default().into_parts();
    outgoing::prepare(&mut head, Some(0));
    head
}
