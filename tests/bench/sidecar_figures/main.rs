//! Prints what a sidecar holds at rest and how soon it serves, beside hyper and nginx in the
//! same run:
//! `cargo run --release -p vestibule-tests --example sidecar_figures -- [CONNECTIONS] [STARTS]`.
//!
//! All three answer one request on each connection, and then hold it. The sidecar and nginx
//! proxy it to a service in this process, over connections that are kept; hyper answers it
//! itself. Memory is the proportional share of all processes of a subject
//! (`/proc/PID/smaps_rollup`), so that pages which nginx's master and worker share count once.

#![expect(clippy::print_stdout, reason = "the figures are printed")]

mod subject;

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use harness::{Draft, Serving, Wire, argument};

use self::subject::{Kind, Subject};

fn main() {
    if std::env::args().nth(1).as_deref() == Some(subject::HYPER) {
        return subject::serve_hyper();
    }
    with_many_files();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    runtime.block_on(measure(argument(0, 2000), argument(1, 5)));
}

async fn measure(connections: usize, starts: usize) {
    let service = Router::new().fallback(any(|| async { "in" }));
    let service = Serving::start(service).await;
    let mut figures = Vec::new();
    for kind in Kind::ALL {
        let mut ready: Vec<Duration> = Vec::new();
        for _ in 1..starts {
            ready.push(
                Subject::start(kind, service.address, connections)
                    .await
                    .ready_after,
            );
        }
        let subject = Subject::start(kind, service.address, connections).await;
        ready.push(subject.ready_after);
        ready.sort_unstable();
        let idle = subject.settled().await;
        // What the first requests take is no connection's.
        drop(hold(&subject, WARMING).await);
        let warm = subject.settled().await;
        let held = hold(&subject, connections).await;
        let full = subject.settled().await;
        drop(held);
        println!("{:<8} {}", kind.name(), kind.configured());
        figures.push(Figures {
            kind,
            idle,
            connection: full.saturating_sub(warm) as f64 / connections as f64,
            ready: ready[ready.len() / 2],
        });
    }
    tell(&figures, connections, starts);
}

/// What was measured of a subject; memory in KiB.
struct Figures {
    kind: Kind,
    idle: u64,
    connection: f64,
    ready: Duration,
}

fn tell(figures: &[Figures], connections: usize, starts: usize) {
    let of = |kind| figures.iter().find(|figures| figures.kind == kind);
    let (Some(sidecar), Some(hyper), Some(nginx)) =
        (of(Kind::Sidecar), of(Kind::Hyper), of(Kind::Nginx))
    else {
        unreachable!("all of them were measured");
    };
    println!(
        "\n{:<44} {:>10} {:>10} {:>10}  sidecar to",
        "", "sidecar", "hyper", "nginx"
    );
    let row = |name: &str, of: &dyn Fn(&Figures) -> f64, aim: (&str, f64, f64)| {
        let (other, base, most) = aim;
        let ratio = of(sidecar) / base;
        let [a, b, c] = [sidecar, hyper, nginx].map(of);
        let bound = if most.is_finite() {
            format!(", aim {most:.1}")
        } else {
            String::new()
        };
        println!("{name:<44} {a:>10.1} {b:>10.1} {c:>10.1}  {other} {ratio:.2}{bound}");
    };
    let mib = |figures: &Figures| figures.idle as f64 / 1024.0;
    row("MiB at rest", &mib, ("nginx", mib(nginx), 1.0));
    row(
        &format!("KiB a connection, of {connections} that were served"),
        &|figures| figures.connection,
        ("hyper", hyper.connection, 1.2),
    );
    let millis = |figures: &Figures| figures.ready.as_secs_f64() * 1e3;
    row(
        &format!("ms from start to ready, median of {starts}"),
        &millis,
        ("nginx", millis(nginx), f64::INFINITY),
    );
}

/// Connections on each of which a request was answered.
async fn hold(subject: &Subject, connections: usize) -> Vec<Wire> {
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut wire = Wire::connect(subject.address).await;
        let reply = wire.exchange(&Draft::get("/")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        held.push(wire);
    }
    held
}

/// Starts this program anew where it may have as many files open as the system lets it.
fn with_many_files() {
    if std::env::var_os(RAISED).is_some() {
        return;
    }
    let program = std::env::current_exe().expect("a program knows its own path");
    let raise = "ulimit -n \"$(ulimit -H -n)\" && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", raise]).arg(program);
    let cause = command
        .args(std::env::args().skip(1))
        .env(RAISED, "1")
        .exec();
    panic!("there is no sh: {cause}");
}

/// Connections that are made and closed before any is counted.
const WARMING: usize = 200;

const RAISED: &str = "SIDECAR_FIGURES_FILES";
