//! What the messaging service costs beside the bare minimum, measured in turns in one run:
//! `cargo run --release -p vestibule-tests --example messaging_figures` (after
//! `cargo build --release --bins --examples`). Words behind it, as `delivered` and
//! `postgres`, leave only the rows that have all of them; `-keyed` leaves out those that have it.

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

#[path = "figures/accepting.rs"]
mod accepting;
#[path = "figures/delivering.rs"]
mod delivering;
#[path = "figures/hearing.rs"]
mod hearing;
#[path = "figures/rig.rs"]
mod rig;

use harness::proof::Engine;

use self::rig::{median, ratio};

#[tokio::main]
async fn main() {
    println!("| | store | ours | floor | ratio |");
    println!("|---|---|---|---|---|");
    for engine in ENGINES {
        for keyed in [false, true] {
            let what = if keyed { "accepted, keyed" } else { "accepted" };
            if !is_wanted(what, engine) {
                continue;
            }
            let (mut ours, mut floors) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                ours.push(accepting::ours(engine, keyed).await);
                floors.push(accepting::floor(engine).await);
            }
            row(what, engine, &mut ours, &mut floors);
        }
        if is_wanted("delivered", engine) {
            let (mut ours, mut floors) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                ours.push(delivering::ours(engine).await);
                floors.push(delivering::floor().await);
            }
            row("delivered", engine, &mut ours, &mut floors);
        }
        if is_wanted("webhooks taken in", engine) {
            let (mut ours, mut floors) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                ours.push(hearing::ours(engine).await);
                floors.push(hearing::floor().await);
            }
            row("webhooks taken in", engine, &mut ours, &mut floors);
        }
    }
    if !ENGINES.iter().any(|engine| is_wanted("latency", *engine)) {
        return;
    }
    println!();
    println!(
        "| 100 messages a second, from 202 to Meta's acceptance | p50 ms | p99 ms | a bare post, median ms |"
    );
    println!("|---|---|---|---|");
    for engine in ENGINES {
        if is_wanted("latency", engine) {
            let (p50, p99, bare) = delivering::latency(engine).await;
            println!("| {} | {p50} | {p99} | {bare:.1} |", engine.as_str());
        }
    }
}

/// Whether every word that was given is of this row, and none of those behind a `-`.
fn is_wanted(what: &str, engine: Engine) -> bool {
    let is_of_row =
        |word: &str| what.split([' ', ',']).any(|part| part == word) || engine.as_str() == word;
    std::env::args()
        .skip(1)
        .all(|word| match word.strip_prefix('-') {
            Some(other) => !is_of_row(other),
            None => is_of_row(&word),
        })
}

fn row(what: &str, engine: Engine, ours: &mut [f64], floors: &mut [f64]) {
    let (ours, floor) = (median(ours), median(floors));
    let engine = engine.as_str();
    let ratio = ratio(ours, floor);
    println!("| {what}, a second | {engine} | {ours:.0} | {floor:.0} | {ratio:.2} |");
}

const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

/// Ours and the floor take turns, so that a busy moment of the machine meets both.
const ROUNDS: usize = 3;
