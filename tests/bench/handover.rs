//! Replaces sidecars under load, and prints how many requests failed:
//! `cargo run --release -p vestibule-tests --example handover -- [REQUESTS] [PROCESSES]`.

#![expect(clippy::print_stdout, reason = "the figures are printed")]

use harness::{By, Replaced, argument};

#[tokio::main]
async fn main() {
    let (requests, processes) = (argument(0, 20_000), argument(1, 5));
    for (name, by) in [("hand-over", By::HandOver), ("drain", By::Drain)] {
        let replaced = Replaced::under_load(by, processes, requests).await;
        println!("{name}: {replaced}");
        for reason in replaced.tally.failed.iter().take(5) {
            println!("  {reason}");
        }
    }
}
