//! `POST /v1/drain` on the admin socket: ends the process as SIGTERM does.
//!
//! A pod tells its containers by their hooks first, all at once, and then by signals, the
//! sidecar last: by then the service behind it has gone.

use http::{Method, Response, StatusCode};
use vestibule::Body;

use super::{Answer, not_allowed};
use crate::lifecycle::{Lifecycle, Order};

/// Where it is asked for.
pub(super) const PATH: &str = "/v1/drain";

/// Begins the end. A second request changes nothing: an order is never taken back.
pub(super) fn answer(life: &Lifecycle, method: &Method) -> Answer {
    if method != Method::POST {
        return not_allowed("POST").into_response();
    }
    tracing::info!("told to drain by the admin socket");
    life.tell(Order::Drain);
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::Drain;
    use crate::lifecycle::Stage;

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_told_to_drain_ends() {
        let life = Lifecycle::new(Drain::default());
        let running = tokio::spawn({
            let life = Arc::clone(&life);
            async move { life.run(false).await }
        });
        for (method, want) in [(Method::GET, 405), (Method::POST, 202), (Method::POST, 202)] {
            assert_eq!(answer(&life, &method).status().as_u16(), want, "{method}");
        }
        running.await.unwrap();
        assert_eq!(life.stage(), Stage::Draining);
    }
}
