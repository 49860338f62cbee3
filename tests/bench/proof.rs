//! Proves that nothing accepted is lost and nothing is sent twice:
//! `cargo run -p vestibule-tests --example proof -- [sqlite|postgres] [MESSAGES] [KILLS] [SEED]`.

#![expect(clippy::print_stdout, reason = "the proof is printed")]

use harness::argument;
use harness::proof::{Engine, Plan, run};

#[tokio::main]
async fn main() {
    let engines = match &*argument(0, String::new()) {
        "sqlite" => vec![Engine::Sqlite],
        "postgres" => vec![Engine::Postgres],
        "" => vec![Engine::Sqlite, Engine::Postgres],
        other => panic!("{other:?} is neither sqlite nor postgres"),
    };
    for engine in engines {
        let summary = run(Plan {
            engine,
            messages: argument(1, 500),
            kills: argument(2, 12),
            seed: argument(3, 4),
        })
        .await;
        println!("{summary}");
        assert!(summary.is_clean(), "the proof failed");
    }
}
