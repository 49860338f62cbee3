//! The example of a handler that ends its claim in its own transaction, as a process of its
//! own, and killed between any two statements.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use harness::process::{Process, binary};
use harness::{Answer, Draft, PATIENCE, Reply, Wire};
use tempfile::TempDir;

#[tokio::test]
async fn the_example_charges_once_and_replays() {
    let folder = TempDir::new().unwrap();
    let (_process, address) = start(
        Command::new(binary("examples/own_transaction"))
            .args(["127.0.0.1:0"])
            .arg(folder.path().join("charges.db")),
    );
    let first = send(address, &charge(100)).await;
    let replay = send(address, &charge(100)).await;
    let other = send(address, &charge(200)).await;
    assert_eq!((first.status, replay.status), (201, 201));
    assert_eq!(first.body, replay.body);
    assert_eq!(replay.one("idempotent-replayed"), "true");
    assert_eq!(replay.one("content-type"), "application/json");
    assert_eq!(
        other.verdict(),
        "422 idempotency_key_in_use_with_different_params"
    );
    assert_eq!(charges(address).await, 1);
}

#[tokio::test]
async fn killed_between_any_two_statements_it_has_charged_and_remembers_or_neither() {
    let mut found = Vec::new();
    for statements in 1..=MOST {
        let folder = TempDir::new().unwrap();
        let (process, address) = killed(&folder, statements);
        let Some(answer) = try_send(address, &charge(100)).await else {
            found.push(after_the_kill(process, &folder, statements).await);
            continue;
        };
        assert_eq!(answer.status, 201, "{}", answer.text());
        // The last point lay after the transaction; the first ones before it.
        assert_eq!(found.first(), Some(&Found::Neither));
        assert_eq!(found.last(), Some(&Found::Both));
        assert!(found.len() >= STATEMENTS, "{found:?}");
        assert!(found.is_sorted(), "what was committed is gone: {found:?}");
        return;
    }
    panic!("one request takes more than {MOST} statements: {found:?}");
}

/// What a killed process has left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Found {
    Neither,
    Both,
}

/// Starts the service again where it was killed, and repeats the request.
async fn after_the_kill(mut process: Process, folder: &TempDir, statements: u64) -> Found {
    let end = tokio::task::spawn_blocking(move || process.ended(PATIENCE));
    let end = end.await.expect("it ends in time");
    assert!(!end.success(), "after {statements} statements: {end}");
    let (_process, address) = killed(folder, 0);
    let effects = charges(address).await;
    let first = send(address, &charge(100)).await;
    let is_kept = first.one("idempotent-replayed") == "true";
    assert_eq!(
        (effects, is_kept),
        (usize::from(is_kept), effects == 1),
        "after {statements} statements: {}",
        first.text()
    );
    // Where it is not kept, the claim may have to lapse first.
    let answer = executed(address).await;
    let again = send(address, &charge(100)).await;
    assert_eq!((answer.status, again.status), (201, 201));
    assert_eq!(answer.body, again.body);
    assert_eq!(again.one("idempotent-replayed"), "true");
    assert_eq!(charges(address).await, 1, "after {statements} statements");
    if is_kept { Found::Both } else { Found::Neither }
}

/// Repeats the request while the first one may still be running.
async fn executed(address: SocketAddr) -> Reply {
    let answered = async {
        loop {
            let answer = send(address, &charge(100)).await;
            match &*answer.code() {
                "idempotency_key_in_progress" => tokio::time::sleep(PAUSE).await,
                _ => return answer,
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, answered).await;
    waited.expect("the claim of a process that is gone lapses")
}

fn killed(folder: &TempDir, statements: u64) -> (Process, SocketAddr) {
    start(
        Command::new(binary("killed"))
            .args(["transaction", "127.0.0.1:0"])
            .arg(folder.path().join("charges.db"))
            .arg(statements.to_string()),
    )
}

fn start(command: &mut Command) -> (Process, SocketAddr) {
    let (process, line) = Process::announced(command);
    let address = line.trim().trim_start_matches("http://").parse();
    (process, address.expect("it says where it listens"))
}

async fn charges(address: SocketAddr) -> usize {
    let list = send(
        address,
        &Draft::get("/v1/charges").field("Authorization", KEY),
    )
    .await;
    list.json().as_array().expect("a list of charges").len()
}

async fn send(address: SocketAddr, draft: &Draft) -> Reply {
    let reply = try_send(address, draft).await;
    reply.expect("the service answers")
}

/// Nothing where the connection breaks.
async fn try_send(address: SocketAddr, draft: &Draft) -> Option<Reply> {
    let mut wire = Wire::connect(address).await;
    wire.send(&draft.to_bytes()).await;
    match wire.answer(false).await {
        Answer::Reply(reply) => Some(reply),
        Answer::Closed => None,
        Answer::Silence => panic!("neither an answer nor an end"),
    }
}

fn charge(amount: u32) -> Draft {
    Draft::post("/v1/charges")
        .field("Authorization", KEY)
        .idempotency_key("order-17")
        .json(&format!("{{\"amount\":{amount}}}"))
}

/// The key of the example.
const KEY: &str = "Bearer mk_live_8aB3cDe4FgH5iJ6kLm7nOp_49a9142d9f";

const PAUSE: Duration = Duration::from_millis(50);

/// Of the claim, the charge, its end and the look at it: as many as there were when this was
/// written, so that a request that is no longer counted is seen.
const STATEMENTS: usize = 9;

const MOST: u64 = 30;
