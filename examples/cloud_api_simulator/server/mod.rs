//! The listeners: they serve the planes, and can break a connection where an answer should be.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::simulator::Simulator;
use crate::{control, graph, webhook};

/// Marks a response that must not be sent: the connection is reset in its place.
#[derive(Clone, Copy, Debug, Error)]
#[error("a fault cuts this connection")]
pub(crate) struct Cut;

/// A simulator and the sockets it listens on.
#[derive(Debug)]
pub(crate) struct Server {
    simulator: Arc<Simulator>,
    graph: TcpListener,
    /// Absent where one socket serves both planes.
    control: Option<TcpListener>,
}

// === impl Server ===

impl Server {
    /// Listens for the Graph plane, and elsewhere for the control plane where that is asked for.
    pub(crate) async fn bind(
        simulator: Simulator,
        graph: SocketAddr,
        control: Option<SocketAddr>,
    ) -> io::Result<Self> {
        Ok(Self {
            simulator: Arc::new(simulator),
            graph: listen(graph).await?,
            control: match control {
                Some(control) => Some(listen(control).await?),
                None => None,
            },
        })
    }

    /// The base URL of the Graph plane.
    pub(crate) fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.graph.local_addr()?))
    }

    /// The base URL of the control plane.
    pub(crate) fn control_url(&self) -> io::Result<String> {
        let listener = self.control.as_ref().unwrap_or(&self.graph);
        Ok(format!("http://{}", listener.local_addr()?))
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(self) {
        let control = Router::new().nest("/__sim", control::routes());
        let mut work = JoinSet::new();
        match self.control {
            None => {
                let both = control
                    .merge(graph::routes())
                    .with_state(Arc::clone(&self.simulator));
                work.spawn(serve(self.graph, both));
            }
            Some(listener) => {
                let graph = graph::routes().with_state(Arc::clone(&self.simulator));
                work.spawn(serve(self.graph, graph));
                work.spawn(serve(
                    listener,
                    control.with_state(Arc::clone(&self.simulator)),
                ));
            }
        }
        work.spawn(webhook::pump(self.simulator));
        work.join_next().await;
    }
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

async fn serve(listener: TcpListener, app: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the places are never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, app.clone(), place));
            }
            // Out of file descriptors, as a rule: wait for connections to end.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, app: Router, _place: OwnedSemaphorePermit) {
    let service = service_fn(move |request: Request<Incoming>| {
        let app = app.clone();
        Box::pin(async move {
            let Ok(response) = app.oneshot(request.map(Body::new)).await;
            match response.extensions().get::<Cut>() {
                Some(cut) => Err(*cut),
                None => Ok(response),
            }
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let ended = (&mut connection).await;
    if ended.is_err_and(|error| is_cut(&error)) {
        // Without lingering, closing sends a reset instead of an orderly end.
        let stream = connection.into_parts().io.into_inner();
        if let Err(error) = stream.set_zero_linger() {
            tracing::warn!(%error, "a connection ends in order that should have been reset");
        }
    }
}

fn is_cut(error: &hyper::Error) -> bool {
    error.source().is_some_and(|source| source.is::<Cut>())
}

/// Far more than one service under test opens.
const MAX_CONNECTIONS: usize = 4096;

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
