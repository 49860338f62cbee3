//! P1 to P8 of the simulator's oracle, with the real service under faults and SIGKILL.

mod faults;
mod holds;
mod pace;
mod points;
mod webhooks;
mod windows;

use std::time::Duration;

use harness::proof::{Engine, Plan, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_sent_twice_on_sqlite() {
    prove(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_sent_twice_on_postgres_with_two_replicas() {
    prove(Engine::Postgres).await;
}

/// `PROOF_SEED` repeats a run.
#[expect(
    clippy::print_stdout,
    reason = "the summary is what the proof is run for"
)]
async fn prove(engine: Engine) {
    let seed = std::env::var("PROOF_SEED").ok();
    let plan = Plan {
        engine,
        messages: 500,
        kills: 12,
        seed: seed.and_then(|seed| seed.parse().ok()).unwrap_or(4),
    };
    let summary = run(plan).await;
    println!("{summary}");
    assert!(summary.is_clean(), "{summary}");
    assert_eq!((summary.messages, summary.kills), (500, 12), "{summary}");
    assert!(summary.faults > 20, "{summary}");
    // Faults cost some, and most arrive, whether or not the answer did.
    assert!(summary.read > 300, "{summary}");
    assert!(summary.adopted > 0, "{summary}");
}

/// Waits until something is so.
///
/// # Panics
///
/// Where it never is.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waits = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(LONGEST, waits).await;
    assert!(waited.is_ok(), "it never happens that {what}");
}

/// Longer than the longest wait that a test has to see the end of.
const LONGEST: Duration = Duration::from_secs(180);
