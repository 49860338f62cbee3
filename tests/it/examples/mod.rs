//! The examples as processes of their own: each is started, asked what its head says to ask,
//! and held to the answers that it promises.

mod client_retry;
mod grpc_tonic;
mod in_process;
mod one_layer;
mod own_store;
mod sidecar;

use std::net::SocketAddr;
use std::process::Command;

use harness::process::{Process, binary};
use harness::{Draft, PATIENCE, Reply, Wire};

/// Starts an example on a free port; it says in its first line where it listens.
fn start(example: &str) -> (Process, SocketAddr) {
    let mut command = Command::new(binary(&format!("examples/{example}")));
    let (process, line) = Process::announced(command.arg("127.0.0.1:0"));
    let address = line.trim().trim_start_matches("http://").parse();
    (process, address.expect("it says where it listens"))
}

async fn send(address: SocketAddr, draft: &Draft) -> Reply {
    Wire::connect(address).await.exchange(draft).await
}

/// Waits for the end of a process, without keeping this thread from what it serves.
async fn ended(mut process: Process) -> std::process::ExitStatus {
    let end = tokio::task::spawn_blocking(move || process.ended(PATIENCE));
    end.await.expect("it ends in time")
}

/// A client for what [`Wire`] does not do.
fn client() -> reqwest::ClientBuilder {
    // Every client asks for one, whether it uses TLS or not; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// The key of the examples.
const KEY: &str = "Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";
