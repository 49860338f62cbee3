//! Several services behind one sidecar: each has its turn, and one that fails is left out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::routing::any;
use http::StatusCode;
use tokio::net::TcpListener;
use vestibule_sidecar::Running;

use super::world::{address, get, open_sidecar, post, send, soon, tcp, text};

/// A service that can be stopped, and started again where it was.
struct Service {
    name: usize,
    at: SocketAddr,
    /// Whether it says that it is well.
    is_well: Arc<AtomicBool>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

#[tokio::test]
async fn requests_go_round_and_none_fails_while_a_service_is_down() {
    let mut services = [
        Service::start(0).await,
        Service::start(1).await,
        Service::start(2).await,
    ];
    let edge = site(&services, "interval = '20ms'\nrest = '1h'");
    assert_eq!(
        answers(&edge, 30).await,
        BTreeMap::from([(0, 10), (1, 10), (2, 10)])
    );

    services[1].stop().await;
    let answered = answers(&edge, 30).await;
    assert_eq!(answered.values().sum::<usize>(), 30, "no request fails");
    assert!(!answered.contains_key(&1), "{answered:?}");
    well(&edge, 2).await;
    assert_eq!(answers(&edge, 30).await, BTreeMap::from([(0, 15), (2, 15)]));

    services[1].start_again().await;
    well(&edge, 3).await;
    assert_eq!(
        answers(&edge, 30).await,
        BTreeMap::from([(0, 10), (1, 10), (2, 10)])
    );
}

#[tokio::test]
async fn a_service_that_says_that_it_is_not_well_gets_no_requests() {
    let services = [Service::start(0).await, Service::start(1).await];
    let edge = site(
        &services,
        "interval = '20ms'\nrest = '1h'\npath = '/readyz'\nfailures = 1",
    );
    services[0].is_well.store(false, Ordering::SeqCst);
    well(&edge, 1).await;
    assert_eq!(answers(&edge, 10).await, BTreeMap::from([(1, 10)]));
    services[0].is_well.store(true, Ordering::SeqCst);
    well(&edge, 2).await;
    assert_eq!(answers(&edge, 10).await, BTreeMap::from([(0, 5), (1, 5)]));
    // Where none is well all are tried.
    for service in &services {
        service.is_well.store(false, Ordering::SeqCst);
    }
    well(&edge, 0).await;
    assert_eq!(answers(&edge, 10).await.values().sum::<usize>(), 10);
}

#[tokio::test]
async fn where_no_service_is_left_the_answer_is_502() {
    let mut services = [Service::start(0).await, Service::start(1).await];
    let edge = site(&services, "interval = '1h'");
    for service in &mut services {
        service.stop().await;
    }
    for request in [get("/"), post("/", "order")] {
        assert_eq!(send(address(&edge), request).await.status(), 502);
    }
}

/// How often each service has answered, GET and POST by turns.
async fn answers(edge: &Running, count: usize) -> BTreeMap<usize, usize> {
    let mut answered = BTreeMap::new();
    for number in 0..count {
        let request = if number % 2 == 0 {
            get("/")
        } else {
            post("/", "order")
        };
        let response = send(address(edge), request).await;
        assert_eq!(response.status(), 200, "request {number}");
        let name = text(response).await.parse().unwrap();
        *answered.entry(name).or_default() += 1;
    }
    answered
}

/// Waits until so many services get requests.
async fn well(edge: &Running, count: usize) {
    let admin = tcp(edge.admin().unwrap());
    let line = format!("vestibule_upstreams_well {count}\n");
    soon(async {
        while !text(send(admin, get("/metrics")).await)
            .await
            .contains(&line)
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn site(services: &[Service], health: &str) -> Running {
    let list: Vec<String> = services
        .iter()
        .map(|service| service.at.to_string())
        .collect();
    open_sidecar(
        list.join("', '"),
        &format!("admin = '127.0.0.1:0'\n[health]\n{health}\n"),
    )
}

// === impl Service ===

impl Service {
    async fn start(name: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut service = Self {
            name,
            at: listener.local_addr().unwrap(),
            is_well: Arc::new(AtomicBool::new(true)),
            stop: None,
        };
        service.serve(listener);
        service
    }

    async fn start_again(&mut self) {
        let listener = TcpListener::bind(self.at).await.unwrap();
        self.serve(listener);
    }

    /// Closes its port and all its connections.
    async fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        soon(async { while tokio::net::TcpStream::connect(self.at).await.is_ok() {} }).await;
    }

    fn serve(&mut self, listener: TcpListener) {
        let (name, is_well) = (self.name.to_string(), Arc::clone(&self.is_well));
        let ready = move || async move {
            match is_well.load(Ordering::SeqCst) {
                true => StatusCode::OK,
                false => StatusCode::SERVICE_UNAVAILABLE,
            }
        };
        let router = Router::new()
            .route("/readyz", any(ready))
            .fallback(any(|| async move { name }));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let serving = axum::serve(listener, router);
            let _ = serving
                .with_graceful_shutdown(async { drop(stopped.await) })
                .await;
        });
        self.stop = Some(stop);
    }
}
