//! A stand-in for Meta's WhatsApp Cloud API on loopback; README.md beside this file says how to use it.

mod clock;
mod control;
mod fault;
mod graph;
mod id;
mod ledger;
mod limits;
mod outbox;
mod page;
mod server;
mod simulator;
mod state;
mod status;
mod webhook;
mod window;
mod world;

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use vestibule::clock::SystemClock;
use vestibule::entropy::{Entropy, SystemEntropy};

use crate::clock::VirtualClock;
use crate::id::Seed;
use crate::server::Server;
use crate::simulator::Simulator;
use crate::state::State;
use crate::world::Reach;

/// A stand-in for Meta's WhatsApp Cloud API: sends, statuses, signed webhooks, and faults to order.
#[derive(Debug, Parser)]
#[command(name = "cloud_api_simulator", version)]
struct Args {
    /// Where the Graph plane listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the control plane listens [default: the same socket, under /__sim/].
    #[arg(long)]
    control_listen: Option<SocketAddr>,
    /// The world to start with [default: the built-in one].
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// Makes ids and delays those of another run [default: new ones].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Lets webhooks leave this machine.
    #[arg(long)]
    allow_remote_callbacks: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::from_default_env())
        .init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let reach = if args.allow_remote_callbacks {
        Reach::Anywhere
    } else {
        Reach::Loopback
    };
    let world = match &args.world {
        Some(file) => world::load(file, reach)?,
        None => world::parse(BUILT_IN_WORLD)?,
    };
    let seed = Seed::new(args.seed.unwrap_or_else(random_seed));
    let clock = VirtualClock::new(SystemClock::shared());
    let simulator = Simulator::new(State::new(world, seed), clock, reach);
    let server = Server::bind(simulator, args.listen, args.control_listen)?;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    announce(&server, seed)?;
    tokio::select! {
        () = server.run() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "whoever started the process waits for this line"
)]
fn announce(server: &Server, seed: Seed) -> Result<(), Box<dyn Error>> {
    let (url, control_url) = (server.url()?, server.control_url()?);
    println!(
        "{}",
        json!({"url": url, "control_url": control_url, "seed": seed.number()})
    );
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "a refusal to start is told to the one who starts"
)]
fn complain(error: &dyn Error) {
    eprintln!("cloud_api_simulator: {error}");
}

fn random_seed() -> u64 {
    // Few enough bits to be typed again, and exact in every reader of JSON.
    u64::try_from(SystemEntropy.draw() >> 80).unwrap_or_default()
}

const BUILT_IN_WORLD: &str = include_str!("world.toml");
