//! A sidecar as a value: what it is told, what is put around it, and how it is run.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tower_layer::{Identity, Layer, Stack};
use tower_service::Service;
use vestibule::clock::{SharedClock, SystemClock};
use vestibule::entropy::{SharedEntropy, SystemEntropy};

use crate::admin::Admin;
use crate::config::{Address, Config};
use crate::handover::Heritage;
use crate::lifecycle::{Lifecycle, Order};
use crate::listen::{self, Building, Failure, Listen, Manner, Role, Services};
use crate::log::Log;
use crate::newest::Newest;
use crate::reload::{self, Reloading};
use crate::socket::{Name, Socket};
use crate::sockets::Sockets;
use crate::stack::{self, Core, Parts, Proxy, Sources};
use crate::start::StartError;
use crate::telemetry::{Observe, Side};
use crate::terms::Terms;

/// A sidecar that has not been started.
///
/// See the [crate docs](crate) for an example.
#[derive(Clone, Debug)]
#[must_use = "a sidecar does nothing until it is run"]
pub struct Sidecar<L = Identity, M = Identity> {
    config: Config,
    sources: Sources,
    upgrade: bool,
    log: Option<Log>,
    outer: L,
    inner: M,
}

/// A sidecar that serves on a thread of its own; dropped it stops at once.
#[derive(Debug)]
pub struct Running {
    address: Address,
    admin: Option<Address>,
    life: Arc<Lifecycle>,
    thread: Option<JoinHandle<()>>,
}

/// A sidecar whose sockets are bound.
struct Bound {
    address: Address,
    admin: Option<Address>,
    services: Services,
    names: Vec<Name>,
    heritage: Option<Heritage>,
    is_heir: bool,
    life: Arc<Lifecycle>,
    failure: Failure,
}

// === impl Sidecar ===

impl Sidecar {
    /// A sidecar as the configuration says.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            sources: Sources {
                clock: SystemClock::shared(),
                entropy: SystemEntropy::shared(),
            },
            upgrade: false,
            log: None,
            outer: Identity::new(),
            inner: Identity::new(),
        }
    }
}

impl<L, M> Sidecar<L, M> {
    /// Puts a layer around everything: it sees each request first and each answer last.
    /// Of several the first that is added is the outermost.
    pub fn layer<T>(self, layer: T) -> Sidecar<Stack<T, L>, M> {
        Sidecar {
            config: self.config,
            sources: self.sources,
            upgrade: self.upgrade,
            log: self.log,
            outer: Stack::new(layer, self.outer),
            inner: self.inner,
        }
    }

    /// Puts a layer between the layers of the API and the service: it sees only what they
    /// let pass, with the caller's [`Principal`](vestibule::Principal) in its extensions.
    /// Of several the first that is added is the outermost.
    pub fn inner_layer<T>(self, layer: T) -> Sidecar<L, Stack<T, M>> {
        Sidecar {
            config: self.config,
            sources: self.sources,
            upgrade: self.upgrade,
            log: self.log,
            outer: self.outer,
            inner: Stack::new(layer, self.inner),
        }
    }

    /// Takes the listening sockets over from the process that runs with the same
    /// `upgrade_sock`, instead of binding them. That one serves until this one does, and
    /// then brings its connections to their end.
    pub fn upgrade(mut self) -> Self {
        self.upgrade = true;
        self
    }

    /// Writes a line for each request into this log, where the configuration asks for it, and
    /// lets its level be changed. Without one nothing is written but what `tracing` is told.
    pub fn log(mut self, log: &Log) -> Self {
        self.log = Some(log.clone());
        self
    }

    /// The time; the machine's by default.
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.sources.clock = clock;
        self
    }

    /// The source of ids and tokens; the machine's by default.
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.sources.entropy = entropy;
        self
    }
}

