//! Prints what tracing costs a sidecar, beside one that makes no spans, in the same run:
//! `cargo run --release -p vestibule-tests --example tracing_figures -- [ROUNDS] [REQUESTS]`.
//!
//! Three sidecars with one thread each serve the same request: a key, a limit, and an answer
//! of the service in this process. One makes no spans; the others send those of one request in
//! a hundred, and of all, in OTLP to receivers in this process that decode them. They are asked
//! by turns, so that a busy moment meets all three. What is counted is how long their threads
//! ran on processors (`/proc/PID/task/*/schedstat`) from one turn of theirs to the next: spans
//! are sent within a second, while the others have their turns.

#![expect(clippy::print_stdout, reason = "the figures are printed")]

use std::time::Duration;

use harness::{Collector, Draft, Edge, Pod, Wire, argument};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A sidecar, and who takes its spans.
struct Subject {
    name: &'static str,
    edge: Edge,
    wires: Vec<Wire>,
    collector: Collector,
    /// How long it had run when its last turn began.
    busy: Duration,
    /// Microseconds of a processor for each request, by turn.
    costs: Vec<f64>,
    requests: usize,
    received: usize,
    _pod: Pod,
}

#[tokio::main]
async fn main() {
    let (rounds, requests) = (argument(0, 40), argument(1, 4000));
    let mut subjects = Vec::new();
    for (name, share) in [("none", None), ("1 %", Some("0.01")), ("100 %", Some("1"))] {
        subjects.push(Subject::start(name, share).await);
    }
    // The first turn warms, and the cost of each is known when the next begins.
    for _ in 0..rounds + 2 {
        for subject in &mut subjects {
            subject.turn(requests).await;
        }
    }
    sleep(SENT).await;
    println!("{rounds} turns of {requests} requests each, {CONNECTIONS} at a time; medians\n");
    println!(
        "{:<12} {:>14} {:>10} {:>12} {:>14} {:>14}",
        "spans of", "us a request", "added", "requests", "spans received", "spans dropped"
    );
    let base = subjects[0].costs.clone();
    for subject in &mut subjects {
        subject.tell(&base).await;
    }
}

// === impl Subject ===

impl Subject {
    async fn start(name: &'static str, share: Option<&str>) -> Self {
        let collector = Collector::start().await;
        let mut top = "store = \"memory:\"".to_owned();
        if let Some(share) = share {
            let address = collector.address();
            top += &format!("\ntraces.otlp = \"http://{address}\"\ntraces.sampling = {share}");
        }
        let pod = Pod::new(&top).await;
        let edge = pod.start().await;
        let mut wires = Vec::new();
        for _ in 0..CONNECTIONS {
            wires.push(edge.wire().await);
        }
        Self {
            name,
            edge,
            wires,
            collector,
            busy: Duration::ZERO,
            costs: Vec::new(),
            requests: 0,
            received: 0,
            _pod: pod,
        }
    }

    async fn turn(&mut self, requests: usize) {
        let busy = self.edge.busy();
        if self.requests > 0 {
            let took = busy.saturating_sub(self.busy).as_secs_f64();
            self.costs.push(took * 1e6 / requests as f64);
        }
        self.busy = busy;
        let mut asking = JoinSet::new();
        for mut wire in self.wires.drain(..) {
            asking.spawn(async move {
                let draft = Draft::get("/v1/charges/1").key("full");
                for _ in 0..requests / CONNECTIONS {
                    let reply = wire.exchange(&draft).await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                }
                wire
            });
        }
        self.wires = asking.join_all().await;
        self.requests += requests;
        self.received += self.collector.take().len();
    }

    async fn tell(&mut self, base: &[f64]) {
        self.received += self.collector.take().len();
        let dropped = match self.name {
            "none" => 0.0,
            _ => self.edge.metric("vestibule_spans_dropped_total").await,
        };
        let turns = self.costs.iter().zip(base).skip(1);
        let added = turns.map(|(cost, base)| cost - base).collect();
        println!(
            "{:<12} {:>14.1} {:>10.1} {:>12} {:>14} {:>14}",
            self.name,
            median(self.costs[1..].to_vec()),
            median(added),
            self.requests,
            self.received,
            dropped,
        );
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

const CONNECTIONS: usize = 8;

/// Longer than a span waits for others.
const SENT: Duration = Duration::from_secs(2);
