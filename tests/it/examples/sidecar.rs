//! A team's own layer in the sidecar.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use harness::process::{Process, binary};
use harness::{Draft, PATIENCE, Wire};
use tokio::net::TcpStream;

use super::send;

#[tokio::test]
async fn a_layer_of_ones_own_sees_what_the_sidecar_answers_and_what_it_passes_on() {
    let address = free_port();
    let mut command = Command::new(binary("examples/own_layer_in_sidecar"));
    let _process = Process::start(command.arg(address.to_string()));
    listening(address).await;
    for (target, want) in [("/hello", "200"), ("/nowhere", "401 invalid_api_key")] {
        let reply = send(address, &Draft::get(target)).await;
        assert_eq!(reply.verdict(), want);
        let timing = reply.one("server-timing").to_owned();
        assert!(timing.starts_with("total;dur="), "{target}: {timing:?}");
    }
    let mut kept = Wire::connect(address).await;
    for _ in 0..2 {
        assert_eq!(kept.exchange(&Draft::get("/hello")).await.text(), "hello\n");
    }
}

/// A port that was free a moment ago: the sidecar does not tell which one it was given.
fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("a listener has an address")
}

async fn listening(address: SocketAddr) {
    let connected = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, connected).await;
    waited.expect("it listens in time");
}
