//! The listeners: they serve the planes, and can break a connection where an answer should be.

mod connection;
mod door;
mod line;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::door::Door;
use crate::simulator::Simulator;
use crate::{control, graph, page, webhook};

/// Ends a connection in the place of what would be read or written next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Cut {
    /// An orderly end, in the middle of something.
    #[error("a fault closes this connection")]
    Close,
    /// HTTP/2: the stream is refused, so that its client knows that nothing was processed.
    #[error("a fault refuses this stream")]
    Refuse,
    /// A reset.
    #[error("a fault resets this connection")]
    Reset,
}

/// Marks a response after which its connection does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The client is told that no more requests are taken.
    GoAway,
    /// The connection ends, and nothing has announced it.
    HangUp,
}

/// What a socket serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plane {
    Both,
    Control,
    Graph,
}

/// A simulator and the sockets it listens on.
#[derive(Debug)]
pub(crate) struct Server {
    simulator: Arc<Simulator>,
    graph: Door,
    /// Absent where one socket serves both planes.
    control: Option<Door>,
}

// === impl Server ===

impl Server {
    /// Listens for the Graph plane, and elsewhere for the control plane where that is asked for.
    pub(crate) fn bind(
        simulator: Simulator,
        graph: SocketAddr,
        control: Option<SocketAddr>,
    ) -> io::Result<Self> {
        Ok(Self {
            simulator: Arc::new(simulator),
            graph: Door::open(graph)?,
            control: match control {
                Some(control) => Some(Door::open(control)?),
                None => None,
            },
        })
    }

    /// The base URL of the Graph plane.
    pub(crate) fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.graph.address()?))
    }

    /// The base URL of the control plane.
    pub(crate) fn control_url(&self) -> io::Result<String> {
        let door = self.control.as_ref().unwrap_or(&self.graph);
        Ok(format!("http://{}", door.address()?))
    }

    /// Serves until it is dropped.
    pub(crate) async fn run(self) {
        let control = page::routes().nest("/__sim", control::routes());
        let mut work = JoinSet::new();
        let with = |routes: Router<Arc<Simulator>>| routes.with_state(Arc::clone(&self.simulator));
        let serve = |door, app, plane| serve(door, app, plane, Arc::clone(&self.simulator));
        match self.control {
            None => {
                let both = with(control.merge(graph::routes()));
                work.spawn(serve(self.graph, both, Plane::Both));
            }
            Some(door) => {
                work.spawn(serve(self.graph, with(graph::routes()), Plane::Graph));
                work.spawn(serve(door, with(control), Plane::Control));
            }
        }
        work.spawn(page::watch(Arc::clone(&self.simulator)));
        work.spawn(webhook::pump(self.simulator));
        work.join_next().await;
    }
}

async fn serve(mut door: Door, app: Router, plane: Plane, simulator: Arc<Simulator>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        if plane != Plane::Control {
            door.keep(&simulator).await;
        }
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the places are never closed");
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            () = simulator.knock.notified(), if plane != Plane::Control => continue,
        };
        match accepted {
            Ok(stream) => {
                let (app, simulator) = (app.clone(), Arc::clone(&simulator));
                tokio::spawn(connection::serve(stream, app, plane, simulator, place));
            }
            // Out of file descriptors, as a rule: wait for connections to end.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Far more than one service under test opens.
const MAX_CONNECTIONS: usize = 4096;

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
