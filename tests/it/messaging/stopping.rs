//! SIGTERM in the middle of an attempt: the process ends in time, and nothing is sent twice.

use harness::PATIENCE;
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};

use super::deployment::{Deployment, Engine, Running, on_both_engines};

on_both_engines![
    an_answer_that_comes_in_time_is_kept,
    an_attempt_that_hangs_ends_with_its_timeout_and_is_confirmed_after_the_restart,
];

async fn an_answer_that_comes_in_time_is_kept(engine: Engine) {
    let deployment = Deployment::new(engine, "").await;
    let mut service = deployment.start().await;
    let id = hanging(&deployment, &service, 4000).await;
    service.process.signal("TERM");
    assert!(service.process.ended(PATIENCE).success());
    let shown = deployment.shown(&id);
    assert_eq!(shown["tries"][0]["outcome"], "accepted", "{shown}");
    let _service = deployment.start().await;
    deployment.reaches(&id, "delivered").await;
    assert_eq!(deployment.ledger().await, 1);
}

async fn an_attempt_that_hangs_ends_with_its_timeout_and_is_confirmed_after_the_restart(
    engine: Engine,
) {
    let deployment = Deployment::new(engine, "timeout_ms = 4000").await;
    let mut service = deployment.start().await;
    let id = hanging(&deployment, &service, 9000).await;
    service.process.signal("TERM");
    assert!(service.process.ended(PATIENCE).success());
    let shown = deployment.shown(&id);
    assert_eq!(shown["state"], "uncertain", "{shown}");
    assert_eq!(shown["tries"][0]["outcome"], "unknown", "{shown}");
    let _service = deployment.start().await;
    // Meta takes it after all, and its webhook finds the service that runs by then.
    deployment.reaches(&id, "delivered").await;
    assert_eq!(deployment.ledger().await, 1, "nothing was sent twice");
}

#[tokio::test]
async fn what_cannot_be_written_down_in_time_is_confirmed_after_the_restart() {
    let deployment = Deployment::new(Engine::Sqlite, "timeout_ms = 4000").await;
    let mut service = deployment.start().await;
    let id = hanging(&deployment, &service, 14_000).await;
    let options = SqliteConnectOptions::new().filename(deployment.file("m.db"));
    let mut other = options.connect().await.expect("there is a database");
    // Nobody else writes until this one is done.
    let locked = other.execute("BEGIN IMMEDIATE").await;
    locked.expect("nothing holds the file for long");
    service.process.signal("TERM");
    // Without a bound it would try for a minute and a half.
    assert!(service.process.ended(PATIENCE).success());
    other
        .close()
        .await
        .expect("what has changed nothing can end");
    let shown = deployment.shown(&id);
    assert_eq!(shown["state"], "dispatching", "{shown}");
    let _service = deployment.start().await;
    deployment.reaches(&id, "delivered").await;
    assert_eq!(deployment.ledger().await, 1, "nothing was sent twice");
}

/// Sends a message whose attempt hangs for so long before Meta takes it, and returns once it
/// is under way.
async fn hanging(deployment: &Deployment, service: &Running, millis: u64) -> String {
    let fault = json!({"fault": "hang_then_process", "ms": millis, "times": 1});
    deployment.fault(&fault).await;
    let id = service.send().await;
    deployment.faults_have_struck().await;
    assert_eq!(deployment.shown(&id)["state"], "dispatching");
    id
}
