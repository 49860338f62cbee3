//! `GET /__sim/events`: the whole picture, then what changes, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use tokio::sync::broadcast::Receiver;

use super::hub::Told;
use super::picture;
use crate::simulator::Simulator;

/// An open page.
#[derive(Debug)]
struct Listener {
    simulator: Arc<Simulator>,
    /// Absent where the next event is the whole picture.
    receiver: Option<Receiver<Told>>,
}

/// Handles the request.
pub(super) async fn stream(
    State(simulator): State<Arc<Simulator>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let listener = Listener {
        simulator,
        receiver: None,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await;
        Some((Ok(event), listener))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

// === impl Listener ===

impl Listener {
    async fn next(&mut self) -> Event {
        loop {
            let Some(receiver) = &mut self.receiver else {
                return self.begin();
            };
            match receiver.recv().await {
                Ok(Told::Event { id, name, data }) => return event(id, name, &data),
                // It fell behind, or everything changed: what it missed is in the picture.
                Ok(Told::Anew) | Err(_) => self.receiver = None,
            }
        }
    }

    /// The picture, and from the same moment on whatever changes it.
    fn begin(&mut self) -> Event {
        let (now, rate) = (self.simulator.clock.now(), self.simulator.clock.rate());
        let (id, picture) = {
            let mut state = self.simulator.lock();
            self.receiver = Some(state.page.hub.subscribe());
            let picture = picture::whole(&mut state, now, rate);
            (state.page.hub.last_id(), picture)
        };
        event(id, "snapshot", &picture.to_string()).retry(RETRY)
    }
}

fn event(id: u64, name: &str, data: &str) -> Event {
    Event::default().id(id.to_string()).event(name).data(data)
}

/// Shows a page that the simulator still lives, and the simulator that a page has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(1);
