//! P1, P2 and P8 at the points where something is written: a process that ends itself after the
//! n-th statement, from the claim of a request on until its message is read.

use std::time::Duration;

use harness::proof::{Crowd, Engine, Ledger, Site, customer_of};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_point_a_message_is_sent_once_or_nobody_says_it_was() {
    let mut site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(6)).await;
    let crowd = Crowd::new(&site, 2 * MOST as usize);
    let (mut told, mut killed) = (Vec::new(), 0);
    for statements in (1..=MOST).step_by(step()) {
        site.doom(statements);
        // A template: its customer has never written.
        let turn = 2 * statements as usize + 1;
        let sending = tokio::spawn({
            let crowd = crowd.clone();
            async move { crowd.send(turn).await }
        });
        let comes_to_an_end = async {
            while !sending.is_finished() {
                killed += u32::from(site.revive());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let one = sending.await.expect("the client is answered");
            let mut tries = 0;
            loop {
                killed += u32::from(site.revive());
                let message = crowd.read(&one.id).await.unwrap_or_default();
                match message["status"].as_str() {
                    Some("read") => return (one, 1),
                    // Between the attempt's row and the connection nobody can tell.
                    Some("failed") => {
                        assert_eq!(message["error"]["code"], "outcome_unknown");
                        return (one, 0);
                    }
                    _ => {}
                }
                tries += 1;
                if tries % 20 == 0 {
                    // What was not taken would be told again minutes later.
                    site.tell("webhooks/flush", &json!({})).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), comes_to_an_end).await;
        told.push(ended.unwrap_or_else(|_| panic!("killed after {statements}: no end")));
    }
    let ledger = Ledger::read(&site).await;
    for (one, times) in &told {
        assert_eq!(ledger.accepted(&one.id), *times, "{one:?}");
    }
    assert!(told.iter().any(|(_, times)| *times == 1), "{told:?}");
    assert!(killed > 10, "{killed} of {} points were met", told.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let mut site = Site::start(Engine::Sqlite, &mut StdRng::seed_from_u64(8)).await;
    let crowd = Crowd::new(&site, 20);
    for customer in 0..10 {
        let user = customer_of(customer);
        site.tell("inbound", &json!({"user": user, "text": "Hello"}))
            .await;
        while acknowledged(&site).await <= customer {
            tokio::task::yield_now().await;
        }
        site.kill(0);
        let opens = async {
            while !crowd.is_open(&user).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let opened = tokio::time::timeout(Duration::from_secs(20), opens).await;
        assert!(
            opened.is_ok(),
            "customer {customer} was heard and is forgotten"
        );
    }
}

/// How many webhooks were answered with 200.
async fn acknowledged(site: &Site) -> usize {
    let attempts = site.ask("webhooks").await["attempts"].clone();
    let attempts = attempts.as_array().into_iter().flatten();
    attempts.filter(|attempt| attempt["status"] == 200).count()
}

/// Every point where `DEEP` is set.
fn step() -> usize {
    match std::env::var_os("DEEP") {
        Some(_) => 1,
        None => 6,
    }
}

/// More statements than a message takes from its request until it is read.
const MOST: u64 = 180;
