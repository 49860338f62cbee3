//! Asks a Prometheus that scrapes a running demo every query of the dashboard, while requests
//! of every kind go through it, and draws the panels: `./tests/dashboard [SECONDS]`.
//!
//! For each query it prints how many series answered; one without any is a failure, unless it
//! is among those that the demo cannot have, which are listed with the reason. The pictures
//! are in `target/dashboard`, one for each heading of the dashboard.

#![expect(clippy::print_stdout, reason = "the answers are printed")]

mod demo;
mod page;
mod traffic;

use std::process::ExitCode;
use std::time::Duration;

use harness::{Collector, Panel, Prometheus, argument};
use tokio::time::sleep;

use self::demo::Demo;
use self::traffic::Traffic;

#[tokio::main]
async fn main() -> ExitCode {
    let time = Duration::from_secs(argument(0, 90));
    let collector = Collector::start().await;
    let demo = Demo::start(collector.address());
    let scraped: Vec<_> = demo.metrics().collect();
    let prometheus = Prometheus::start(SCRAPED, &scraped).await;
    let traffic = Traffic::start(&demo);
    sleep(time).await;

    let instances = prometheus.values("instance", "vestibule_ready").await;
    let panels = Panel::shipped(&instances.join("|"), INTERVAL);
    println!(
        "{} addresses scraped every second; sidecar: {}\n",
        scraped.len(),
        instances.join(", ")
    );
    let unanswered = ask(&prometheus, &panels).await;
    let pictures = page::draw(&prometheus, &panels, time).await;
    println!("\nsent by then: {}", traffic.end().await);
    println!("spans received: {}", collector.take().len());
    for picture in pictures {
        println!("drawn: {}", picture.display());
    }
    if unanswered > 0 {
        println!("{unanswered} queries have no answer");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Says what answers each query, and tells how many have no answer though they could.
async fn ask(prometheus: &Prometheus, panels: &[Panel]) -> usize {
    let mut unanswered = 0;
    println!("{:<44} {:>6}  query", "panel", "series");
    for panel in panels {
        for query in &panel.queries {
            let found = prometheus.ask(&query.text).await.len();
            let excuse = EXCUSED.iter().find(|(name, _)| query.text.contains(name));
            let said = match (found, excuse) {
                (0, Some((_, why))) => format!("none, because {why}"),
                (0, None) => {
                    unanswered += 1;
                    "NO ANSWER".to_owned()
                }
                _ => String::new(),
            };
            println!("{:<44} {found:>6}  {} {said}", panel.title, query.text);
        }
    }
    unanswered
}

/// What the demo cannot have, and why.
const EXCUSED: [(&str, &str); 1] = [(
    "vestibule_certificate_expiry_timestamp_seconds",
    "clients speak to the demo on loopback, without TLS: there is no certificate",
)];

const SCRAPED: Duration = Duration::from_secs(1);

/// Of rates: many looks, and short beside the run.
const INTERVAL: &str = "10s";
