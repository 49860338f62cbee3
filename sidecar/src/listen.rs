//! pingora's process around the connections: its server, its services, its listeners.

use std::error::Error;
use std::fs::Permissions;
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::{L4BufferSettings, ListenerConfig, Listeners};
use pingora_core::protocols::Stream;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{
    ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch,
};
use pingora_core::services::{Service as PingoraService, ServiceWithDependents, listening};
use tower_service::Service;

use crate::config::Address;
use crate::connection::{Peer, Refused};
use crate::gate::{Gate, Leave};
use crate::handover::Heritage;
use crate::lifecycle::{Lifecycle, Open, Order};
use crate::newest::Newest;
use crate::socket::Socket;
use crate::start::StartError;
use crate::terms::Terms;

/// A listener whose stack is built inside its own runtime, because what it is built of
/// (stores, watched files) lives there.
pub(crate) struct Listen<F> {
    name: &'static str,
    address: Address,
    mode: u32,
    descriptor: RawFd,
    threads: usize,
    terms: Newest<Arc<Terms>>,
    life: Arc<Lifecycle>,
    role: Role,
    build: Mutex<Option<F>>,
    failure: Failure,
}

/// How a listener serves, apart from its stack.
pub(crate) struct Manner {
    pub(crate) name: &'static str,
    pub(crate) threads: usize,
    pub(crate) terms: Newest<Arc<Terms>>,
    pub(crate) role: Role,
}

/// Whom a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Clients: it closes when the drain begins.
    Edge,
    /// Whoever asks for health: it serves until the process is over.
    Admin,
    /// The same, in a process that takes over. The one before it answers until this one is
    /// ready, so that readiness does not go off between the two.
    AdminOfHeir,
}

/// Why a stack could not be built, for whoever started the process.
pub(crate) type Failure = Arc<Mutex<Option<StartError>>>;

/// A stack that is being built.
pub(crate) type Building<S> = Pin<Box<dyn Future<Output = Result<Newest<S>, StartError>> + Send>>;

/// One pingora application: each connection is served to its end.
struct Edge<S> {
    stack: Newest<S>,
    terms: Newest<Arc<Terms>>,
    /// The listener of health does not keep the process alive.
    counted: Option<Arc<Lifecycle>>,
    leave: tokio::sync::watch::Receiver<Leave>,
}

/// Tells pingora to stop at once, when everything has been drained.
struct WhenDrained {
    life: Arc<Lifecycle>,
    on_signals: bool,
    heritage: Mutex<Option<Heritage>>,
}

/// What one server runs.
pub(crate) type Services = Vec<Box<dyn ServiceWithDependents>>;

/// Runs pingora's server until the lifecycle is over. It blocks.
pub(crate) fn run(
    services: Services,
    life: Arc<Lifecycle>,
    heritage: Option<Heritage>,
    on_signals: bool,
) {
    let mut server = Server::new_with_opt_and_conf(None, ServerConf::default());
    server.add_services(services);
    let shutdown_signal = Box::new(WhenDrained {
        life,
        on_signals,
        heritage: Mutex::new(heritage),
    });
    server.run(RunArgs { shutdown_signal });
}

// === impl Listen ===

impl<F> Listen<F> {
    pub(crate) fn new(
        socket: Socket,
        manner: Manner,
        life: Arc<Lifecycle>,
        failure: Failure,
        build: F,
    ) -> Self {
        Self {
            name: manner.name,
            address: socket.address().clone(),
            mode: socket.mode(),
            descriptor: socket.into_raw_fd(),
            threads: manner.threads,
            terms: manner.terms,
            life,
            role: manner.role,
            build: Mutex::new(Some(build)),
            failure,
        }
    }

    fn gate(&self) -> &Gate {
        match self.role {
            Role::Edge => self.life.edge(),
            Role::Admin | Role::AdminOfHeir => self.life.admin(),
        }
    }

