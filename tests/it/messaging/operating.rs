//! What an operator does while the service runs: look, send again, cancel, import, lift.

use std::sync::Arc;

use serde_json::json;
use vestibule::testing::server::PostgresServer;

use super::deployment::{Deployment, Engine, on_both_engines};
use super::world::{USER, template, text};

on_both_engines![
    a_migration_is_told_once,
    a_hold_is_shown_and_lifted,
    an_import_names_every_fault_and_takes_all_or_nothing,
    an_unclear_outcome_is_sent_again_only_by_who_accepts_it_twice,
    support_finds_a_message_by_what_was_pasted,
    what_has_failed_is_sent_again,
];

#[tokio::test]
async fn who_cannot_reach_the_store_is_not_ready() {
    let server = Arc::new(PostgresServer::start());
    let deployment = Deployment::on(Some(Arc::clone(&server)), "").await;
    let service = deployment.start().await;
    assert_eq!(service.admin("/readyz").await.status, 200);
    server.freeze();
    let away = service.admin("/readyz").await;
    server.thaw();
    assert_eq!(away.verdict(), "503 upstream_unavailable");
    assert_eq!(service.admin("/readyz").await.status, 200);
}

async fn support_finds_a_message_by_what_was_pasted(engine: Engine) {
    let deployment = Deployment::new(engine, "").await;
    let service = deployment.start().await;
    deployment
        .run_with("windows import", &windows("now"))
        .must(0, &["1 window was imported"]);
    let secret = "Nobody else reads this";
    let order = text("full", &json!({"text": {"body": secret}})).correlation_id("pasted-1");
    let id = service.accepted(&order).await;
    deployment.reaches(&id, "delivered").await;
    for pasted in [&*id, "pasted-1"] {
        let shown = deployment.run(&format!("messages show {pasted}"));
        shown.must(0, &[&id, "pasted-1", "delivered", "accepted", "wamid."]);
        let hidden = !shown.out.contains(secret) && !shown.out.contains(&USER[1..]);
        assert!(hidden, "{shown:?}");
    }
    let open = deployment.run("messages show pasted-1 --show-recipient");
    open.must(0, &[USER]);
    assert!(!open.out.contains(secret), "{open:?}");
    let other = service.send().await;
    for (filter, finds) in [
        (format!("--correlation-id pasted-1 --to {USER}"), true),
        ("--state delivered --limit 5".to_owned(), true),
        ("--state failed".to_owned(), false),
        ("--to +15550000000".to_owned(), false),
    ] {
        for json in ["", " --json"] {
            let listed = deployment.run(&format!("messages list {filter}{json}"));
            listed.must(0, &[]);
            assert_eq!(listed.out.contains(&id), finds, "{filter}: {listed:?}");
        }
    }
    let newest = deployment.run("messages list --limit 1 --json");
    newest.must(0, &[&other]);
    assert_eq!(newest.out.lines().count(), 1, "{newest:?}");
    deployment
        .run("messages show pasted-2")
        .must(1, &["\"pasted-2\""]);
    deployment.run("messages show").must(2, &["Usage"]);
}

async fn what_has_failed_is_sent_again(engine: Engine) {
    let deployment = Deployment::new(engine, "").await;
    let service = deployment.start().await;
    deployment
        .fault(&json!({"fault": "graph", "code": 131_026, "times": 1}))
        .await;
    let id = service.send().await;
    let failed = deployment.reaches(&id, "failed").await;
    assert_eq!(failed["tries"][0]["code"], 131_026, "{failed}");
    assert_eq!(failed["tries"][0]["outcome"], "rejected", "{failed}");
    assert_eq!(failed["tries"][0]["http_status"], 400, "{failed}");
    assert!(failed["tries"][0]["fbtrace_id"].is_string(), "{failed}");
    deployment
        .run(&format!("messages retry {id}"))
        .must(0, &[&id]);
    deployment.reaches(&id, "delivered").await;
    assert_eq!(deployment.ledger().await, 1);
    for command in ["retry", "cancel"] {
        let refused = deployment.run(&format!("messages {command} {id}"));
        refused.must(1, &[&id, "delivered"]);
    }
    let nobody = "018f0000-0000-7000-8000-000000000000";
    deployment
        .run(&format!("messages retry {nobody}"))
        .must(1, &[nobody]);
    deployment.run("messages retry 17").must(2, &["UUID"]);
}

async fn an_unclear_outcome_is_sent_again_only_by_who_accepts_it_twice(engine: Engine) {
    let deployment = Deployment::new(engine, "confirm_within_seconds = 1").await;
    let service = deployment.start().await;
    // Nothing of it reaches Meta, so no webhook ever tells.
    deployment
        .fault(&json!({"fault": "http", "status": 502, "body": "", "times": 1}))
        .await;
    let id = service.send().await;
    let unknown = deployment.reaches(&id, "outcome_unknown").await;
    assert_eq!(unknown["tries"][0]["outcome"], "unknown", "{unknown}");
    deployment
        .run(&format!("messages retry {id}"))
        .must(1, &[&id, "outcome_unknown", "--may-send-twice"]);
    deployment
        .run(&format!("messages retry {id} --may-send-twice"))
        .must(0, &[&id]);
    deployment.reaches(&id, "delivered").await;
    assert_eq!(deployment.ledger().await, 1);
}

