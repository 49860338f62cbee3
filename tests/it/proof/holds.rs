//! The world's own faults: a token that ends, an account that is locked, a template that is
//! paused, a number in maintenance. What waits is sent when it is over, once.

use harness::proof::{Crowd, Engine, Ledger, Site, Told};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_whole_scope_is_refused_waits_for_its_end_and_does_not_knock() {
    let token = json!({"value": "demo-access-token", "wabas": [ACCOUNT]});
    let account = json!({"id": ACCOUNT, "apps": ["1001"]});
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(12)).await;
    let crowd = Crowd::new(&site, 22);
    // Those are templates.
    let mut turns = (1..).step_by(2);
    for (fault, code, repair) in [
        ("token_revoke_at", 190, json!({"token": [token]})),
        ("waba_lock_at", 131_031, json!({"waba": [account]})),
    ] {
        let soon = json!({"fault": fault, "in_ms": 0});
        site.tell("faults", &soon).await;
        let mut told = send(&crowd, turns.by_ref().take(1)).await;
        until("the scope is held", async || {
            let holds = site.operate(&["holds", "list", "--json"]);
            holds.iter().any(|hold| hold["code"] == code)
        })
        .await;
        let knocks = site.refusals(code).await;
        told.extend(send(&crowd, turns.by_ref().take(3)).await);
        site.tell("world", &repair).await;
        site.operate(&["holds", "lift", "--all"]);
        are_read(&crowd, &told).await;
        assert_eq!(site.refusals(code).await, knocks, "{fault}");
        let ledger = Ledger::read(&site).await;
        for one in &told {
            assert_eq!(ledger.accepted(&one.id), 1, "{fault}: {one:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_template_fails_and_a_number_in_maintenance_waits() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(13)).await;
    let crowd = Crowd::new(&site, 10);
    let brief = json!({"fault": "maintenance", "ms": 1000});
    site.tell("faults", &brief).await;
    let told = crowd.send(1).await;
    are_read(&crowd, std::slice::from_ref(&told)).await;
    assert_eq!(site.refusals(131_057).await, 1, "it was refused once");
    assert_eq!(Ledger::read(&site).await.accepted(&told.id), 1);

    let paused = json!({"fault": "template_pause_at", "template": "hello_world", "in_ms": 0});
    site.tell("faults", &paused).await;
    let told = crowd.send(3).await;
    until("the message fails", async || {
        let message = crowd.read(&told.id).await.unwrap_or_default();
        message["error"]["code"] == "template_refused"
    })
    .await;
    assert_eq!(site.refusals(132_015).await, 1, "it was asked once");
    assert_eq!(Ledger::read(&site).await.accepted(&told.id), 0);
}

async fn send(crowd: &Crowd, turns: impl Iterator<Item = usize>) -> Vec<Told> {
    let mut told = Vec::new();
    for turn in turns {
        told.push(crowd.send(turn).await);
    }
    told
}

async fn are_read(crowd: &Crowd, told: &[Told]) {
    for one in told {
        until("all are read", async || {
            let message: Value = crowd.read(&one.id).await.unwrap_or_default();
            message["status"] == "read"
        })
        .await;
    }
}

/// The account that the number is of.
const ACCOUNT: &str = "102290129340398";