    /// pingora finds a socket that is bound already in its table of descriptors.
    fn listeners(&self, descriptors: Option<&ListenFds>) -> Listeners {
        let (name, listener) = match &self.address {
            Address::Tcp(address) => {
                let name = address.to_string();
                (name.clone(), ListenerConfig::tcp(name))
            }
            Address::Unix(path) => {
                let name = path.display().to_string();
                // Without one pingora lets everybody connect.
                let mode = Permissions::from_mode(self.mode);
                (name.clone(), ListenerConfig::uds(name).permissions(mode))
            }
        };
        if let Some(descriptors) = descriptors {
            descriptors.lock().add(name, self.descriptor);
        }
        let mut listeners = Listeners::new();
        // hyper has buffers of its own.
        listeners.add_listener(listener.l4_buffer(L4BufferSettings::unbuffered()));
        listeners
    }
}

#[async_trait]
impl<F, S, B> PingoraService for Listen<F>
where
    F: FnOnce() -> Building<S> + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data: From<Bytes> + Send> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn start_service(
        &mut self,
        descriptors: Option<ListenFds>,
        _: ShutdownWatch,
        listeners_per_descriptor: usize,
    ) {
        let build = self
            .build
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let build = build.expect("pingora starts a service once");
        let stack = match build().await {
            Ok(stack) => stack,
            Err(cause) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(cause);
                self.life.tell(Order::Halt);
                return;
            }
        };
        match self.role {
            Role::Edge => self.life.ready(),
            Role::Admin => {}
            Role::AdminOfHeir => {
                self.life.started().await;
                if !self.life.has_served() {
                    return;
                }
            }
        }
        let closed = self.gate().closed();
        let edge = Edge {
            stack,
            terms: self.terms.clone(),
            counted: (self.role == Role::Edge).then(|| Arc::clone(&self.life)),
            leave: self.gate().leave(),
        };
        let listeners = self.listeners(descriptors.as_ref());
        let name = self.name.to_owned();
        let mut service = listening::Service::with_listeners(name, listeners, edge);
        let count = listeners_per_descriptor;
        PingoraService::start_service(&mut service, descriptors, closed, count).await;
    }

    fn name(&self) -> &str {
        self.name
    }

    fn threads(&self) -> Option<usize> {
        Some(self.threads)
    }
}

// === impl Edge ===

impl<S> Edge<S> {
    /// A place for one connection; an inner none where connections are not counted.
    fn place(&self, most: usize) -> Option<Option<Open>> {
        match &self.counted {
            None => Some(None),
            Some(life) => life.open(most).map(Some),
        }
    }

    fn note(&self, refused: Refused) {
        if let Some(life) = &self.counted {
            life.metrics().refused(refused);
        }
    }
}

#[async_trait]
impl<S, B> ServerApp for Edge<S>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: Send + 'static,
    B: http_body::Body<Data: From<Bytes> + Send> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn process_new(self: &Arc<Self>, io: Stream, _: &ShutdownWatch) -> Option<Stream> {
        let terms = self.terms.get();
        let Some(_open) = self.place(terms.most) else {
            tracing::warn!(
                most = terms.most,
                "a connection was closed: there are too many"
            );
            self.note(Refused::TooMany);
            return None;
        };
        let digest = io.get_socket_digest();
        let address = digest.and_then(|digest| digest.peer_addr()?.as_inet().copied());
        let peer = Peer {
            address,
            is_encrypted: false,
        };
        let leave = self.leave.clone();
        let served = terms.http.serve(io, peer, self.stack.view(), leave).await;
        if let Err(refused) = served {
            self.note(refused);
        }
        // hyper has kept the connection for as long as it was good.
        None
    }
}

// === impl WhenDrained ===

#[async_trait]
impl ShutdownSignalWatch for WhenDrained {
    async fn recv(&self) -> ShutdownSignal {
        let heritage = self.heritage.lock();
        let heritage = heritage.unwrap_or_else(PoisonError::into_inner).take();
        let heirs = async {
            if let Some(heritage) = heritage {
                heritage.pass_on(&self.life).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = self.life.run(self.on_signals) => {}
            () = heirs => {}
        }
        // A graceful shutdown would sleep for a fixed time; nothing is left to wait for.
        ShutdownSignal::FastShutdown
    }
}