async fn a_hold_is_shown_and_lifted(engine: Engine) {
    let deployment = Deployment::new(engine, "").await;
    let service = deployment.start().await;
    deployment
        .fault(&json!({"fault": "graph", "code": 190, "times": 1}))
        .await;
    let first = service.send().await;
    deployment.reaches(&first, "blocked").await;
    let listed = deployment.run("holds list");
    listed.must(0, &["token:", "190", "WhatsApp error 190"]);
    let listed = deployment.run("holds list --json");
    let hold: serde_json::Value = serde_json::from_str(&listed.out).expect("it is one object");
    let scope = hold["scope"].as_str().unwrap_or_default();
    let second = service
        .accepted(&template("full", &json!({})).correlation_id("second"))
        .await;
    deployment
        .run(&format!("messages cancel {first}"))
        .must(0, &[&first]);
    let cancelled = deployment.shown(&first);
    assert_eq!(cancelled["error"]["code"], "cancelled", "{cancelled}");
    deployment.run("holds lift number:1").must(1, &["number:1"]);
    deployment.run("holds lift").must(2, &["--all"]);
    deployment
        .run(&format!("holds lift {scope}"))
        .must(0, &["1 hold was lifted"]);
    deployment.reaches(&second, "delivered").await;
    assert_eq!(
        deployment.ledger().await,
        1,
        "what was cancelled is not sent"
    );
    deployment
        .run("holds lift --all")
        .must(0, &["0 holds were lifted"]);
}

async fn an_import_names_every_fault_and_takes_all_or_nothing(engine: Engine) {
    let deployment = Deployment::new(engine, "").await;
    deployment.run("migrate").must(0, &[]);
    let faulty = format!("{}1,{USER},,soon\n", windows("now"));
    deployment.run_with("windows import -", &faulty).must(
        1,
        &["line 3: phone_number_id", "line 3: opened_at", "2 faults"],
    );
    let shown = format!("windows show --phone-number-id {NUMBER} --user {USER}");
    assert!(
        deployment.run(&shown).out.contains("never"),
        "nothing is in"
    );
    let file = deployment.file("windows.jsonl");
    let lines: String = (0..2500)
        .map(|n| {
            let opened = seconds() - n;
            format!("{{\"phone_number_id\":\"{NUMBER}\",\"phone\":\"1650{n:07}\",\"opened_at\":{opened}}}\n")
        })
        .collect();
    std::fs::write(&file, lines).expect("the folder is ours");
    deployment
        .run(&format!("windows import {}", file.display()))
        .must(0, &["2500 windows were imported"]);
    for (user, state) in [
        ("+16500002499", "open until"),
        ("16500000000", "open until"),
        (USER, "never"),
    ] {
        deployment
            .run(&format!(
                "windows show --phone-number-id {NUMBER} --user {user}"
            ))
            .must(0, &[state]);
    }
    deployment
        .run_with("windows import -", &windows("yesterday"))
        .must(0, &["1 window was imported"]);
    deployment.run(&shown).must(0, &["closed"]);
    deployment
        .run("windows import nowhere.csv")
        .must(1, &["nowhere.csv"]);
}

async fn a_migration_is_told_once(engine: Engine) {
    let deployment = Deployment::new(engine, "").await;
    if engine == Engine::Sqlite {
        // A path that leads nowhere is no database without messages.
        deployment
            .run("messages list")
            .must(1, &["m.db", "messaging migrate"]);
    }
    deployment.run("migrate").must(0, &["applied"]);
    deployment
        .run("migrate")
        .must(0, &["the database was up to date"]);
    deployment.run("messages list").must(0, &["STATE"]);
    let service = deployment.start().await;
    let ready = service.admin("/readyz").await;
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready"));
    let metrics = service.admin("/metrics").await;
    assert!(
        metrics.text().contains("messaging_uncertain_current"),
        "{metrics:?}"
    );
}

/// One window, in CSV.
fn windows(opened: &str) -> String {
    let opened = match opened {
        "yesterday" => seconds() - 25 * 60 * 60,
        _ => seconds(),
    };
    format!("phone_number_id,phone,user_id,opened_at\n{NUMBER},{USER},,{opened}\n")
}

/// A little in the past, whatever the clock of the service says.
fn seconds() -> u64 {
    use vestibule::clock::{Clock as _, SystemClock};
    SystemClock.now().as_unix_seconds() - 5
}

/// Meta's id of the number that sends.
const NUMBER: &str = "106540352242922";