impl<L, M, B> Sidecar<L, M>
where
    M: Layer<Proxy> + Send + Sync + 'static,
    L: Layer<Core<<M as Layer<Proxy>>::Service>> + Send + Sync + 'static,
    L::Service: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    <L::Service as Service<Request<Incoming>>>::Error: Into<Box<dyn Error + Send + Sync>>,
    <L::Service as Service<Request<Incoming>>>::Future: Send + 'static,
    B: http_body::Body<Data: From<Bytes> + Send> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Serves until SIGTERM, and then until everything under way has ended; SIGINT ends
    /// it at once. It blocks, and must not be called inside a runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`] where it cannot start.
    pub fn run(self) -> Result<(), StartError> {
        self.run_and_tell(|_, _| {})
    }

    /// The same, and tells where it listens once its sockets are bound: for clients, and
    /// for health, readiness and metrics.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_and_tell(
        self,
        tell: impl FnOnce(&Address, Option<&Address>),
    ) -> Result<(), StartError> {
        let bound = self.bind(true)?;
        tracing::info!(address = %bound.address, "listening");
        if let Some(address) = &bound.admin {
            tracing::info!(%address, "listening for health, readiness and metrics");
        }
        tell(&bound.address, bound.admin.as_ref());
        let life = Arc::clone(&bound.life);
        listen::run(bound.services, Arc::clone(&life), bound.heritage, true);
        take_away(bound.names, bound.is_heir, &life);
        outcome(&bound.failure)
    }

    /// Serves on a thread of its own, and heeds no signal. It returns when requests are
    /// served.
    ///
    /// # Errors
    ///
    /// [`StartError`] where it cannot start.
    pub fn spawn(self) -> Result<Running, StartError> {
        let bound = self.bind(false)?;
        let (life, failure) = (Arc::clone(&bound.life), Arc::clone(&bound.failure));
        let (services, heritage) = (bound.services, bound.heritage);
        let (names, is_heir) = (bound.names, bound.is_heir);
        let thread = {
            let life = Arc::clone(&life);
            std::thread::spawn(move || {
                listen::run(services, Arc::clone(&life), heritage, false);
                take_away(names, is_heir, &life);
            })
        };
        let running = Running {
            address: bound.address,
            admin: bound.admin,
            life,
            thread: Some(thread),
        };
        let life = Arc::clone(&running.life);
        // The caller may be inside a runtime, which must not be blocked by another one.
        let started = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.map(|runtime| runtime.block_on(life.started()))
        });
        let started = started.join().is_ok_and(|waited| waited.is_ok());
        outcome(&failure)?;
        started.then_some(running).ok_or(StartError::Ended)
    }

    fn bind(self, on_signals: bool) -> Result<Bound, StartError> {
        let life = Lifecycle::new(self.config.drain);
        life.shown().configured(&self.config);
        if let Some(log) = &self.log {
            life.shown().write_to(log.clone());
        }
        let failure = Arc::new(Mutex::new(None));
        let reloads = life.metrics().reloads(Side::Clients);
        let terms = Newest::new(Arc::new(Terms::new(&self.config, &reloads)?));
        let admin_terms = Newest::new(Arc::new(Terms::of_admin(&self.config)));
        let Sockets {
            edge,
            admin,
            names,
            heritage,
        } = if self.upgrade {
            Sockets::take_over(&self.config)?
        } else {
            Sockets::bind(&self.config)?
        };
        let is_heir = self.upgrade;
        let bound = |socket: &Socket| socket.address().clone();
        let (address, admin_address) = (bound(&edge), admin.first().map(bound));
        let mut services: Services = Vec::new();
        let stack = Admin::new(Arc::clone(&life));
        for socket in admin {
            let manner = Manner {
                name: "admin",
                threads: 1,
                terms: admin_terms.clone(),
                role: if self.upgrade {
                    Role::AdminOfHeir
                } else {
                    Role::Admin
                },
            };
            let stack = stack.at(socket.address());
            let build = || -> Building<Admin> { Box::pin(async { Ok(Newest::new(stack)) }) };
            let service = Listen::new(
                socket,
                manner,
                Arc::clone(&life),
                Arc::clone(&failure),
                build,
            );
            services.push(Box::new(service));
        }
        let manner = Manner {
            name: "edge",
            threads: self.config.threads,
            terms: terms.clone(),
            role: Role::Edge,
        };
        let build = {
            let (life, terms) = (Arc::clone(&life), [terms, admin_terms]);
            move || -> Building<Observe<L::Service>> {
                Box::pin(async move { self.build(life, terms, on_signals).await })
            }
        };
        let service = Listen::new(edge, manner, Arc::clone(&life), Arc::clone(&failure), build);
        services.push(Box::new(service));
        Ok(Bound {
            is_heir,
            address,
            admin: admin_address,
            services,
            names,
            heritage,
            life,
            failure,
        })
    }

    async fn build(
        self,
        life: Arc<Lifecycle>,
        [terms, admin_terms]: [Newest<Arc<Terms>>; 2],
        on_signals: bool,
    ) -> Result<Newest<Observe<L::Service>>, StartError> {
        // Without a handler the signal would end the process.
        let hangups = if on_signals { reload::hangups() } else { None };
        terms.get().watch(life.gauges());
        let parts = Parts::open(&self.config, &self.sources, life.shown()).await?;
        let stack = Newest::new(parts.stack((&self.outer, &self.inner)));
        let parts = Newest::new(parts);
        stack::show(&parts, &self.config, &life);
        let reloading = Reloading {
            config: self.config,
            sources: self.sources,
            layers: (self.outer, self.inner),
            parts,
            stack: stack.clone(),
            terms,
            admin_terms,
            life,
        };
        tokio::spawn(reloading.run(hangups));
        Ok(stack)
    }
}

// === impl Running ===

impl Running {
    /// Where it listens; a port 0 has become a real one.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where health, readiness and metrics are: the first of its admin addresses.
    pub fn admin(&self) -> Option<&Address> {
        self.admin.as_ref()
    }

    /// Begins the end, as SIGTERM does.
    pub fn drain(&self) {
        self.life.tell(Order::Drain);
    }

    /// Waits for the end. It blocks.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been printed by its own thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.life.tell(Order::Halt);
            self.join();
        }
    }
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("address", &self.address)
            .field("admin", &self.admin)
            .finish_non_exhaustive()
    }
}

/// The names go with the process, but for those under which another one listens: an heir,
/// or the one that this process was to take over from and never did.
fn take_away(names: Vec<Name>, is_heir: bool, life: &Lifecycle) {
    if life.has_heir() || (is_heir && !life.has_served()) {
        names.into_iter().for_each(Name::leave);
    }
}

fn outcome(failure: &Failure) -> Result<(), StartError> {
    let failed = failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    failed.map_or(Ok(()), Err)
}
