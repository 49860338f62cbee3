//! Offers a sidecar more than its service can carry, and prints what becomes of it:
//! `cargo run --release -p vestibule-tests --example overload -- [SECONDS]`.
//!
//! The service works on eight requests at a time and takes twenty milliseconds for each. A half
//! of what it can carry is offered, and three times as much as it can. Requests are sent when
//! they are due, whether those before have been answered or not, and their time is counted
//! from then.

#![expect(clippy::print_stdout, reason = "the figures are printed")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use harness::{Draft, Serving, Wire, argument};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use vestibule_sidecar::config::{Address, Config};
use vestibule_sidecar::{Running, Sidecar};

/// The connections that are at rest.
type Pool = Arc<Mutex<Vec<Wire>>>;

#[tokio::main]
async fn main() {
    let time = Duration::from_secs(argument(0, 4));
    for (name, section) in [
        ("all are let through", ""),
        (
            "eight at once, half a second of waiting",
            "[shedding]\nat_once = 8\nwait = \"500ms\"",
        ),
    ] {
        let serving = Serving::start(service()).await;
        let edge = sidecar(serving.address, section);
        let Address::Tcp(address) = *edge.address() else {
            panic!("it listens on a port")
        };
        for (share, offered) in [("a half", CARRIED / 2), ("three times", CARRIED * 3)] {
            let outcome = offer(address, offered, time).await;
            println!("{name}, {share} of what can be carried ({offered}/s): {outcome}");
        }
        // It waits for its thread, which must not be one of the runtime's.
        let ended = tokio::task::spawn_blocking(move || drop(edge));
        ended.await.expect("the sidecar ends");
    }
}

fn sidecar(service: SocketAddr, section: &str) -> Running {
    let text = format!(
        "listen = '127.0.0.1:0'\nupstream = '{service}'\nstore = 'memory:'\n[limits]\n\
         requests = 20000\nconnections = 20000\n{section}\n[[route]]\nmatch = 'GET /'\nauth = 'none'"
    );
    let config = Config::parse("overload.toml", &text).expect("it is a configuration");
    Sidecar::new(config).spawn().expect("the sidecar starts")
}

fn service() -> Router {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    Router::new().fallback(any(move || {
        let places = Arc::clone(&places);
        async move {
            let _place = places.acquire().await;
            tokio::time::sleep(WORK).await;
        }
    }))
}

/// Sends so many requests a second for so long, and says what became of them.
async fn offer(address: SocketAddr, a_second: u32, time: Duration) -> String {
    let pool = Pool::default();
    let mut sent = JoinSet::new();
    let began = Instant::now();
    for number in 0..a_second * u32::try_from(time.as_secs()).unwrap_or(u32::MAX) {
        let due = began + Duration::from_secs(1) * number / a_second;
        sleep_until(due).await;
        sent.spawn(ask(address, Arc::clone(&pool), due));
    }
    let (mut answered, mut refused) = (Vec::new(), Vec::new());
    for (status, took) in sent.join_all().await {
        match status {
            200 => answered.push(took),
            _ => refused.push(took),
        }
    }
    let carried = answered.len() as f64 / began.elapsed().as_secs_f64();
    format!(
        "{carried:.0}/s answered{}; {} refused{}",
        spread(answered),
        refused.len(),
        spread(refused),
    )
}

async fn ask(address: SocketAddr, pool: Pool, due: Instant) -> (u16, Duration) {
    let kept = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut wire = match kept {
        Some(wire) => wire,
        None => Wire::connect(address).await,
    };
    let status = wire.exchange(&Draft::get("/")).await.status;
    pool.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(wire);
    (status, due.elapsed())
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100);
    match (at(50), at(99)) {
        (Some(half), Some(most)) => {
            format!(
                " (p50 {} ms, p99 {} ms)",
                half.as_millis(),
                most.as_millis()
            )
        }
        _ => String::new(),
    }
}

const AT_ONCE: usize = 8;
const WORK: Duration = Duration::from_millis(20);

/// A second, if nothing took time but the work.
const CARRIED: u32 = 400;
