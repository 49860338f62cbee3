//! The service as a process of its own that takes API keys itself, and is killed.
//!
//! The row that the service keeps beside each message is forgotten while it is down, so that
//! the records of its layers are what answers.

use std::net::SocketAddr;
use std::process::Command;

use harness::process::{Process, binary};
use harness::{Answer, Draft, Mounting, PATIENCE, Reply, Setup, Wire};
use serde_json::json;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::world::{configuration, template};

#[tokio::test]
async fn what_became_of_a_request_is_known_after_a_kill() {
    let folder = prepared();
    let (mut process, address) = start(messaging(&folder));
    let first = send(address, &order()).await;
    assert_eq!(first.status, 202, "{}", first.text());
    process.signal("KILL");
    process.ended(PATIENCE);
    assert_eq!(messages(&folder).await, 1);
    let (_process, address) = start(messaging(&folder));
    let replay = send(address, &order()).await;
    assert_eq!((replay.status, &replay.body), (202, &first.body));
    assert_eq!(replay.one("idempotent-replayed"), "true");
    assert_eq!(
        replay.one("x-original-correlation-id"),
        first.one("x-correlation-id")
    );
    let other = template("full", &json!({"to": "+16505550000"})).idempotency_key("order-17");
    assert_eq!(
        send(address, &other).await.verdict(),
        "422 idempotency_key_in_use_with_different_params"
    );
}

#[tokio::test]
async fn killed_between_any_two_statements_it_has_queued_and_remembers_or_neither() {
    let mut found = Vec::new();
    // Which point lies where, is up to the statements of others in between: those that look
    // at the time now and then.
    for _ in 0..ROUNDS {
        for statements in 1..=MOST {
            match killed_after(statements).await {
                Some(queued) => found.push(queued),
                None => break,
            }
        }
        if found.contains(&0) && found.contains(&1) {
            return;
        }
    }
    panic!("points before and after the message was there: {found:?}");
}

/// How many messages there are when the process has ended after so many statements; nothing
/// where it had answered by then.
async fn killed_after(statements: u64) -> Option<i64> {
    let folder = prepared();
    let (mut process, address) = start(killed(&folder, statements));
    let mut wire = Wire::connect(address).await;
    wire.send(&order().to_bytes()).await;
    if let Answer::Reply(answer) = wire.answer(false).await {
        assert_eq!(answer.status, 202, "{}", answer.text());
        return None;
    }
    process.ended(PATIENCE);
    let queued = messages(&folder).await;
    let (_process, address) = start(messaging(&folder));
    let again = send(address, &order()).await;
    let is_kept = again.one("idempotent-replayed") == "true";
    assert_eq!(is_kept, queued == 1, "{statements}: {}", again.text());
    // A claim without a message is in progress until it lapses.
    let verdict = again.verdict();
    assert!(
        verdict == "202" || verdict == "409 idempotency_key_in_progress",
        "{statements}: {verdict}"
    );
    Some(queued)
}

/// A folder with keys and a configuration; nobody is at Meta's address.
fn prepared() -> TempDir {
    let folder = TempDir::new().expect("the system has a temporary folder");
    let setup = Setup::new().stranger("stranger");
    setup.write_keys(&folder.path().join("keys.json"));
    let text = configuration(Mounting::InProcess, SocketAddr::from(([127, 0, 0, 1], 1)));
    let written = std::fs::write(folder.path().join("messaging.toml"), text);
    written.expect("the folder is ours");
    folder
}

fn messaging(folder: &TempDir) -> Command {
    killed(folder, 0)
}

fn killed(folder: &TempDir, statements: u64) -> Command {
    let mut command = Command::new(binary("killed"));
    let config = folder.path().join("messaging.toml");
    command
        .arg("messaging")
        .arg(config)
        .arg(statements.to_string());
    command
}

fn start(mut command: Command) -> (Process, SocketAddr) {
    let (process, line) = Process::announced(&mut command);
    let address = line.trim().parse();
    (process, address.expect("it says where it listens"))
}

/// How many messages there are. The rows that remember their keys go.
async fn messages(folder: &TempDir) -> i64 {
    let options = SqliteConnectOptions::new().filename(folder.path().join("m.db"));
    let connection = options.connect().await;
    let mut connection = connection.expect("the service has made the database");
    let forgotten = sqlx::query("DELETE FROM deduplication").execute(&mut connection);
    let forgotten = forgotten.await.expect("nobody else has the database open");
    let counted = sqlx::query_scalar("SELECT count(*) FROM message").fetch_one(&mut connection);
    let counted: i64 = counted.await.expect("nobody else has the database open");
    assert_eq!(forgotten.rows_affected().cast_signed(), counted);
    counted
}

fn order() -> Draft {
    template("full", &json!({})).idempotency_key("order-17")
}

async fn send(address: SocketAddr, draft: &Draft) -> Reply {
    Wire::connect(address).await.exchange(draft).await
}

/// More than the claim, the message and its delivery take together.
const MOST: u64 = 80;

/// In each of them some points lie elsewhere.
const ROUNDS: u32 = 10;
