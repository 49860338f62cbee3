//! The service as a process of its own that takes API keys itself, and is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::process::{Process, binary};
use harness::{Draft, Mounting, PATIENCE, Reply, Setup, Wire};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::world::{configuration, simulator, template};

#[tokio::test]
async fn what_became_of_a_request_is_known_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let setup = Setup::new().stranger("stranger");
    setup.write_keys(&folder.path().join("keys.json"));
    let (_simulator, meta) = simulator();
    let text = configuration(Mounting::InProcess, meta);
    std::fs::write(folder.path().join("messaging.toml"), text).unwrap();
    let (mut process, address) = start(folder.path());
    let draft = template("full", &json!({})).idempotency_key("order-17");
    let first = send(address, &draft).await;
    assert_eq!(first.status, 202, "{}", first.text());
    process.signal("KILL");
    process.ended(PATIENCE);
    // The layers' own records answer, not the row that the service keeps beside them.
    forget_the_row(&folder.path().join("m.db")).await;
    let (_process, address) = start(folder.path());
    let replay = send(address, &draft).await;
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

fn start(folder: &Path) -> (Process, SocketAddr) {
    let (process, line) = Process::announced(
        Command::new(binary("messaging"))
            .args(["serve", "--config"])
            .arg(folder.join("messaging.toml"))
            .stderr(Stdio::null()),
    );
    let said: Value = serde_json::from_str(&line).expect("it says where it is");
    let address = said["listening"].as_str().unwrap_or_default().parse();
    (process, address.expect("it is on the loopback"))
}

async fn forget_the_row(database: &Path) {
    let options = SqliteConnectOptions::new().filename(database);
    let connection = options.connect().await;
    let mut connection = connection.expect("the service has made the database");
    let forgotten = sqlx::query("DELETE FROM deduplication").execute(&mut connection);
    let forgotten = forgotten.await.expect("nobody else has the database open");
    assert_eq!(forgotten.rows_affected(), 1);
}

async fn send(address: SocketAddr, draft: &Draft) -> Reply {
    Wire::connect(address).await.exchange(draft).await
}
