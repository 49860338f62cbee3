//! Replaces sidecars under load, and prints how many requests failed:
//! `cargo run --release -p vestibule-tests --example handover -- [REQUESTS] [PROCESSES]`.

#![expect(clippy::print_stdout, reason = "the figures are printed")]

use harness::{By, Replaced};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, usual| {
        let given = arguments.get(place).map(|text| text.parse());
        given.map_or(usual, |given| given.expect("a number"))
    };
    let (requests, processes) = (number(0, 20_000), number(1, 5));
    for (name, by) in [("hand-over", By::HandOver), ("drain", By::Drain)] {
        let replaced = Replaced::under_load(by, processes, requests).await;
        println!("{name}: {replaced}");
        for reason in replaced.tally.failed.iter().take(5) {
            println!("  {reason}");
        }
    }
}
