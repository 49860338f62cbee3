//! Proves that nothing accepted is lost and nothing is sent twice:
//! `cargo run -p vestibule-tests --example proof -- [sqlite|postgres] [MESSAGES] [KILLS] [SEED]`.

#![expect(clippy::print_stdout, reason = "the proof is printed")]

use harness::proof::{Engine, Plan, run};

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, usual| {
        let given = arguments.get(place).map(|text| text.parse());
        given.map_or(usual, |given| given.expect("a number"))
    };
    let engines = match arguments.first().map(String::as_str) {
        Some("sqlite") => vec![Engine::Sqlite],
        Some("postgres") => vec![Engine::Postgres],
        None => vec![Engine::Sqlite, Engine::Postgres],
        Some(other) => panic!("{other:?} is neither sqlite nor postgres"),
    };
    for engine in engines {
        let summary = run(Plan {
            engine,
            messages: number(1, 500),
            kills: number(2, 12),
            seed: number(3, 4) as u64,
        })
        .await;
        println!("{summary}");
        assert!(summary.is_clean(), "the proof failed");
    }
}
