//! How webhooks may come: signed with the secret of before, rewritten on the way, taken apart,
//! all of them again.

use harness::proof::{Crowd, Engine, Ledger, Site, customer_of};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::until;

/// What is genuine is taken at once; what is not is refused, and right when it comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_signed_over_its_own_bytes_is_taken() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(14)).await;
    let crowd = Crowd::new(&site, 20);
    let mut before = 0;
    for (customer, (fault, refused)) in [
        (json!({"fault": "old_secret"}), 0),
        (json!({"fault": "unescaped_body", "signed_anew": true}), 0),
        (json!({"fault": "oversize"}), 0),
        (json!({"fault": "unescaped_body"}), 1),
        (json!({"fault": "tampered_body"}), 1),
    ]
    .into_iter()
    .enumerate()
    {
        site.tell("faults", &fault).await;
        let user = customer_of(customer);
        // Meta escapes all of this.
        site.tell("inbound", &json!({"user": user, "text": "Olé / @you"}))
            .await;
        until("the window opens", async || crowd.is_open(&user).await).await;
        let statuses = statuses(&site).await;
        let told = statuses[before..].iter().filter(|status| **status != 200);
        assert_eq!(told.count(), refused, "{fault}: {statuses:?}");
        before = statuses.len();
    }
}

/// Meta may tell the updates of a webhook that was not taken one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_together_may_come_again_in_parts() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(15)).await;
    let crowd = Crowd::new(&site, 400);
    let apart = json!({"fault": "rebatch"});
    site.tell("faults", &apart).await;
    let mut customers = 0..crowd.customers();
    // A webhook may have one update, which cannot come apart.
    while site.ask("faults").await["faults"] != json!([]) {
        site.tell("faults", &json!({"fault": "bad_signature"}))
            .await;
        let together: Vec<String> = customers.by_ref().take(8).map(customer_of).collect();
        assert!(!together.is_empty(), "updates never come together");
        for user in &together {
            site.tell("inbound", &json!({"user": user, "text": "Hello"}))
                .await;
        }
        for user in &together {
            until("the window opens", async || crowd.is_open(user).await).await;
        }
    }
}

/// P6, from outside: when everything that was told is told again, nothing changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_again_changes_nothing() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(16)).await;
    let crowd = Crowd::new(&site, 20);
    crowd.open_windows(&site).await;
    let mut told = Vec::new();
    for turn in 0..20 {
        told.push(crowd.send(turn).await);
    }
    let state = async || {
        let mut state = Vec::new();
        for one in &told {
            state.push(crowd.read(&one.id).await.unwrap_or_default());
        }
        for customer in 0..crowd.customers() {
            state.push(json!(crowd.open_until(&customer_of(customer)).await));
        }
        state
    };
    for one in &told {
        until("all are read", async || {
            crowd.read(&one.id).await.unwrap_or_default()["status"] == "read"
        })
        .await;
    }
    let (before, posted) = (state().await, statuses(&site).await.len());
    let again = site.tell("webhooks/replay", &json!({})).await;
    assert!(again["replayed"].as_u64() > Some(0), "{again}");
    // The log is worked off in order: who writes now is heard after all of that.
    until("all of it is taken", async || {
        let healthz = site.ask("healthz").await;
        healthz["waiting"] == 0 && statuses(&site).await.len() > posted
    })
    .await;
    let last = customer_of(9999);
    site.tell("inbound", &json!({"user": last, "text": "Hello"}))
        .await;
    until("the last is heard", async || crowd.is_open(&last).await).await;
    assert_eq!(state().await, before);
    let ledger = Ledger::read(&site).await;
    for one in &told {
        assert_eq!(ledger.accepted(&one.id), 1, "{one:?}");
    }
}

/// P7: what is uncertain is so until the first status of it is worked off, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_uncertain_message_is_adopted_by_the_first_that_is_told_of_it() {
    let site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(20)).await;
    let crowd = Crowd::new(&site, 10);
    site.tell("faults", &json!({"fault": "process_then_reset"}))
        .await;
    // Only the first word of it is ever told.
    for word in ["delivered", "read"] {
        let drop = json!({"fault": "drop", "type": word, "times": null});
        site.tell("faults", &drop).await;
    }
    site.tell("webhooks/hold", &json!({})).await;
    let told = crowd.send(1).await;
    until("nobody knows whether it was sent", async || {
        let message = crowd.read(&told.id).await.unwrap_or_default();
        message["detail"] == "confirming"
    })
    .await;
    until("Meta has sent it on", async || {
        let rows = site.ask("ledger").await["rows"].clone();
        rows[0]["told"] == json!(["sent"])
    })
    .await;
    site.tell("webhooks/flush", &json!({})).await;
    until("it is known", async || {
        let message = crowd.read(&told.id).await.unwrap_or_default();
        message["status"] == "sent"
    })
    .await;
    let shown = site.operate(&["messages", "show", &told.id, "--json"]);
    let tries = shown[0]["tries"].as_array().expect("it was tried");
    let outcomes: Vec<&Value> = tries.iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["adopted"]);
    assert_eq!(Ledger::read(&site).await.accepted(&told.id), 1);
}

/// What the service has answered to webhooks.
async fn statuses(site: &Site) -> Vec<u64> {
    let attempts: Value = site.ask("webhooks").await["attempts"].clone();
    let attempts = attempts.as_array().into_iter().flatten();
    attempts
        .map(|attempt| attempt["status"].as_u64().unwrap_or_default())
        .collect()
}
